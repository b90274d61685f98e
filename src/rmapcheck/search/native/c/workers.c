/* Breadth-first search by several workers, with the same results as with one.

   In a round, all workers take steps from states of one layer, which they draw in order, sixteen at
   a time, and store new states. Then the first worker alone numbers the new states in the order of
   a search by one worker. States by number:

     0             round        claimed     round_end     layer_end        states
     +---------------+------------+------------+-------------+----------------+ - - - - - -
     | expanded      | drawn by   | not drawn  | next round  | the next layer | found in this
     |               | a worker   | yet        |             |                | round: no number
     +---------------+------------+------------+-------------+----------------+ - - - - - -

   A search ends at the earliest step at which one worker would have stopped (`stop`). Workers may
   have gone beyond it. States that were reached and steps that were taken after it are taken back.
   So no result depends on the number of workers. */

enum { STACK = 1 << 24 }; /* functions of the model may recurse a thousand levels deep */

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Give the worker states to expand; return 0 if there are none, or if the round is over. */
static int draw(Worker *w, uint64_t fresh)
{
  Search *s = w->search;
  fresh = __atomic_add_fetch(&s->fresh, fresh, __ATOMIC_RELAXED);
  if (w->parent < w->end) return 1; /* left over from when there was no room */
  if (s->claimed > s->round) { /* at least one state is expanded, whatever the limits */
    if (s->pause || s->stop != NEVER || s->r.states + fresh >= s->max_states) return 0;
    if (now() > s->end) return 0;
  }
  uint64_t at = __atomic_fetch_add(&s->claimed, CHUNK, __ATOMIC_RELAXED);
  if (at >= s->round_end) return 0;
  w->parent = at;
  w->end = at + CHUNK < s->round_end ? at + CHUNK : s->round_end;
  return 1;
}

static void *labour(void *arg)
{
  Worker *w = arg;
  uint64_t quota = w->quota;
  w->dry = 0;
  for (; draw(w, quota - w->quota); quota = w->quota)
    for (; w->parent < w->end; w->parent++)
      if (!expand(w, SEARCH)) {
        w->search->pause = w->dry = 1;
        return 0;
      }
  flush(w);
  return 0;
}

/* Run all workers, in threads as far as threads can be created; return 1 if one needs more room. */
static int labour_all(Search *s, int workers)
{
  pthread_t thread[WORKERS];
  pthread_attr_t large;
  int started = 1, dry = 0;
  pthread_attr_init(&large);
  pthread_attr_setstacksize(&large, STACK);
  while (started < workers && !pthread_create(&thread[started], &large, labour, s->worker[started]))
    started++;
  pthread_attr_destroy(&large);
  labour(s->worker[0]);
  for (int i = 1; i < started; i++) pthread_join(thread[i], 0);
  for (int i = started; i < workers; i++) labour(s->worker[i]);
  for (int i = 0; i < workers; i++) dry |= s->worker[i]->dry;
  return dry | s->starved;
}

/* Divide the table's free slots among the workers; return 0 if there are too few. The table never
   grows while they work: a worker that has used up its quota pauses all (`pause`). */
static int share_out(Search *s)
{
  uint64_t used = s->r.states, least = 64 * s->workers;
  for (int i = 0; i < s->workers; i++) used += s->worker[i]->added;
  while (!s->full && used + least > easily(s->slots)) s->full = !more_slots(s);
  uint64_t limit = s->full ? at_most(s->slots) : easily(s->slots);
  if (s->starved || used + s->workers > limit || (used + least) >> PARENT_AT) return 0;
  for (int i = 0; i < s->workers; i++) s->worker[i]->quota = (limit - used) / s->workers;
  return 1;
}

/* Add the counts `c`, or with sign -1 subtract what one worker would not have done. */

static void add_counts(Counts *to, const Counts *c, int sign)
{
  to->generated += sign * c->generated;
  for (int i = 0; i < OPERATIONS; i++) to->enabled[i] += sign * c->enabled[i];
  for (int i = 0; i < TEXTS; i++) to->cut[i] += sign * c->cut[i];
  for (int i = 0; i < TEXTS; i++) to->words[i] += sign * c->words[i];
}

