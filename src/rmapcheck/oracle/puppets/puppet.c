/*
 * A puppet: a process that carries out commands of the driver on its own memory, one at a time.
 *
 *   puppet ARENA_PAGES FD...        one socket (SOCK_SEQPACKET) for each slot
 *
 * The first puppet, slot 0, is the nursery: its arena is empty, and the first process of each
 * episode is forked from it. It adopts orphans and ignores SIGCHLD, so that the kernel reaps them.
 *
 * A command is six 64-bit words, op and five arguments; the answer is one word, the result or
 * -errno. FORK creates the puppet of another slot, which listens on that slot's socket. Addresses
 * and lengths are in pages of the arena, as in an operation of the model, so no command can reach
 * memory outside the arena. The arena lies below the program (0x400000), so that its VMAs are the
 * first of the process: in /proc/PID/maps, and in the order in which fork copies.
 *
 * The files that a puppet may map are open from the start: file n is descriptor FILES + n.
 *
 * A puppet ends when its socket is closed, so it also ends when the driver is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARENA 0x100000UL
#define PAGE 4096UL
#define SLOTS 32
#define FILES 90

/* Given by the driver: MMAP, MUNMAP, ... as `puppet` of Syscall, model/operations, names them. */
enum { NOTHING, COMMANDS };

static long pages;
static int slots, sockets[SLOTS], own;
static sigjmp_buf env;

/* A fault at any other time than in READ or WRITE is a bug of this program. */
static volatile sig_atomic_t accessing;

static void on_fault(int sig)
{
  if (!accessing) _exit(101);
  siglongjmp(env, sig);
}

static char *at(long page) { return (char *)(ARENA + (unsigned long)page * PAGE); }

/* Returns 0 where the range lies in the arena. */
static int outside(long start, long length)
{
  return start < 0 || length < 1 || start > pages || length > pages - start;
}

static long access_page(long page, long value, int write)
{
  volatile long *p = (volatile long *)at(page);
  long seen = 0;
  int sig = sigsetjmp(env, 1);
  if (sig) {
    accessing = 0;
    return sig == SIGSEGV ? -EFAULT : -ENXIO;
  }
  accessing = 1;
  if (write) *p = value;
  else seen = *p;
  accessing = 0;
  return write ? 0 : seen & 0x3fffffffffffffff;
}

static long result(long r) { return r == -1 ? -(long)errno : 0; }

static long remap(long start, long length, long new_length, long to, long dontunmap)
{
  int flags = dontunmap ? MREMAP_DONTUNMAP : 0;
  void *moved;
  if (outside(start, length)) return -E2BIG;
  if (outside(to < 0 ? start : to, new_length)) return -E2BIG;
  if (to >= 0) flags |= MREMAP_MAYMOVE | MREMAP_FIXED;
  moved = mremap(at(start), length * PAGE, new_length * PAGE, flags, to < 0 ? NULL : at(to));
  return moved == MAP_FAILED ? -(long)errno : 0;
}

static long fork_into(long slot)
{
  long pid;
  if (slot < 0 || slot >= slots) return -E2BIG;
  pid = syscall(SYS_fork);
  if (pid < 0) return -(long)errno;
  if (pid == 0) own = sockets[slot];
  return pid;
}

static long map_private(long start, long length, long prot)
{
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  void *p = mmap(at(start), length * PAGE, prot, flags, -1, 0);
  return p == MAP_FAILED ? -(long)errno : 0;
}

/* what: the protection, plus 256 for a shared mapping. */
static long map_file(long start, long length, long what, long file, long pgoff)
{
  int flags = MAP_FIXED | (what & 256 ? MAP_SHARED : MAP_PRIVATE);
  void *p = mmap(at(start), length * PAGE, what & 255, flags, FILES + file, pgoff * PAGE);
  return p == MAP_FAILED ? -(long)errno : 0;
}

static long punch_hole(long file, long index, long length)
{
  int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return result(fallocate(FILES + file, mode, index * PAGE, length * PAGE));
}

/* Writes to so many pages outside the arena, and unmaps them. */
static long ballast(long count)
{
  long i;
  char *p = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return -(long)errno;
  for (i = 0; i < count; i++) *(volatile char *)(p + i * PAGE) = 1;
  return result(munmap(p, count * PAGE));
}

static long perform(const int64_t *c)
{
  long start = c[1], length = c[2];
  switch (c[0]) {
  case FORK: return fork_into(c[1]);
  case READ: return outside(start, 1) ? -E2BIG : access_page(start, 0, 0);
  case WRITE: return outside(start, 1) ? -E2BIG : access_page(start, c[2], 1);
  case MREMAP: return remap(c[1], c[2], c[3], c[4], c[5]);
  case BALLAST: return ballast(c[1]);
  case TRUNCATE: return result(ftruncate(FILES + c[1], c[2] * PAGE));
  case PUNCH_HOLE: return punch_hole(c[1], c[2], c[3]);
  }
  if (outside(start, length)) return -E2BIG;
  switch (c[0]) {
  case MMAP: return map_private(start, length, c[3]);
  case MMAP_FILE: return map_file(start, length, c[3], c[4], c[5]);
  case MUNMAP: return result(munmap(at(start), length * PAGE));
  case MPROTECT: return result(mprotect(at(start), length * PAGE, c[3]));
  case MADVISE: return result(madvise(at(start), length * PAGE, c[3]));
  }
  return -ENOSYS;
}

static void set_up(void)
{
  struct sigaction fault = {.sa_handler = on_fault}, child = {.sa_handler = SIG_IGN};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  child.sa_flags = SA_NOCLDWAIT;
  sigaction(SIGSEGV, &fault, NULL);
  sigaction(SIGBUS, &fault, NULL);
  sigaction(SIGCHLD, &child, NULL);
}

int main(int argc, char **argv)
{
  int64_t command[6];
  if (argc < 3 || argc - 2 > SLOTS) return 100;
  pages = atol(argv[1]);
  for (slots = 0; slots < argc - 2; slots++) sockets[slots] = atoi(argv[slots + 2]);
  own = sockets[0];
  set_up();
  for (;;) {
    ssize_t got = recv(own, command, sizeof command, 0);
    int64_t answer;
    if (got != sizeof command || command[0] == EXIT) _exit(0);
    answer = perform(command);
    /* The child of a FORK does not answer, because its parent does. */
    if (command[0] == FORK && answer == 0) continue;
    if (send(own, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) _exit(0);
  }
}
