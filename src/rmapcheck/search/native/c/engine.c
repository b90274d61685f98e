/* One worker: one step, one state.

     open_state()    load the parent into `base`, and list the operations that are possible there
       step()        copy `base` to `work`, and carry out the operation
         end_step()  count the step, and check it
           store()   bring the new state into its canonical form, and put it into `found`
     look_up()       if the state is new, load it, and check goals and invariants

   A look-up waits twice for memory: for a slot and for a record. When each state was looked up
   immediately, this took a third of the search. So `found` is a ring of 32 states, and each of them
   advances a stage with the steps that follow:

     led_to        the key is written                                    store()
        - 1        it is hashed, and its slot is prefetched              hash_last()
        - 16       the slot has arrived, and the record is prefetched    fetch()
        - 32       both have arrived: is the state new?                  look_up()

   So a state is checked after it was stored: it is loaded from its key, with canonical names. */

/* SEARCH stores new states. When a step has ended the search, AGAIN repeats it to find out how, and
   COUNT repeats the steps after it, which one worker would not have taken. */
enum { SEARCH, AGAIN, COUNT };

static void see(Worker *w, S *st)
{
  for (int i = 0; i < GOALS; i++)
    if (!w->c.met[i] && !w->search->r.c.met[i] && w->search->want_goal[i] && goals[i](st))
      w->c.met[i] = 1;
}

/* Note that the model or the modelled kernel failed; return 0 if it did not. */
static int broken(Worker *w, const S *st)
{
  Report *r = &w->search->r;
  if (w->explains) {
    r->failure = st->failure;
    r->subject = st->subject;
    r->number = (int64_t)st->number;
  }
  return BROKEN;
}

static int found(Worker *w, int what)
{
  if (w->explains) w->search->r.found = what;
  return VIOLATION;
}

/* Check the invariants. If one runs into an oops, continue with the next; the oops is the result
   only if no later invariant is violated. The variables are volatile because of longjmp(). */
static int check_state(Worker *w, S *st)
{
  Search *s = w->search;
  volatile int i = 0, crash = 0;
  jmp_buf trap;
  st->trap = &trap;
  if (setjmp(trap)) {
    if (st->failure >= MODEL_INDEX) return broken(w, st);
    if (!crash) crash = st->failure;
    i++;
  }
  for (; i < CHECKS; i++) {
    st->loops = 0;
    if ((s->want[i] || s->want_oops[0]) && checks[i](st) && s->want[i]) return found(w, i);
  }
  return crash && s->want_oops[crash] ? found(w, FOUND_OOPS + crash) : 0;
}

/* A failed operation must not change what processes see: compare that in `base` and in `work`.
   The projection itself may run into an oops, hence the second trap; then return -1. */
static int same_projection(Worker *w, S *st)
{
  List a = {0, CAPACITY, w->before_v}, b = {0, CAPACITY, w->after_v};
  jmp_buf trap, *outer = st->trap;
  st->trap = w->base.trap = &trap;
  if (setjmp(trap)) return -1;
  projection(&w->base, &a);
  projection(st, &b);
  st->trap = outer;
  return list_equal(&a, &b);
}

/* Check a new state; return nonzero if the search ends with it. */
static int check_new(Worker *w, S *st)
{
  jmp_buf trap;
  st->trap = &trap;
  st->loops = 0;
  if (setjmp(trap)) return broken(w, st);
  see(w, st);
  return check_state(w, st);
}

static Pending *waiting(Worker *w, unsigned number) { return &w->found[number % BATCH]; }

/* Look up the oldest state in `found`, and check it if it is new. */
static void look_up(Worker *w)
{
  S *st = &w->work;
  Pending *p = waiting(w, w->looked_up++);
  From *mine = add(w, p);
  if (!mine) return;
  load(st, p->key);
  if (check_new(w, st)) note_stop(w->search, __atomic_fetch_or(mine, BAD, __ATOMIC_SEQ_CST));
}

/* A key is hashed one step after it was written, since wide loads after narrow stores stall. */
static void hash_last(Worker *w)
{
  if (w->looked_up != w->led_to) hash_key(w->search, waiting(w, w->led_to - 1));
}

/* Look all of them up. */
static void flush(Worker *w)
{
  hash_last(w);
  while (w->looked_up != w->led_to) look_up(w);
}

/* Put the state after a step into `found`; if states are not stored now, only check it. */
static int store(Worker *w, S *st, From from)
{
  Pending *p = waiting(w, w->led_to);
  w->storing = 1;
  p->size = canonical(st, p->key);
  if (w->explains) {
    int wrong = check_new(w, st);
    if (wrong) note_stop(w->search, from);
    return wrong;
  }
  p->from = from;
  hash_last(w);
  w->led_to++;
  fetch(w->search, waiting(w, w->led_to + BATCH / 2));
  if (w->led_to - w->looked_up == BATCH) look_up(w);
  return 0;
}

