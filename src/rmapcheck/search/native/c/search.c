/* What a search is made of: a store that all workers share, and a machine for each worker.

     Search ── slot[]     the table of states (visited.c)
          │    place[]    their records by number: the order in which one worker meets them
          │    r          the counters that Python reads
          │
          ├─ Worker 0 ── base      the state in hand, from which all its steps start
          │              work      a copy of it, on which the next step is taken
          │              offers    the operations that are possible in it
          │              found     where steps led to, not looked up yet (engine.c)
          │              records   segments for new states, which no other worker writes to
          ├─ Worker 1
          …
*/
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { RUNNING_ON, EXHAUSTED, VIOLATION, BROKEN, MEMORY, STATES, DEPTH };
enum { FOUND_OOPS = 1000, FOUND_LOCKS = 2000, FOUND_ATOMICITY = 3000 };

/* How a state is reached first: by which step, from which state.

      63                     32 31          16 15          6 5      1   0
     +-------------------------+--------------+-------------+--------+-----+
     | parent: its number      | ordinal      | fail        | type   | BAD |
     +-------------------------+--------------+-------------+--------+-----+
       the state that the        operation, as  allocation    of the   the state
       step starts from          listed there   that fails    op       violates

   One number, so that workers can lower it by compare-and-swap, and in this order of parts, so that
   the lesser number is the earlier step of a search by one worker. The type is known from the
   ordinal, but only by listing what is possible in the parent once more; reports count by type. */
typedef uint64_t From;
enum { BAD = 1, TYPE_BITS = 5, FAIL_BITS = 10, ORDINAL_BITS = 16 };
enum { FAIL_AT = 1 + TYPE_BITS, ORDINAL_AT = FAIL_AT + FAIL_BITS, PARENT_AT = 32 };
_Static_assert(ORDINAL_AT + ORDINAL_BITS == PARENT_AT, "a step has 32 bits");
_Static_assert(OPERATIONS <= 1 << TYPE_BITS, "the type of an operation must fit");
#define NEVER UINT64_MAX

static inline int bits(From f, int at, int n) { return f >> at & ((1u << n) - 1); }
static inline uint64_t parent_of(From f) { return f >> PARENT_AT; }

/* A stored state. `size` is the length of its key, which encode() wrote; load() reads a word at a
   time and may look at up to seven bytes behind the key, so there is always something.

      0               8       10                         10 + size        a multiple of 8
     +---------------+-------+--------------------------+-- - - - --------+
     | from          | size  | key                      | slack           |
     +---------------+-------+--------------------------+-- - - - --------+

   With fingerprints a state is known by 64 bits once it is expanded. Its `from` is then where it
   can stay, and the record, which is larger, is dropped with its segment (seal() in numbers.c):

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

/* Records lie end to end in segments. A segment never moves, as slots hold addresses, and belongs
   to one worker, which so writes a record without asking anyone.

     +------+------+------+-------+--------+----------+------+-- - - - - - --+
     | next | used | room | depth | Record | Record   | Rec… | free          |
     +------+------+------+-------+--------+----------+------+-- - - - - - --+
                                  at                         at + used       at + room

   `depth` is the layer that was being expanded: a segment has the states of one, where records are
   dropped, and is dropped as a whole. */
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

/* A state that a step has led to and that has not been looked up yet; see engine.c. */
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
