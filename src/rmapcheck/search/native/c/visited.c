/* The visited set: all states found so far. It uses open addressing with linear probing.

   A slot is one word, so that a worker publishes a state with one compare-and-swap and no one ever
   reads half of a slot. Records are in segments (search.c); a slot points to one:

      63        48 47                                0
     +------------+-----------------------------------+
     | tag        | address of the record             |     0: the slot is empty
     +------------+-----------------------------------+
      the highest   user space has 48 bits of address on
      bits of the   the machines that this runs on
      hash

   A look-up begins at the slot given by the lowest bits of the hash, and ends at the state or at an
   empty slot. The tag has the highest bits of the hash, so only one in 65,536 records of other
   states is read. Nearly every look-up costs one cache miss for the slot, and one for the record if
   the state is known:

     hash & (slots - 1)
           │
           ▼
     ┌───┬───┬───┬───┬───┐
     │   │ A │ B │ C │   │     C's tag differs from those of A and B, which are skipped
     └───┴───┴───┴───┴───┘     without reading their records
                       └────── a new state would go here

   Nothing is ever removed, so a probe always ends at an empty slot, and there are no tombstones.
   The table doubles when three fifths are used (`easily`): there a look-up takes 1.8 slots on
   average if the state is known, and 3.6 if it is new. If there is no memory for that, the table is
   filled to three quarters (`at_most`), 2.5 and 8.5 slots, before the search ends with UNKNOWN. */

/* Doubling the table. Neighbouring slots point to records anywhere in memory. So the new table is
   filled from the records in the order in which they are stored, not from the old table. Each key
   must be hashed again, but that is cheaper than a cache miss. */

static uint64_t easily(uint64_t slots) { return slots / 5 * 3; }
static uint64_t at_most(uint64_t slots) { return slots / 4 * 3; }

static void put_slot(Search *s, uint64_t h, void *x)
{
  uint64_t at = h & (s->slots - 1);
  while (s->slot[at]) at = (at + 1) & (s->slots - 1);
  s->slot[at] = h >> ADDRESS << ADDRESS | (uintptr_t)x;
}

/* Insert an entry whose slot was prefetched sixteen entries ago, and prefetch the slot of a new
   one. All these slots are cache misses, which overlap in this way. */
typedef struct { uint64_t hash; void *record; } Entry;
enum { ENTRIES = 16 };

static void put_later(Search *s, Entry *entry, unsigned number, uint64_t h, void *x)
{
  Entry *e = &entry[number % ENTRIES];
  if (e->record) put_slot(s, e->hash, e->record);
  *e = (Entry){h, x};
  if (x) __builtin_prefetch(&s->slot[h & (s->slots - 1)], 1);
}

static void put_slots(Search *s, Worker *w)
{
  Entry entry[ENTRIES] = {{0, 0}};
  unsigned n = 0;
  for (Segment *g = w->seals.first; g; g = g->next)
    for (uint64_t at = 0; at < g->used; at += sizeof(Sealed)) {
      Sealed *x = (Sealed *)(g->at + at);
      put_later(s, entry, n++, x->print, x);
    }
  for (Segment *g = s->fingerprint ? 0 : w->records.first; g; g = g->next)
    for (uint64_t at = 0; at < g->used;) {
      Record *x = (Record *)(g->at + at);
      put_later(s, entry, n++, hash(x->key, x->size), x);
      at += length(x);
    }
  for (int i = 0; i < ENTRIES; i++) put_later(s, entry, n++, 0, 0);
}

/* Double the table, and the array of numbers with it. */
static int more_slots(Search *s)
{
  uint64_t old = s->slots, n = old ? 2 * old : 1 << 12;
  uint64_t *slot = take(s, n * sizeof *slot), *small = s->slot;
  Record **place = slot ? take(s, at_most(n) * sizeof *place) : 0;
  if (!place) return give(s, slot, n * sizeof *slot), 0;
  if (old) memcpy(place, s->place, s->r.states * sizeof *place);
  give(s, s->place, at_most(old) * sizeof *place);
  s->slot = slot, s->slots = n, s->place = place;
  for (int i = 0; i < s->workers; i++) put_slots(s, s->worker[i]);
  give(s, small, old * sizeof *slot);
  return 1;
}

