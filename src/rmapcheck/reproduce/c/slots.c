/*
 * Slots: the processes of the run. Each reads numbers of operations from its own pipe, and answers
 * through a pipe that all share. The next operation starts when the last one has been answered.
 * Only the main process can write to the slots' pipes: when it dies, they read EOF and exit.
 */

enum { CONTROL = -1, CONTENTS = -2, PAGEOUT = -3, UNLOCK = -4 };

struct answer {
	int result;
	int arena;		/* an arena in which the result was not the expected one */
	pid_t pid;
};

static int commands[SLOTS + 1][2], answers[2];
static pid_t pids[SLOTS + 1];
static int pidfds[SLOTS + 1];
static int files[FILES + 1];
static int self;
static sigjmp_buf fault;

static void faulted(int signal)
{
	siglongjmp(fault, signal);
}

static unsigned long control(int i)
{
	return address(arenas + 1, 0) + i * PAGE;
}

static int touch(unsigned long at, int value)
{
	volatile int *word = (volatile int *)at;

	if (sigsetjmp(fault, 1))
		return -EFAULT;
	if (value)
		*word = value;
	else
		(void)*word;
	return 0;
}

static int returned(void *got, unsigned long wanted)
{
	if (got == MAP_FAILED)
		return -errno;
	return got == (void *)wanted ? 0 : -ERANGE;
}

static int moved(const struct op *op, int arena)
{
	void *from = (void *)address(arena, op->start);
	size_t length = op->length * PAGE, new_length = op->new_length * PAGE;
	unsigned long to = address(arena, op->to);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | op->arg;

	if (op->to < 0)
		return returned(mremap(from, length, new_length, 0), (unsigned long)from);
	return returned(mremap(from, length, new_length, flags, (void *)to), to);
}

static int mapped(unsigned long at, int pages, int protection)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	return returned(mmap((void *)at, pages * PAGE, protection, flags, -1, 0), at);
}

/* Each arena maps its own part of the file, so that arenas share no pages. */
static int file_mapped(const struct op *op, int arena)
{
	unsigned long at = address(arena, op->start);
	int flags = MAP_FIXED | (op->arg & SHARED ? MAP_SHARED : MAP_PRIVATE);
	off_t offset = ((off_t)arena * FILE_PAGES + op->pgoff) * PAGE;

	return returned(mmap((void *)at, op->length * PAGE, op->arg & ~SHARED, flags,
			     files[op->file], offset), at);
}

/* Lets the heap end at `at`, without CAP_SYS_RESOURCE: sets all of mm's addresses at once. */
static int end_heap_with_map(unsigned long at)
{
	char text[1024] = "", *field;
	unsigned long values[52] = { 0 };
	int stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(stat, text, sizeof(text) - 1);

	close(stat);
	field = length > 0 ? strrchr(text, ')') + 2 : text;
	for (int number = 4; number <= 51 && (field = strchr(field, ' ')); number++)
		values[number] = strtoul(++field, NULL, 10);

	struct prctl_mm_map map = {
		.start_code = values[26], .end_code = values[27], .start_stack = values[28],
		.start_data = values[45], .end_data = values[46], .start_brk = values[47],
		.arg_start = values[48], .arg_end = values[49],
		.env_start = values[50], .env_end = values[51],
		.brk = at, .exe_fd = -1,
	};

	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);
}

/* Lets the heap end where the operation begins, and grows it. */
static int grown(unsigned long at, size_t length)
{
	if (prctl(PR_SET_MM, PR_SET_MM_BRK, at, 0, 0) &&
	    (errno != EPERM || end_heap_with_map(at)))
		return -errno;
	return syscall(SYS_brk, at + length) == (long)(at + length) ? 0 : -ENOMEM;
}

/* Locks without bringing pages in. */
static int locked(const struct op *op, unsigned long at, size_t length)
{
	if (!op->arg)
		return munlock((void *)at, length) ? -errno : 0;
	return syscall(SYS_mlock2, at, length, MLOCK_ONFAULT) ? -errno : 0;
}

/* Carries out one operation in one arena; returns 0 or -errno. */
static int act(const struct op *op, int arena)
{
	unsigned long at = address(arena, op->start);
	size_t length = op->length * PAGE;

	switch (op->what) {
	case MMAP:
		return mapped(at, op->length, op->arg);
	case MMAP_FILE:
		return file_mapped(op, arena);
	case BRK:
		return grown(at, length);
	case MUNMAP:
		return munmap((void *)at, length) ? -errno : 0;
	case MPROTECT:
		return mprotect((void *)at, length, op->arg) ? -errno : 0;
	case MREMAP:
		return moved(op, arena);
	case MADVISE:
		return madvise((void *)at, length, op->arg) ? -errno : 0;
	case MLOCK:
		return locked(op, at, length);
	case READ:
		return touch(at, 0);
	case WRITE:
		return touch(at, (int)(op - ops) + 1);
	default:
		return -ENOSYS;
	}
}

static struct answer act_everywhere(const struct op *op)
{
	struct answer answer = { .result = act(op, 0) };

	for (int arena = 1; arena < arenas; arena++) {
		int result = act(op, arena);

		if (result != op->result) {
			answer.result = result;
			answer.arena = arena;
		}
	}
	return answer;
}

