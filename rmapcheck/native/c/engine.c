/* Breadth-first search with an exact visited set. One Search at a time in a thread. */

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

/* One step. */

static void see(Search *s, S *st)
{
  for (int i = 0; i < GOALS; i++)
    if (!s->r.met[i] && goals[i](st)) s->r.met[i] = 1;
}

/* Note a failure of the model itself, or of the modelled kernel; 1 if the search ends. */
static int broken(Search *s, S *st, int status)
{
  s->r.status = status;
  s->r.failure = st->failure;
  s->r.subject = st->subject;
  s->r.number = (int64_t)st->number;
  return 1;
}

static int found(Search *s, int what)
{
  s->r.status = VIOLATION;
  s->r.found = what;
  return 1;
}

static int check_state(Search *s, S *st)
{
  volatile int i = 0, crash = 0;
  jmp_buf trap;
  st->trap = &trap;
  if (setjmp(trap)) {
    if (st->failure >= MODEL_INDEX) return broken(s, st, BROKEN);
    if (!crash) crash = st->failure;
    i++;
  }
  for (; i < CHECKS; i++) {
    st->loops = 0;
    if ((s->want[i] || s->want_oops[0]) && checks[i](st) && s->want[i]) return found(s, i);
  }
  return crash && s->want_oops[crash] ? found(s, FOUND_OOPS + crash) : 0;
}

/* Carry out an operation; the kind of oops, or 0. */
static int run(S *st, const Op *op, int *error)
{
  jmp_buf trap;
  st->trap = &trap;
  begin(st, op->fail);
  if (setjmp(trap)) return st->failure;
  *error = apply(st, op);
  st->splats += st->held;
  return 0;
}

static int same_projection(Search *s, S *st)
{
  List a = {0, CAPACITY, s->before_v}, b = {0, CAPACITY, s->after_v};
  jmp_buf trap;
  st->trap = s->base.trap = &trap;
  if (setjmp(trap)) return -1;
  projection(&s->base, &a);
  projection(st, &b);
  return list_equal(&a, &b);
}

/* Check one step and, if its state is new, that state; 1 if the search ends. */
static int judge(Search *s, S *st, const Op *op, int oops, int error, uint32_t by)
{
  if (oops && s->want_oops[oops]) return found(s, FOUND_OOPS + oops);
  if (st->splats && s->want_locks) return found(s, FOUND_LOCKS);
  if (oops) return 0;
  if (op->fail && atomic[op->type] && error == -12 && s->want_atomicity) {
    int same = same_projection(s, st);
    if (same < 0) return broken(s, st, BROKEN);
    if (!same) return found(s, FOUND_ATOMICITY);
  }
  jmp_buf trap;
  st->trap = &trap;
  if (setjmp(trap)) return broken(s, st, BROKEN);
  int isnew = add(s, canonical(st, s->now), s->r.parent, by);
  if (isnew < 0) return broken(s, st, MEMORY);
  if (!isnew) return 0;
  see(s, st);
  s->r.fired[op->type]++;
  return check_state(s, st);
}

static int step(Search *s, int ordinal, int fail, int *allocs)
{
  S *st = &s->work;
  Op op = s->offers[ordinal];
  int error = 0;
  op.fail = fail;
  s->r.ordinal = ordinal;
  s->r.fail = fail;
  copy_state(st, &s->base);
  int oops = run(st, &op, &error);
  *allocs = st->nr_allocs;
  if (oops >= MODEL_INDEX) return broken(s, st, BROKEN);
  s->r.generated++;
#ifdef FAULT_DROPPED_SUCCESSOR
  if (s->r.generated % 97 == 0) return 0;
#endif
  if (st->exhausted) {
    s->r.cut[st->exhausted]++;
    return 0;
  }
  for (int i = 0; i < st->reached; i++) s->r.words[st->word[i]] = 1;
  if (fail >> FAIL_BITS) return broken(s, st, BROKEN);
  return judge(s, st, &op, oops, error, (uint32_t)ordinal << FAIL_BITS | fail);
}

static int list_offers(Search *s)
{
  jmp_buf trap;
  s->base.trap = &trap;
  s->base.loops = 0;
  if (setjmp(trap)) return broken(s, &s->base, BROKEN);
  possible(&s->base);
  return 0;
}

static int expand(Search *s)
{
  int allocs, ignored;
  s->r.parent = s->r.next++;
  load(&s->base, s->key + s->offset[s->r.parent]);
  s->offered = 0;
  if (list_offers(s)) return 1;
  for (int i = 0; i < s->offered; i++) {
    s->r.enabled[s->offers[i].type]++;
    if (step(s, i, 0, &allocs)) return 1;
    if (ALLOC_FAIL)
      for (int k = 1; k <= allocs; k++)
        if (step(s, i, k, &ignored)) return 1;
  }
  if (s->r.next == s->layer_end && s->r.next < s->r.states) {
    s->layer_end = s->r.states;
    s->r.depth++;
  }
  return 0;
}

/* What Python calls. */

Search *search_new(const unsigned char *wants, uint64_t memory)
{
  Search *s = calloc(1, sizeof *s);
  if (!s) return 0;
  s->base.search = s->work.search = s;
  s->memory = memory;
  memcpy(s->want, wants, CHECKS);
  memcpy(s->want_oops, wants + CHECKS, 4);
  s->want_locks = wants[CHECKS + 4];
  s->want_atomicity = wants[CHECKS + 5];
  return s;
}

void search_free(Search *s)
{
  free(s->key), free(s->offset), free(s->parent), free(s->by), free(s->slot), free(s->offers);
  free(s);
}

const Report *search_report(Search *s) { return &s->r; }
uint64_t search_parent(Search *s, uint64_t i) { return s->parent[i]; }
uint64_t search_by(Search *s, uint64_t i) { return s->by[i]; }

const unsigned char *search_key(Search *s, uint64_t i, uint64_t *n)
{
  *n = s->offset[i + 1] - s->offset[i];
  return s->key + s->offset[i];
}

/* Store the first state; 1 if that went well. */
int search_start(Search *s, const unsigned char *key, int n)
{
  jmp_buf trap;
  s->work.trap = &trap;
  if (n > KEY || setjmp(trap)) return 0;
  memcpy(s->now, key, n);
  if (add(s, n, 0, 0) < 0) return 0;
  load(&s->work, s->now);
  see(s, &s->work);
  s->layer_end = 1;
  return 1;
}

/* Expand states for `seconds`, or until the search ends; the status. */
int search_run(Search *s, uint64_t max_states, uint64_t max_depth, double seconds)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  double end = t.tv_sec + t.tv_nsec * 1e-9 + seconds;
  s->r.status = RUNNING_ON;
  for (int n = 1; s->r.status == RUNNING_ON; n++) {
    if (s->r.next == s->r.states) s->r.status = EXHAUSTED;
    else if (s->r.depth >= max_depth) s->r.status = DEPTH;
    else if (expand(s)) break;
    else if (s->r.states >= max_states) s->r.status = STATES;
    else if (n % 64 == 0) {
      clock_gettime(CLOCK_MONOTONIC, &t);
      if (t.tv_sec + t.tv_nsec * 1e-9 > end) break;
    }
  }
  return s->r.status;
}
