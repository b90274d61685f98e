/* Memory is counted in whole pages before it is allocated, and returned immediately. A search that
   uses more than the machine has would be killed, and its result lost; this one ends with UNKNOWN
   and reports what it has found. It uses mmap(), because free() may keep memory. */

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

/* Return the last segment of a chain, with room for the longest record, or 0. The first segment is
   small, because most searches are small; each further one is twice as long, up to a megabyte. */
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

/* Return whether a chain has room for `n` records without another segment. */
static int holds(const Chain *chain, int n)
{
  return chain->last && chain->last->room - chain->last->used >= n * RECORD_MOST;
}

static void drop(Search *s, Segment *g)
{
  give(s, g, sizeof *g + g->room);
}

static inline uint64_t length(const Record *x) { return (sizeof *x + x->size + 7) & ~7u; }
