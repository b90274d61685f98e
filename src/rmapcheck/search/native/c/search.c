/* What a search is made of: a store that all workers share, and a machine for each worker. */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { RUNNING_ON, EXHAUSTED, VIOLATION, BROKEN, MEMORY, STATES, DEPTH };
enum { FOUND_OOPS = 1000, FOUND_LOCKS = 2000, FOUND_ATOMICITY = 3000 };

/* How a state is reached first, as one number: parent, number of the operation among those
   possible there, which allocation fails, type of the operation, and whether the state is bad.
   The lesser number is the earlier step of a search by one worker. */
typedef uint64_t From;
enum { BAD = 1, TYPE_BITS = 5, FAIL_BITS = 10, ORDINAL_BITS = 16 };
enum { FAIL_AT = 1 + TYPE_BITS, ORDINAL_AT = FAIL_AT + FAIL_BITS, PARENT_AT = 32 };
_Static_assert(ORDINAL_AT + ORDINAL_BITS == PARENT_AT, "a step has 32 bits");
_Static_assert(OPERATIONS <= 1 << TYPE_BITS, "the type of an operation must fit");
#define NEVER UINT64_MAX

static inline int bits(From f, int at, int n) { return f >> at & ((1u << n) - 1); }
static inline uint64_t parent_of(From f) { return f >> PARENT_AT; }

/* With fingerprints only states that are still to be expanded have their record; `sealed` stays. */
typedef struct { From from; uint64_t print; } Sealed;
typedef struct {
  union { From from; Sealed *sealed; };
  uint16_t size;
  unsigned char key[];
} Record;
_Static_assert(KEY < 1 << 16, "the size of a key must fit");

/* Records lie end to end in segments, which never move. */
typedef struct Segment {
  struct Segment *next;
  uint64_t used, room, depth;
  unsigned char at[];
} Segment;
typedef struct { Segment *first, *last; } Chain;

typedef struct {
  uint64_t generated;
  uint64_t enabled[OPERATIONS];
  uint64_t cut[TEXTS], words[TEXTS];
  unsigned char met[GOALS + 1];
} Counts;

typedef struct {
  uint64_t states, next, depth, layer_end, bytes;
  uint64_t status, parent, ordinal, fail, found;
  uint64_t failure, subject, number;
  uint64_t fired[OPERATIONS];
  Counts c;
} Report;

/* A state that a step has led to and that has not been looked up yet: its slot, and from the middle
   of the way what the slot points to, are fetched into the cache while other steps are taken. */
enum { BATCH = 32 };
typedef struct {
  From from;
  uint64_t hash;
  int size;
  unsigned char key[KEY + 8];
} Pending;

typedef struct {
  S base, work;
  struct Search *search;
  Counts c;
  Chain records, seals;
  Segment *read; /* where the records begin that have no number yet */
  uint64_t read_at, quota, added;
  uint64_t parent, end; /* of the states in hand, those still to be expanded */
  int open, ordinal, fail, allocs, error, storing; /* the step that comes next from the first of them */
  int explains, dry;
  Op *offers;
  int offered, offers_room;
  int before_v[CAPACITY], after_v[CAPACITY];
  unsigned char other[KEY + 8], saved[KEY + 8];
  unsigned led_to, looked_up;
  Pending found[BATCH];
  int walk[WALKS][WALK];
} Worker;

#ifndef CHUNK
#define CHUNK 16 /* states that a worker draws at a time */
#endif
enum { WORKERS = 64, ROUND = 1 << 16 };

typedef struct Search {
  Report r;
  int workers, fingerprint, full;
  uint64_t *slot, slots, memory;
  Record **place; /* by number */
  uint64_t sealed;  /* states before this one have no record any more */
  uint64_t round, round_end, max_states;
  double end;
  unsigned char want[CHECKS + 1], want_oops[OOPS_KINDS], want_locks, want_atomicity;
  Worker *worker[WORKERS];
  uint32_t count[ROUND + 1];
  /* What workers write while others read. */
  uint64_t claimed __attribute__((aligned(64))), fresh, stop;
  int pause, starved;
} Search;

static void *take(Search *s, uint64_t n);
static void give(Search *s, void *p, uint64_t n);

static void __attribute__((cold, noinline)) more_offers(S *st)
{
  Worker *w = st->search;
  uint64_t old = w->offers_room, room = old ? 2 * old : 256;
  Op *more = room >> (ORDINAL_BITS + 1) ? 0 : take(w->search, room * sizeof *more);
  if (!more) {
    w->search->starved = room >> (ORDINAL_BITS + 1) == 0;
    stop(st, MODEL_ORDINAL, 0, room);
  }
  if (old) memcpy(more, w->offers, old * sizeof *more);
  give(w->search, w->offers, old * sizeof *more);
  w->offers = more;
  w->offers_room = room;
}

/* Return where the next operation is written. To copy one that was just written elsewhere, field by
   field, would wait for these stores. */
static inline Op *offer(S *st)
{
  Worker *w = st->search;
  if (w->offered == w->offers_room) more_offers(st);
  return &w->offers[w->offered++];
}