static void map_control(void)
{
	for (int i = 0; i < arenas; i++) {
		unsigned long at = control(2 * i);

		if (mapped(at, 1, PROT_READ | PROT_WRITE) || touch(at, 1))
			_exit(1);
	}
}

/* Returns the number, from 1, of a page that does not hold what was last written to it, or 0. */
static struct answer contents(void)
{
	struct answer answer = { 0 };

	for (int arena = 0; arena < arenas; arena++)
		for (int page = 0; page < PAGES; page++) {
			const struct cell *cell = &after[self][page];
			const int *word = (const int *)address(arena, page);

			if (cell->holds != ANON || cell->value < 0)
				continue;
			if (touch((unsigned long)word, 0) ||
			    *(volatile const int *)word != cell->value) {
				answer.result = page + 1;
				answer.arena = arena;
			}
		}
	return answer;
}

/* MADV_PAGEOUT leaves alone pages that another process maps too. */
static int page_out(void)
{
	int result = 0;

	for (int arena = 0; arena < arenas; arena++)
		for (int page = 0; page < PAGES; page++)
			if (after[self][page].holds >= ANON &&
			    madvise((void *)address(arena, page), PAGE, MADV_PAGEOUT))
				result = -errno;
	for (int i = 0; i < arenas; i++)
		if (madvise((void *)control(2 * i), PAGE, MADV_PAGEOUT))
			result = -errno;
	return result;
}

static void reply(struct answer answer)
{
	if (write(answers[1], &answer, sizeof(answer)) != sizeof(answer))
		_exit(1);
}

static void forked(int child)
{
	pid_t pid = fork();

	if (pid == 0)
		self = child;
	else
		reply((struct answer){ .result = pid < 0 ? -errno : 0, .pid = pid });
}

static void serve(void)
{
	int number;

	while (read(commands[self][0], &number, sizeof(number)) == sizeof(number)) {
		if (number == CONTROL) {
			map_control();
			reply((struct answer){ 0 });
		} else if (number == CONTENTS) {
			reply(contents());
		} else if (number == PAGEOUT) {
			reply((struct answer){ .result = page_out() });
		} else if (number == UNLOCK) {
			reply((struct answer){ .result = munlockall() ? -errno : 0 });
		} else if (ops[number].what == FORK) {
			forked(ops[number].child);
		} else if (ops[number].what == EXIT) {
			break;
		} else {
			reply(act_everywhere(&ops[number]));
		}
	}
	_exit(0);
}

/* Waits until the descriptor is readable or the slot's process has ended; returns the former. */
static int ready(int fd, int slot)
{
	struct pollfd waits[2] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = slot ? pidfds[slot] : -1, .events = POLLIN },
	};

	if (poll(waits, 2, 120000) <= 0)
		return 0;
	return (waits[0].revents & POLLIN) != 0;
}

static struct answer ask(int slot, int number)
{
	struct answer answer;

	if (write(commands[slot][1], &number, sizeof(number)) != sizeof(number))
		skip("process %d cannot be told what to do", slot);
	if (!ready(answers[0], slot) ||
	    read(answers[0], &answer, sizeof(answer)) != sizeof(answer))
		skip("process %d %s", slot, stop ? "was interrupted" : "does not answer");
	return answer;
}

static void settle(int slot, pid_t pid)
{
	pids[slot] = pid;
	pidfds[slot] = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfds[slot] < 0)
		skip("there is no pidfd_open (Linux 5.3)");
}

/* When its pidfd becomes readable, a process has given up its memory. */
static int wait_end(int slot)
{
	int ended = ready(pidfds[slot], 0);

	close(pidfds[slot]);
	pids[slot] = 0;
	return ended;
}

static void serve_first(void)
{
	struct sigaction action = { .sa_handler = faulted };

	for (int slot = 1; slot <= SLOTS; slot++)
		close(commands[slot][1]);
	close(answers[0]);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	signal(SIGINT, SIG_IGN);
	self = 1;
	enter_reclaim();
	serve();
}

/* Skips the run if something is already mapped where the arenas will be. */
static void check_room(void)
{
	size_t length = control(2 * arenas) - BASE;
	void *got = mmap((void *)BASE, length, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (got != (void *)BASE)
		skip("the addresses from 0x%lx on are taken", BASE);
	munmap(got, length);
}

/* In memory: on every kernel reclaim unmaps their pages, and finds them through i_mmap. */
static void make_files(void)
{
	for (int file = 1; file <= FILES; file++) {
		files[file] = memfd_create("rmapcheck", MFD_CLOEXEC);
		if (files[file] < 0 ||
		    ftruncate(files[file], (off_t)arenas * FILE_PAGES * PAGE))
			skip("memfd_create: %s", strerror(errno));
	}
}

static void start_slots(void)
{
	pid_t pid;

	check_room();
	make_files();
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (int slot = 1; slot <= SLOTS; slot++)
		if (pipe(commands[slot]))
			skip("pipe: %s", strerror(errno));
	if (pipe(answers))
		skip("pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		serve_first();
	if (pid < 0)
		skip("fork: %s", strerror(errno));
	settle(1, pid);
}
