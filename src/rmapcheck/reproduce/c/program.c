/*
 * How it works. Each process of the run is a slot: on command it carries out one operation in each
 * of the arenas, and answers with the result. Arenas are copies of the run's address space, with
 * gaps between them, so that VMAs of different arenas never merge. A bug that affects one page in
 * the run affects hundreds of pages here, which could not happen by chance. At the end everything
 * is reclaimed. For that the kernel must find each page through its rmap; a page that it does not
 * find stays mapped.
 *
 * Run it as root on a machine with swap, or as PID 1 of a kernel booted for it. Exit code and last
 * line: 0 "VERDICT: OK", 1 "VERDICT: BUG ...", 4 "VERDICT: SKIP reason".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define PAGE 4096UL
/* On every 64-bit machine this is above a static program and its heap, and below its stack. */
#define BASE 0x100000000UL
#define LIMIT 20000

enum what {
	MMAP, MMAP_FILE, BRK, MUNMAP, MPROTECT, MREMAP, MADVISE, MLOCK, READ, WRITE, FORK, EXIT,
	RECLAIM
};

#define SHARED 256		/* in `arg` of MMAP_FILE, beside the protection */

struct op {
	enum what what;
	int mm, start, length, new_length, to, arg, child, file, pgoff;
	int result;		/* 0 or -errno, in the model */
	int expected;		/* the case says that this must be the result */
	const char *text;
};

/* ANY: a fault of a neighbouring page may have mapped this page of a file, too. */
enum holds { NOTHING, ZERO, ANON, OF_FILE, ANY };

/* One page of one process at the end of the run, in the model. */
struct cell {
	enum holds holds;
	int value;		/* number of the step that wrote it; 0: none; -1: not readable */
	int stays;		/* it stays mapped when everything is reclaimed */
};

/* A VMA after the last step, as the case expects it. */
struct vma {
	int mm, start, end;
	int prot;		/* PROT_ flags; -1: any */
};

#include "case.c"

static int arenas = 200;
static volatile sig_atomic_t stop;

static unsigned long address(int arena, int page)
{
	return BASE + (2UL * PAGES * arena + page) * PAGE;
}

#include "say.c"
#include "cgroup.c"
#include "slots.c"
#include "reclaim.c"
#include "vmas.c"
#include "boot.c"
#include "verdict.c"

static void interrupted(int signal)
{
	(void)signal;
	stop = 1;
}

static void options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:")) != -1) {
		if (option == 'n')
			arenas = atoi(optarg);
		if (option != 'n' || arenas < 1 || arenas > LIMIT) {
			fprintf(stderr, "usage: %s [-n ARENAS], from 1 to %d\n", argv[0], LIMIT);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = interrupted };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getpid() == 1)
		boot();
	options(argc, argv);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	alarm(600);
	begin();
	find_reclaim();
	start_slots();
	run_steps();
	compare_vmas();
	compare_with_model();
	unlock_all();
	map_controls();
	reclaim_all();
	report();
}
