/* The data structures of a search: a store that all workers share, and a machine for each worker.

     Search ── slot[]     the table of states (visited.c)
          │    place[]    their records by number: the order in which one worker meets them
          │    r          the counters that Python reads
          │
          ├─ Worker 0 ── base      the current state, from which all its steps start
          │              work      a copy of it, on which the next step is taken
          │              offers    the operations that are possible in it
          │              found     states after steps, not looked up yet (engine.c)
          │              records   segments for new states, written by this worker only
          ├─ Worker 1
          …
*/
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { RUNNING_ON, EXHAUSTED, VIOLATION, BROKEN, MEMORY, STATES, DEPTH };
enum { FOUND_OOPS = 1000, FOUND_LOCKS = 2000, FOUND_ATOMICITY = 3000 };

/* How a state was first reached: by which step, from which state.

      63                     32 31          16 15          6 5      1   0
     +-------------------------+--------------+-------------+--------+-----+
     | parent: its number      | ordinal      | fail        | type   | BAD |
     +-------------------------+--------------+-------------+--------+-----+
       the state that the        operation, as  allocation    of the   the state
       step starts from          listed there   that fails    op       violates

   It is one number, so that workers can lower it with compare-and-swap. The parts are in this order
   so that a smaller number is an earlier step of a search by one worker. Reports count by type; to
   derive it from the ordinal, the operations of the parent would have to be listed again. */
typedef uint64_t From;
enum { BAD = 1, TYPE_BITS = 5, FAIL_BITS = 10, ORDINAL_BITS = 16 };
enum { FAIL_AT = 1 + TYPE_BITS, ORDINAL_AT = FAIL_AT + FAIL_BITS, PARENT_AT = 32 };
_Static_assert(ORDINAL_AT + ORDINAL_BITS == PARENT_AT, "a step has 32 bits");
_Static_assert(OPERATIONS <= 1 << TYPE_BITS, "the type of an operation must fit");
#define NEVER UINT64_MAX

static inline int bits(From f, int at, int n) { return f >> at & ((1u << n) - 1); }
static inline uint64_t parent_of(From f) { return f >> PARENT_AT; }

/* A stored state. `size` is the length of its key, which encode() wrote. load() reads whole words,
   and may read up to seven bytes after the key, so there is always slack.

      0               8       10                         10 + size        a multiple of 8
     +---------------+-------+--------------------------+-- - - - --------+
     | from          | size  | key                      | slack           |
     +---------------+-------+--------------------------+-- - - - --------+

   With fingerprints, only 64 bits of a state are kept once it is expanded. Then its `from` moves to
   a Sealed, and the record, which is larger, is dropped with its segment (seal() in numbers.c):

     slot ──► Sealed   +-------+-------+     16 bytes for good
                       | from  | print |
                       +-------+-------+
                          ▲
     place[] ─► Record ───┘ sealed, size, key     until it is expanded, then place[] ─► Sealed */
typedef struct { From from; uint64_t print; } Sealed;
typedef struct {
  union { From from; Sealed *sealed; };
  uint16_t size;
  unsigned char key[];
} Record;
_Static_assert(KEY < 1 << 16, "the size of a key must fit");

/* Records are stored one after another in segments. A segment never moves, because slots contain
   addresses. It belongs to one worker, which can therefore write records without locking.

     +------+------+------+-------+--------+----------+------+-- - - - - - --+
     | next | used | room | depth | Record | Record   | Rec… | free          |
     +------+------+------+-------+--------+----------+------+-- - - - - - --+
                                  at                         at + used       at + room

   `depth` is the layer that was being expanded. If records are dropped, a segment contains states
   of one layer only, so that it can be dropped as a whole. */
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

/* A state after a step, not looked up yet; see engine.c. */
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
  Segment *read; /* where the records without a number begin */
  uint64_t read_at, quota, added;
  uint64_t parent, end; /* the states that are drawn but not expanded yet */
  int open, ordinal, fail, allocs, error, storing; /* the next step from the first of them */
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
  uint64_t sealed;  /* states before this one no longer have a record */
  uint64_t round, round_end, max_states;
  double end;
  unsigned char want[CHECKS + 1], want_oops[OOPS_KINDS], want_locks, want_atomicity;
  unsigned char want_goal[GOALS + 1];
  Worker *worker[WORKERS];
  uint32_t count[ROUND + 1];
  /* Written by workers while others read. */
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

/* Return where the next operation shall be written. Writing it elsewhere and copying it would stall
   until the stores of its fields are done. */
static inline Op *offer(S *st)
{
  Worker *w = st->search;
  if (w->offered == w->offers_room) more_offers(st);
  return &w->offers[w->offered++];
}
