/* A search: its counters, the canonical form, and the exact set of visited states. */

enum { RUNNING_ON, EXHAUSTED, VIOLATION, BROKEN, MEMORY, STATES, DEPTH };
enum { FOUND_OOPS = 1000, FOUND_LOCKS = 2000, FOUND_ATOMICITY = 3000 };
enum { TAG_SHIFT = 40, FAIL_BITS = 12 };

typedef struct {
  uint64_t states, next, generated, depth, bytes;
  uint64_t status, parent, ordinal, fail, found;
  uint64_t failure, subject, number;
  uint64_t enabled[OPERATIONS], fired[OPERATIONS];
  uint64_t cut[TEXTS];
  unsigned char words[TEXTS], met[GOALS + 1];
} Report;

typedef struct {
  Report r;
  S base, work;
  unsigned char *key;
  uint64_t key_used, key_room;
  uint64_t *offset;
  uint32_t *parent, *by;
  uint64_t room;
  uint64_t *slot, mask;
  uint64_t layer_end, memory;
  Op *offers;
  int offered, offers_room;
  int before_v[CAPACITY], after_v[CAPACITY];
  unsigned char want[CHECKS + 1], want_oops[4], want_locks, want_atomicity, want_all;
  unsigned char now[KEY], other[KEY];
} Search;

static void offer(S *st, const Op *op)
{
  Search *s = st->search;
  if (s->offered == s->offers_room) {
    int room = s->offers_room ? 2 * s->offers_room : 256;
    Op *more = realloc(s->offers, room * sizeof *more);
    if (!more || room >> (32 - FAIL_BITS)) stop(st, MODEL_ORDINAL, 0, room);
    s->offers = more;
    s->offers_room = room;
  }
  s->offers[s->offered++] = *op;
}

/* Stored forms. */

static int compare(const int *a, int m, const int *b, int n)
{
  for (int i = 0; i < m && i < n; i++)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return m - n;
}

#if SYMMETRY && !defined(FAULT_NO_CANON)
/* Put the next permutation of v[0 … n) in its place; 0 after the last, and then sorted again. */
static int permute(int *v, int n)
{
  int i = n - 1, j = n - 1, t;
  while (i > 0 && v[i - 1] > v[i]) i--;
  for (int a = i, b = n - 1; a < b; a++, b--) t = v[a], v[a] = v[b], v[b] = t;
  if (i == 0) return 0;
  for (j = i; v[j] < v[i - 1]; j++);
  t = v[i - 1], v[i - 1] = v[j], v[j] = t;
  return 1;
}

static int canonical(S *st, unsigned char *best)
{
  unsigned char *other = ((Search *)st->search)->other;
  int order[MMS], size[MMS], dead[MMS], alive = 0, gone = 0, groups = 0;
  int sig[MMS][SIGNATURE], len[MMS];
  for (int m = 1; m <= MMS; m++)
    if (st->mm.state[m] == 1) order[alive++] = m;
    else dead[gone++] = m;
  for (int i = 0; i < gone; i++) order[alive + i] = dead[i];
  if (alive < 2) return encode(st, order, best);
  for (int i = 0; i < alive; i++) len[i] = signature(st, order[i], sig[i]);
  int rank[MMS];
  for (int i = 0; i < alive; i++) {
    int j = i;
    for (; j && compare(sig[rank[j - 1]], len[rank[j - 1]], sig[i], len[i]) > 0; j--)
      rank[j] = rank[j - 1];
    rank[j] = i;
  }
  int sorted[MMS];
  for (int i = 0; i < alive; i++) {
    sorted[i] = order[rank[i]];
    if (i && compare(sig[rank[i - 1]], len[rank[i - 1]], sig[rank[i]], len[rank[i]]) == 0)
      size[groups - 1]++;
    else size[groups++] = 1;
  }
  memcpy(order, sorted, alive * sizeof *order);
  int n = encode(st, order, best);
  for (;;) {
    int g = 0, at = 0;
    while (g < groups && !permute(order + at, size[g])) at += size[g++];
    if (g == groups) return n;
    int k = encode(st, order, other);
    int c = memcmp(other, best, k < n ? k : n);
    if (c < 0 || (c == 0 && k < n)) memcpy(best, other, n = k);
  }
}
#else
static int canonical(S *st, unsigned char *best)
{
  int order[MMS];
  for (int m = 0; m < MMS; m++) order[m] = m + 1;
  return encode(st, order, best);
}
#endif

