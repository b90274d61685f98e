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

/* Why the modelled kernel stopped, and why the model itself did. */
enum {
  OOPS_NULL = 1, OOPS_FREED, OOPS_DOUBLE, OOPS_BUG, OOPS_KINDS,
  MODEL_INDEX = 10, MODEL_FIELD, MODEL_LIST, MODEL_LOOP, MODEL_LOCKS, MODEL_ABSENT, MODEL_ORDINAL,
  MODEL_CHANCE
};

typedef struct { int n, cap; int *v; } List;
typedef struct { List visited; int nodes, limit; } Walk;
typedef struct { int kind, index, write; } Held;

enum { LOCKS = 64, LOOPS = 1000000, WALK = 40000 };

/* Bookkeeping of a running operation; the pools follow it in S. */
#define RUNNING \
  jmp_buf *trap; \
  void *search; \
  int (*walk)[WALK]; \
  int failure, subject, number; \
  int fail_at, nr_allocs, spare, exhausted, splats, loops, held, reached; \
  Held lock[LOCKS]; \
  int word[TEXTS + 1];