/* Repeat the steps after `stop` only to count them, and subtract the counts. */
static void uncount(Search *s)
{
  Worker *w = s->worker[0];
  memset(&w->c, 0, sizeof w->c);
  for (w->parent = parent_of(s->stop); w->parent < s->r.next; w->parent++) {
    w->open = 0;
    expand(w, COUNT);
  }
  add_counts(&s->r.c, &w->c, -1);
}

/* Check again which of the goals met in this round are met by states that are kept. */
static void meet_again(Search *s, uint64_t before, const unsigned char *met)
{
  S *st = &s->worker[0]->work;
  jmp_buf trap;
  st->trap = &trap;
  for (volatile int g = 0; g < GOALS; g++) {
    if (met[g] || !s->r.c.met[g] || setjmp(trap)) continue;
    s->r.c.met[g] = 0;
    for (uint64_t i = before; i < s->r.states && !s->r.c.met[g]; i++) {
      load(st, s->place[i]->key);
      st->loops = 0;
      s->r.c.met[g] = goals[g](st) != 0;
    }
  }
}

static void take_back(Search *s, uint64_t before, const unsigned char *met)
{
  uncount(s);
  while (s->r.states > before && (from_of(s, s->r.states - 1) & ~(From)BAD) > s->stop)
    s->r.states--;
  meet_again(s, before, met);
  s->r.next = parent_of(s->stop) + 1;
}

/* Repeat the step at which the search ends, and report how it ends. */
static void explain(Search *s)
{
  Worker *w = s->worker[0];
  s->r.parent = w->parent = parent_of(s->stop);
  s->r.ordinal = bits(s->stop, ORDINAL_AT, ORDINAL_BITS);
  s->r.fail = bits(s->stop, FAIL_AT, FAIL_BITS);
  w->explains = 1;
  s->r.status = open_state(w);
  w->ordinal = s->r.ordinal, w->fail = s->r.fail;
  jmp_buf trap;
  if (!s->r.status) s->r.status = setjmp(trap) ? cut_short(w, AGAIN) : step(w, AGAIN, &trap);
  if (!s->r.status) s->r.status = BROKEN, s->r.failure = MODEL_CHANCE;
}

/* If the round stored too many states, end the search with the parent where the limit was met. */
static void end_at_states(Search *s, uint64_t before)
{
  if (s->r.states < s->max_states) return;
  uint64_t last = s->max_states - 1;
  uint64_t parent = last < before ? s->round : parent_of(from_of(s, last));
  From stop = ((parent + 1) << PARENT_AT) - 1;
  if (stop > s->stop) return;
  s->stop = stop;
  s->r.status = STATES;
}

/* The workers have stopped: turn their round into that of one worker. */
static void settle(Search *s)
{
  uint64_t before = s->r.states;
  unsigned char met[GOALS + 1];
  memcpy(met, s->r.c.met, sizeof met);
  s->r.next = s->claimed < s->round_end ? s->claimed : s->round_end;
  number(s);
  for (int i = 0; i < s->workers; i++) {
    Counts *c = &s->worker[i]->c;
    add_counts(&s->r.c, c, 1);
    for (int g = 0; g < GOALS; g++) s->r.c.met[g] |= c->met[g];
    memset(c, 0, sizeof *c);
  }
  end_at_states(s, before);
  if (s->stop != NEVER) take_back(s, before, met);
  for (uint64_t i = before; i < s->r.states; i++) s->r.fired[bits(from_of(s, i), 1, TYPE_BITS)]++;
  if (s->stop != NEVER && s->r.status == RUNNING_ON) return explain(s);
  if (s->r.next == s->r.layer_end && s->r.next < s->r.states) {
    s->r.layer_end = s->r.states;
    s->r.depth++;
  }
  seal(s);
}

/* Expand some states of a layer. If memory is not sufficient, undo the round. */
static void round_of(Search *s)
{
  s->round = s->claimed = s->r.next;
  s->round_end = s->r.layer_end - s->round < ROUND ? s->r.layer_end : s->round + ROUND;
  s->stop = NEVER;
  s->fresh = s->pause = 0;
  uint64_t workers = (s->round_end - s->round) / (2 * CHUNK);
  workers = workers < 1 ? 1 : workers > s->workers ? s->workers : workers;
  do
    if (!share_out(s)) {
      s->r.status = MEMORY;
      give(s, s->slot, s->slots * sizeof *s->slot); /* ending the search needs memory, too */
      s->slot = 0;
      return;
    }
  while (labour_all(s, workers));
  settle(s);
}