/* Check one step; return nonzero if the search ends with it. */
static int judge(Worker *w, S *st, const Op *op, int oops, int error)
{
  Search *s = w->search;
  if (oops && s->want_oops[oops]) return found(w, FOUND_OOPS + oops);
  if (st->splats && s->want_locks) return found(w, FOUND_LOCKS);
  if (oops || !w->fail || !atomic[op->type] || error != -12 || !s->want_atomicity) return 0;
  int same = same_projection(w, st);
  if (same < 0) return broken(w, st);
  return same ? 0 : found(w, FOUND_ATOMICITY);
}

static From this_step(const Worker *w)
{
  return w->parent << PARENT_AT | (From)w->ordinal << ORDINAL_AT | (From)w->fail << FAIL_AT |
         w->offers[w->ordinal].type << 1;
}

/* Count a step; return 1 if it leads to a state that fits into the scope. */
static int count_step(Worker *w, const S *st)
{
  w->c.enabled[w->offers[w->ordinal].type] += !w->fail;
  w->c.generated++;
#ifdef FAULT_DROPPED_SUCCESSOR
  if ((w->parent * 31 + w->ordinal) % 23 == 7) return 0;
#endif
  if (st->exhausted) w->c.cut[st->exhausted]++;
  else
    for (int i = 0; i < st->reached; i++) w->c.words[st->word[i]]++;
  return !st->exhausted;
}

/* Check a step, and store the state that it led to. An oops that the search does not look for ends
   only the step: after an oops there is no state. */
static int end_step(Worker *w, int mode, int oops)
{
  S *st = &w->work;
  const Op *op = &w->offers[w->ordinal];
  From from = this_step(w);
  int wrong;
  if (!w->fail) w->allocs = st->nr_allocs;
  if (mode == COUNT && from <= w->search->stop) return 0;
  if (oops >= MODEL_INDEX || w->allocs >> FAIL_BITS) {
    w->c.enabled[op->type] += !w->fail;
    wrong = broken(w, st);
  } else {
    if (!count_step(w, st) || mode == COUNT) return 0;
    wrong = judge(w, st, op, oops, w->error);
    if (!wrong) return oops ? 0 : store(w, st, from);
  }
  note_stop(w->search, from);
  return wrong;
}

/* Take the next step; `trap` leads to cut_short(). One trap serves all steps from a state, because
   setting one takes as long as a short step. */
static int step(Worker *w, int mode, jmp_buf *trap)
{
  S *st = &w->work;
  w->storing = 0;
  copy_state(st, &w->base);
  st->trap = trap;
  begin(st, w->offers[w->ordinal].fail = w->fail);
  w->error = apply(st, &w->offers[w->ordinal]);
  st->splats += st->held;
  return end_step(w, mode, 0);
}

/* The operation ran into an oops, or the state after it cannot be stored. */
static int cut_short(Worker *w, int mode)
{
  if (!w->storing) return end_step(w, mode, w->work.failure);
  note_stop(w->search, this_step(w));
  return broken(w, &w->work);
}

/* Go on to the next step. With alloc_fail, each operation is repeated for each allocation that it
   made when none failed. */
static void next_step(Worker *w)
{
  const S *st = &w->work;
  if (ALLOC_FAIL && w->fail < w->allocs) w->fail++;
  else w->ordinal++, w->fail = 0;
}

/* Load the state w->parent and list its possible operations; return nonzero if that fails. */
static int open_state(Worker *w)
{
  jmp_buf trap;
  load(&w->base, w->search->place[w->parent]->key);
  w->base.trap = &trap;
  w->base.loops = 0;
  w->offered = w->ordinal = w->fail = 0;
  w->open = 1;
  if (!setjmp(trap)) return possible(&w->base), 0;
  w->offered = 0;
  note_stop(w->search, w->parent << PARENT_AT);
  return broken(w, &w->base);
}

/* Return whether one more state can be stored in addition to those in `found`, because a step
   cannot be undone. States in `found` may be known ones, so look them up before giving up. */
static int has_room(Worker *w)
{
  uint64_t n = w->led_to - w->looked_up;
  if (w->quota <= n || !holds(&w->records, n + 1) ||
      (w->search->fingerprint && !holds(&w->seals, n + 1)))
    flush(w);
  if (!w->quota) return 0;
  if (room(w, &w->records) && (!w->search->fingerprint || room(w, &w->seals))) return 1;
  w->search->starved = 1;
  return 0;
}

/* Take all steps from the state w->parent; return 0 if there is no room for another new state. */
static int expand(Worker *w, int mode)
{
  jmp_buf trap;
  if (!w->open) open_state(w);
  if (setjmp(trap)) {
    cut_short(w, mode);
    next_step(w);
  }
  for (; w->ordinal < w->offered; next_step(w)) {
    if (mode == SEARCH && !has_room(w)) return 0;
    step(w, mode, &trap);
  }
  w->open = 0;
  return 1;
}