/* Note that a search by one worker would end at this step, or at an earlier one. */
static void note_stop(Search *s, From from)
{
  From old = __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
  from &= ~(From)BAD;
  while (from < old)
    if (__atomic_compare_exchange_n(&s->stop, &old, from, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
      return;
}

/* A known state is reached again. If the step is an earlier one, it becomes the way in which the
   state is reached; otherwise parents would depend on which worker was faster. */
static void reached_by(Search *s, From *at, From from)
{
  From old = __atomic_load_n(at, __ATOMIC_RELAXED);
#ifndef FAULT_FIRST_COME
  while (from < old)
    if (__atomic_compare_exchange_n(at, &old, from | (old & BAD), 0, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED)) {
      if (old & BAD) note_stop(s, from);
      return;
    }
#endif
}

static inline void *pointee(uint64_t slot)
{
  return (void *)(uintptr_t)(slot & (((uint64_t)1 << ADDRESS) - 1));
}

static int same(Search *s, uint64_t slot, uint64_t h, const unsigned char *key, int n)
{
  void *at = pointee(slot);
#ifdef FAULT_TRUNCATED_COMPARE
  if ((slot ^ h) >> 62 == 0) return 1;
#endif
  if ((slot ^ h) >> ADDRESS) return 0;
  if (s->fingerprint) return ((Sealed *)at)->print == h;
  Record *x = at;
  return x->size == n && memcmp(x->key, key, n) == 0;
}

/* Write a state where no other worker reads yet; return what its slot will point to. Unless add()
   publishes it, `used` stays as it is, and the next state overwrites it. */
static From *write_down(Worker *w, const Pending *p)
{
  Segment *g = w->records.last, *sealed = w->seals.last;
  Record *x = (Record *)(g->at + g->used);
  x->size = p->size;
  memcpy(x->key, p->key, p->size);
  if (!w->search->fingerprint) return x->from = p->from, &x->from;
  x->sealed = (Sealed *)(sealed->at + sealed->used);
  *x->sealed = (Sealed){p->from, p->hash};
  return &x->sealed->from;
}

/* Fill an empty slot. If another worker was faster, `old` gets what it stored. The release here and
   the acquire in add() ensure that no one sees a slot before the record that it points to. */
static int publish(Search *s, uint64_t at, uint64_t *old, uint64_t slot)
{
#ifdef FAULT_RACE
  struct timespec moment = {0, 100000};
  if (at % 64 == 0) nanosleep(&moment, 0);
  s->slot[at] = slot;
  return 1;
#endif
  return __atomic_compare_exchange_n(&s->slot[at], old, slot, 0, __ATOMIC_RELEASE,
                                     __ATOMIC_ACQUIRE);
}

static void hash_key(Search *s, Pending *p)
{
  p->hash = s->fingerprint ? fingerprint(p->key, p->size) : hash(p->key, p->size);
  __builtin_prefetch(&s->slot[p->hash & (s->slots - 1)]);
}

/* Prepare the look-up of a state, given its key. */
static Pending *pend(Worker *w, From from, const unsigned char *key, int n)
{
  Pending *p = w->found;
  p->from = from;
  p->size = n;
  memcpy(p->key, key, n);
  hash_key(w->search, p);
  return p;
}

/* The slot has arrived; prefetch its record if the tag matches. */
static void fetch(Search *s, const Pending *p)
{
  uint64_t slot = __atomic_load_n(&s->slot[p->hash & (s->slots - 1)], __ATOMIC_ACQUIRE);
  if (!slot || (slot ^ p->hash) >> ADDRESS) return;
  __builtin_prefetch(pointee(slot));
  __builtin_prefetch((char *)pointee(slot) + 64);
}

/* Store a state; return the address of its From if it is new, else 0. */
static From *add(Worker *w, const Pending *p)
{
  Search *s = w->search;
  uint64_t h = p->hash;
  uint64_t at = h & (s->slots - 1), old = __atomic_load_n(&s->slot[at], __ATOMIC_ACQUIRE);
  From *mine = 0;
#ifdef JITTER
  if ((p->from ^ h) % 5 == 0) sched_yield();
#endif
  for (;;) {
    if (!old) {
      if (!mine) mine = write_down(w, p);
      if (publish(s, at, &old, h >> ADDRESS << ADDRESS | (uintptr_t)mine)) break;
      continue; /* another worker was faster: look at what it stored */
    }
    if (same(s, old, h, p->key, p->size)) {
      reached_by(s, pointee(old), p->from);
      return 0;
    }
    at = (at + 1) & (s->slots - 1);
    old = __atomic_load_n(&s->slot[at], __ATOMIC_ACQUIRE);
  }
  w->records.last->used += (sizeof(Record) + p->size + 7) & ~7u;
  if (s->fingerprint) w->seals.last->used += sizeof(Sealed);
  w->quota--, w->added++;
  return mine;
}