/* What Python calls. */

void search_free(Search *s)
{
  Segment *next;
  for (int i = 0; i < s->workers; i++) {
    Worker *w = s->worker[i];
    for (Segment *g = w->records.first; g; g = next) next = g->next, drop(s, g);
    for (Segment *g = w->seals.first; g; g = next) next = g->next, drop(s, g);
    give(s, w->offers, w->offers_room * sizeof *w->offers);
    give(s, w, sizeof *w);
  }
  give(s, s->slot, s->slots * sizeof *s->slot);
  give(s, s->place, at_most(s->slots) * sizeof *s->place);
  free(s);
}

/* Return a search that takes up to `memory` bytes, or NULL if that is too little. `wants` says what
   it is to find, as NativeSearch writes it; `scope` has the numbers of the scope, if they are not
   constants. */
Search *search_new(const unsigned char *wants, const int *scope, uint64_t memory, int workers,
                   int fingerprint)
{
  Search *s = aligned_alloc(64, sizeof *s);
  if (!s) return 0;
  memset(s, 0, sizeof *s);
  s->r.bytes = sizeof *s;
  s->memory = memory;
  s->fingerprint = fingerprint;
  memcpy(s->want, wants, CHECKS);
  memcpy(s->want_oops, wants + CHECKS, OOPS_KINDS);
  s->want_locks = wants[CHECKS + OOPS_KINDS];
  s->want_atomicity = wants[CHECKS + OOPS_KINDS + 1];
  memcpy(s->want_goal, wants + CHECKS + OOPS_KINDS + 2, GOALS);
  while (s->workers < workers && s->workers < WORKERS) {
    Worker *w = take(s, sizeof *w);
    if (!w) return search_free(s), NULL;
    w->search = s;
    w->base.search = w->work.search = w;
    w->base.walk = w->work.walk = w->walk;
    SET_SCOPE(&w->base, scope);
    SET_SCOPE(&w->work, scope);
    s->worker[s->workers++] = w;
  }
  if (!more_slots(s)) return search_free(s), NULL;
  return s;
}

const Report *search_report(Search *s) { return &s->r; }
uint64_t search_from(Search *s, uint64_t i) { return from_of(s, i); }

/* Return the fingerprint of a state, and that of a key. */
uint64_t search_print(Search *s, uint64_t i)
{
  return i < s->sealed ? ((Sealed *)s->place[i])->print : s->place[i]->sealed->print;
}
uint64_t search_print_of(const unsigned char *key, int n) { return fingerprint(key, n); }

/* Return the key of a state, or NULL if its record has been dropped. */
const unsigned char *search_key(Search *s, uint64_t i, uint64_t *n)
{
  if (i < s->sealed) return 0;
  *n = s->place[i]->size;
  return s->place[i]->key;
}

/* Store the first state; return 1 on success, -1 without memory, 0 if it is not a state. */
int search_start(Search *s, const unsigned char *key, int n)
{
  Worker *w = s->worker[0];
  jmp_buf trap;
  w->work.trap = &trap;
  if (n > KEY || setjmp(trap)) return 0;
  if (!share_out(s) || !has_room(w)) return -1;
  Pending *p = pend(w, 0, key, n);
  add(w, p);
  s->place[s->r.states++] = next_record(w);
  w->added = 0;
  load(&w->work, p->key);
  see(w, &w->work);
  memcpy(s->r.c.met, w->c.met, sizeof w->c.met);
  s->r.layer_end = 1;
  return 1;
}

/* Search for at most `seconds`, or until the search ends; return the status. */
int search_run(Search *s, uint64_t max_states, uint64_t max_depth, double seconds)
{
  s->max_states = max_states ? max_states : 1;
  s->end = now() + seconds;
  if (s->r.status == DEPTH) s->r.status = RUNNING_ON;
  while (s->r.status == RUNNING_ON) {
    if (s->r.next == s->r.states) s->r.status = EXHAUSTED;
    else if (s->r.depth >= max_depth) s->r.status = DEPTH;
    else round_of(s);
    if (now() > s->end) break;
  }
  return s->r.status;
}
