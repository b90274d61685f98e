/* The visited set: open addressing, slots of tag and address, and records that never move. */

static ALWAYS uint64_t fold(uint64_t a, uint64_t b)
{
  __uint128_t p = (__uint128_t)a * b;
  return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static ALWAYS uint64_t eight(const unsigned char *b)
{
  uint64_t w;
  memcpy(&w, b, 8);
  return w;
}

/* Sixteen bytes a multiplication, and none waits for another; the last sixteen may be counted
   twice in part. Two keys of one hash are told apart by comparing them. */
static inline uint64_t hash(const unsigned char *b, int n)
{
  uint64_t h = n, a = 0x9e3779b97f4a7c15u, c = 0xe7037ed1a0b428dbu;
  unsigned char few[16] = {0};
  if (n < 16) b = memcpy(few, b, n), n = 16;
  const unsigned char *last = b + n - 16;
  for (; b < last; b += 16, a += 0xd6e8feb86659fd92u, c += 0x8ebc6af09c88c6e2u)
    h += fold(eight(b) ^ a, eight(b + 8) ^ c);
  h += fold(eight(last) ^ a, eight(last + 8) ^ c);
  return fold(h ^ 0xa0761d6478bd642fu, 0xd6e8feb86659fd93u);
}

/* Each step of this one can be undone, so that keys which differ in one word never meet. */
static uint64_t fingerprint(const unsigned char *b, int n)
{
  uint64_t h = 0x9e3779b97f4a7c15u ^ n, w;
  for (; n > 0; b += 8, n -= 8) {
    w = 0;
    memcpy(&w, b, n < 8 ? n : 8);
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 32) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 29;
  }
#ifdef FAULT_SHORT_PRINT
  return (h ^ h >> 31) << 56;
#endif
  return h ^ h >> 31;
}

/* Memory is counted before it is taken, in whole pages, and given back at once. */

enum { HUGE = 1 << 21, PAGE = 4096, ADDRESS = 48, LEAST = 1 << 16, MOST = 1 << 20 };
#define RECORD_MOST (sizeof(Record) + KEY + 8)

static uint64_t pages(uint64_t n) { return (n + PAGE - 1) & -(uint64_t)PAGE; }

static void *take(Search *s, uint64_t n)
{
  n = pages(n);
  if (__atomic_add_fetch(&s->r.bytes, n, __ATOMIC_RELAXED) <= s->memory) {
    void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) {
      if (n >= HUGE) madvise(p, n, MADV_HUGEPAGE); /* a table is read at random */
      return p;
    }
  }
  __atomic_sub_fetch(&s->r.bytes, n, __ATOMIC_RELAXED);
  return 0;
}

static void give(Search *s, void *p, uint64_t n)
{
  if (!p) return;
  munmap(p, pages(n));
  __atomic_sub_fetch(&s->r.bytes, pages(n), __ATOMIC_RELAXED);
}

/* Return room for the longest record at the end of a chain, or 0. */
static Segment *room(Worker *w, Chain *chain)
{
  Search *s = w->search;
  Segment *last = chain->last, *g;
  int passing = s->fingerprint && chain == &w->records; /* dropped once a layer is expanded */
  int fits = last && last->room - last->used >= RECORD_MOST;
  if (fits && (!passing || last->depth == s->r.depth)) return last;
  uint64_t n = last && !fits ? 2 * (last->room + sizeof *g) : LEAST;
  if (n > MOST) n = MOST;
  if (n < pages(sizeof *g + RECORD_MOST)) n = pages(sizeof *g + RECORD_MOST);
  if (!(g = take(s, n))) return 0;
  g->room = n - sizeof *g;
  g->depth = s->r.depth;
  if (last) last->next = g;
  else chain->first = g;
  chain->last = g;
  return g;
}

/* Tell whether a chain has room for `n` records without a further segment. */
static int holds(const Chain *chain, int n)
{
  return chain->last && chain->last->room - chain->last->used >= n * RECORD_MOST;
}

static void drop(Search *s, Segment *g)
{
  give(s, g, sizeof *g + g->room);
}

static inline uint64_t length(const Record *x) { return (sizeof *x + x->size + 7) & ~7u; }

/* The table. */