/* The visited set: slots of tag and number + 1, and all keys end to end. */

static inline uint64_t mix(uint64_t x)
{
  __uint128_t p = (__uint128_t)x * 0xd6e8feb86659fd93u;
  return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t hash(const unsigned char *b, int n)
{
  uint64_t h = 0x9e3779b97f4a7c15u ^ n, w;
  for (; n >= 8; b += 8, n -= 8) {
    memcpy(&w, b, 8);
    h = mix(h ^ w);
  }
  w = 0;
  memcpy(&w, b, n);
  return mix(mix(h ^ w) + n);
}

static void *grow(Search *s, void *old, uint64_t from, uint64_t to)
{
  if (s->r.bytes + to - from > s->memory) return 0;
  void *p = realloc(old, to);
  if (p) s->r.bytes += to - from;
  return p;
}

static int more_slots(Search *s)
{
  uint64_t n = s->slot ? 2 * (s->mask + 1) : 1 << 12;
  uint64_t cost = n * sizeof *s->slot, freed = s->slot ? cost / 2 : 0;
  if (s->r.bytes + cost > s->memory) return 0;
  uint64_t *slot = calloc(n, sizeof *slot);
  if (!slot) return 0;
  for (uint64_t i = 0; i < s->r.states; i++) {
    uint64_t h = hash(s->key + s->offset[i], s->offset[i + 1] - s->offset[i]);
    uint64_t at = h & (n - 1);
    while (slot[at]) at = (at + 1) & (n - 1);
    slot[at] = h >> TAG_SHIFT << TAG_SHIFT | (i + 1);
  }
  free(s->slot);
  s->slot = slot;
  s->mask = n - 1;
  s->r.bytes += cost - freed;
  return 1;
}

static int more_room(Search *s)
{
  if (s->r.states + 1 >= s->room) {
    uint64_t n = s->room ? 2 * s->room : 1 << 11, o = s->room;
    void *p;
    if (!(p = grow(s, s->offset, o * 8, n * 8))) return 0;
    s->offset = p;
    if (!(p = grow(s, s->parent, o * 4, n * 4))) return 0;
    s->parent = p;
    if (!(p = grow(s, s->by, o * 4, n * 4))) return 0;
    s->by = p;
    s->room = n;
    s->offset[0] = 0;
  }
  if (s->key_used + KEY > s->key_room) {
    uint64_t n = s->key_room ? s->key_room + s->key_room / 2 + KEY : 1 << 16;
    unsigned char *p = grow(s, s->key, s->key_room, n + KEY);
    if (!p) return 0;
    s->key = p;
    s->key_room = n + KEY;
  }
  return (s->slot && 5 * s->r.states < 3 * s->mask) || more_slots(s);
}

/* Store the key s->now of n bytes; 1 if it is new, 0 if known, -1 if there is no room. */
static int add(Search *s, int n, uint64_t parent, uint32_t by)
{
  uint64_t h = hash(s->now, n), tag = h >> TAG_SHIFT << TAG_SHIFT;
  if (!more_room(s)) return -1;
  uint64_t at = h & s->mask;
  for (; s->slot[at]; at = (at + 1) & s->mask) {
#ifdef FAULT_TRUNCATED_COMPARE
    if ((s->slot[at] ^ tag) >> 62 == 0) return 0;
#endif
    if ((s->slot[at] ^ tag) >> TAG_SHIFT) continue;
    uint64_t i = (s->slot[at] & (((uint64_t)1 << TAG_SHIFT) - 1)) - 1;
    if (s->offset[i + 1] - s->offset[i] == (uint64_t)n &&
        memcmp(s->key + s->offset[i], s->now, n) == 0)
      return 0;
  }
  uint64_t i = s->r.states++;
  s->slot[at] = tag | (i + 1);
  memcpy(s->key + s->offset[i], s->now, n);
  s->key_used = s->offset[i + 1] = s->offset[i] + n;
  s->parent[i] = parent;
  s->by[i] = by;
  return 1;
}
