/*
 * How all pages of the slots are reclaimed: with memory.reclaim of cgroup v2 (Linux 5.19), or with
 * memory.force_empty of cgroup v1. Without either, with MADV_PAGEOUT, which leaves alone pages that
 * are mapped more than once.
 */

static char group[200], group_knob[240];
static const char *group_order;

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done;

	if (fd < 0)
		return -errno;
	done = write(fd, text, strlen(text));
	if (done < 0)
		done = -errno;
	close(fd);
	return done < 0 ? (int)done : 0;
}

static int has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += length) {
		int starts = at == list || strchr(", \n", at[-1]);

		if (starts && strchr(", \n", at[length]))
			return 1;
	}
	return 0;
}

static int mounted(const char *wanted, const char *option, char *where, size_t size)
{
	char line[1000], type[30], folder[200], options[500];
	FILE *mounts = fopen("/proc/mounts", "re");
	int found = 0;

	while (mounts && !found && fgets(line, sizeof(line), mounts)) {
		if (sscanf(line, "%*s %199s %29s %499s", folder, type, options) != 3)
			continue;
		found = !strcmp(type, wanted) && (!option || has_word(options, option));
	}
	if (mounts)
		fclose(mounts);
	if (found)
		snprintf(where, size, "%s", folder);
	return found;
}

static int make_group(const char *root, const char *knob, const char *order)
{
	snprintf(group, sizeof(group), "%.150s/rmapcheck-reproducer-%d", root, (int)getpid());
	snprintf(group_knob, sizeof(group_knob), "%s/%s", group, knob);
	group_order = order;
	if (mkdir(group, 0755) == 0) {
		if (access(group_knob, W_OK) == 0)
			return 1;
		rmdir(group);
	}
	group[0] = 0;
	return 0;
}

static void find_reclaim(void)
{
	char root[200], path[240];
	FILE *swaps = fopen("/proc/swaps", "re");
	char line[200];
	int lines = 0;

	while (swaps && fgets(line, sizeof(line), swaps))
		lines++;
	if (swaps)
		fclose(swaps);
	if (lines < 2)
		skip("no swap is in use, and anonymous pages can go nowhere else");
	if (mounted("cgroup2", NULL, root, sizeof(root))) {
		snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
		put(path, "+memory");
		if (make_group(root, "memory.reclaim", "1G"))
			return;
	}
	if (mounted("cgroup", "memory", root, sizeof(root)) &&
	    make_group(root, "memory.force_empty", "0"))
		return;
	say("no memory cgroup: MADV_PAGEOUT instead");
}

/* The first slot enters the group before it maps anything; processes that it forks start there. */
static void enter_reclaim(void)
{
	char path[240];

	if (!group[0])
		return;
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	if (put(path, "0"))
		_exit(1);
}
