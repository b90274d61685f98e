/* Made by rmapcheck from the Python source of a model; see docs/adr/0002-model-to-c.md. */
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef FIELD
#define FIELD int /* type of a stored field; the range is checked when a state is stored */
#endif

#define ALWAYS inline __attribute__((always_inline))

/* Why the modelled kernel stopped, and why the model itself did. Numbers from MODEL_INDEX on are
   errors of the model, which are never a verdict on the kernel; search.py has their sentences. */
enum {
  OOPS_NULL = 1, OOPS_FREED, OOPS_DOUBLE, OOPS_BUG, OOPS_KINDS,
  MODEL_INDEX = 10, MODEL_FIELD, MODEL_LIST, MODEL_LOOP, MODEL_LOCKS, MODEL_ABSENT, MODEL_ORDINAL,
  MODEL_CHANCE
};

typedef struct { int n, cap; int *v; } List;
typedef struct { List visited; int nodes, limit; } Walk;
typedef struct { int kind, index, write; } Held;

/* Far more than any model needs: what gets there would not end, and is stopped. */
enum { LOCKS = 64, LOOPS = 1000000, WALK = 40000 };

/* Bookkeeping of a running operation; the pools follow it in S.

     trap                        where stop() goes: an oops of the modelled kernel unwinds in one
                                 jump, since translated code returns no errors of its own
     search, walk                the worker that runs, and room for the visits of each rwc
     failure, subject, number    why stop() was called: OOPS_… or MODEL_…, which pool, which index
     fail_at, nr_allocs          which allocation is to fail (0: none), and how many there were
     spare                       what the scheme has set aside (st.spare)
     exhausted                   the pool that the scope has too few objects of (a text), or 0
     splats, held, lock          violations of lock discipline, and the locks that are held
     loops                       turns of the loops and calls that are not counted in registers
     reached, word               the words that the operation met, each once */
#define RUNNING \
  jmp_buf *trap; \
  void *search; \
  int (*walk)[WALK]; \
  int failure, subject, number; \
  int fail_at, nr_allocs, spare, exhausted, splats, loops, held, reached; \
  Held lock[LOCKS]; \
  int word[TEXTS + 1];
