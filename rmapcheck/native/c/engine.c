/* Breadth-first search: one step, one state, one slice of time. */

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