static uint64_t easily(uint64_t slots) { return slots / 5 * 3; }
static uint64_t at_most(uint64_t slots) { return slots / 4 * 3; }

static void put_slot(Search *s, uint64_t h, void *x)
{
  uint64_t at = h & (s->slots - 1);
  while (s->slot[at]) at = (at + 1) & (s->slots - 1);
  s->slot[at] = h >> ADDRESS << ADDRESS | (uintptr_t)x;
}

/* Put an entry where its slot is on its way into the cache, and send for that of another. */
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

/* Double the table, and the room for numbers with it. */
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

/* A known state is reached again, perhaps by an earlier step. */
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

/* Write a state down where no other worker looks yet; return what its slot points to. */
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

/* Make a state that is known by its key one to be looked up. */
static Pending *pend(Worker *w, From from, const unsigned char *key, int n)
{
  Pending *p = w->found;
  p->from = from;
  p->size = n;
  memcpy(p->key, key, n);
  hash_key(w->search, p);
  return p;
}

/* The slot has come; fetch the record, if it is likely to be the state's. */
static void fetch(Search *s, const Pending *p)
{
  uint64_t slot = __atomic_load_n(&s->slot[p->hash & (s->slots - 1)], __ATOMIC_ACQUIRE);
  if (!slot || (slot ^ p->hash) >> ADDRESS) return;
  __builtin_prefetch(pointee(slot));
  __builtin_prefetch((char *)pointee(slot) + 64);
}

/* Store a state; return where its From is if it is new, else 0. */
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
      continue; /* another worker was quicker: look at what it stored */
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

/* States by number. */

static From from_of(Search *s, uint64_t i)
{
  Record *x = s->place[i];
  if (!s->fingerprint) return x->from;
  return i < s->sealed ? ((Sealed *)x)->from : x->sealed->from;
}

static From from_in(Search *s, Record *x) { return s->fingerprint ? x->sealed->from : x->from; }

/* Go on to the next record without a number; 0 after the last. */
static Record *next_record(Worker *w)
{
  if (!w->read) w->read = w->records.first, w->read_at = 0;
  while (w->read && w->read_at == w->read->used && w->read->next)
    w->read = w->read->next, w->read_at = 0;
  if (!w->read || w->read_at == w->read->used) return 0;
  Record *x = (Record *)(w->read->at + w->read_at);
  w->read_at += length(x);
  return x;
}

/* Number the new states as one worker would have met them: the children of the first parent, in
   the order of its operations, then those of the second. */
static void number(Search *s)
{
  uint64_t parents = s->r.next - s->round, total = s->r.states;
  Record *x;
  memset(s->count, 0, (parents + 1) * sizeof *s->count);
  for (int i = 0; i < s->workers; i++) {
    Worker *w = s->worker[i];
    Segment *read = w->read;
    uint64_t read_at = w->read_at;
    w->added = 0;
    while ((x = next_record(w))) s->count[parent_of(from_in(s, x)) - s->round]++;
    w->read = read, w->read_at = read_at;
  }
  for (uint64_t p = 0, n; p < parents; p++, total += n)
    n = s->count[p], s->count[p] = total - s->r.states;
  Record **new = s->place + s->r.states;
  for (int i = 0; i < s->workers; i++)
    while ((x = next_record(s->worker[i])))
      new[s->count[parent_of(from_in(s, x)) - s->round]++] = x;
  for (uint64_t i = 1, j; i < total - s->r.states; i++) {
    From from = from_in(s, x = new[i]);
    for (j = i; j && from_in(s, new[j - 1]) > from; j--) new[j] = new[j - 1];
    new[j] = x;
  }
  s->r.states = total;
}

/* Drop the records of states that are expanded; their seals stay. */
static void seal(Search *s)
{
  for (; s->fingerprint && s->sealed < s->r.next; s->sealed++)
    s->place[s->sealed] = (Record *)s->place[s->sealed]->sealed;
  for (int i = 0; s->fingerprint && i < s->workers; i++) {
    Chain *chain = &s->worker[i]->records;
    while (chain->first != chain->last && chain->first != s->worker[i]->read &&
           chain->first->depth + 1 < s->r.depth) {
      Segment *g = chain->first;
      chain->first = g->next;
      drop(s, g);
    }
  }
}
