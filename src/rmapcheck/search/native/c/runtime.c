/* What translated code uses: oopses, lists, locks.

   Python raises an exception for a wrong index, a freed object or an endless loop. C would continue
   with arbitrary data, and the search would store a state that no kernel can have. So every look-up
   is checked, and if the check fails, stop() jumps out of the operation. A check that succeeds
   costs a compare and a branch that is not taken: stop() is cold and never inlined. */

static void __attribute__((noreturn, cold, noinline)) stop(S *st, int why, int subject, int number)
{
  st->failure = why;
  st->subject = subject;
  st->number = number;
  longjmp(*st->trap, 1);
}

static inline void count_loop(S *st)
{
  if (__builtin_expect(++st->loops > LOOPS, 0)) stop(st, MODEL_LOOP, 0, 0);
}

/* Called in a loop, which counts its turns in a register. */
static ALWAYS void count_turn(S *st, int turns)
{
  if (__builtin_expect(turns > LOOPS, 0)) stop(st, MODEL_LOOP, 0, 0);
}

/* Called at the start of a recursive function: the stack has room for a thousand calls, as in
   Python. */
static inline void count_call(S *st)
{
  st->loops += LOOPS / 1000 - 1;
  count_loop(st);
}

static void __attribute__((cold)) no_such_field(S *st) { stop(st, MODEL_ABSENT, 0, 0); }

static inline int floor_div(S *st, int a, int b)
{
  if (b == 0) stop(st, MODEL_INDEX, 0, b);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static inline int floor_mod(S *st, int a, int b)
{
  if (b == 0) stop(st, MODEL_INDEX, 0, b);
  int r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static inline int min_of(int a, int b) { return b < a ? b : a; }
static inline int max_of(int a, int b) { return b > a ? b : a; }

/* How many of `n` items are in items[:first]. */
static inline int first_of(int first, int n)
{
  return first < 0 ? max_of(n + first, 0) : min_of(first, n);
}

/* Lists of numbers. */

static inline List *list_add(S *st, List *l, int x)
{
  if (__builtin_expect(l->n >= l->cap, 0)) stop(st, MODEL_LIST, 0, l->n);
  l->v[l->n++] = x;
  return l;
}

static inline int *list_at(S *st, List *l, int i)
{
  if (__builtin_expect(i < 0 || i >= l->n, 0)) stop(st, MODEL_INDEX, 0, i);
  return &l->v[i];
}

static inline FIELD *array_at(S *st, FIELD *v, int size, int i)
{
  if (__builtin_expect(i < 0 || i >= size, 0)) stop(st, MODEL_INDEX, 0, i);
  return &v[i];
}

static inline int list_has(const List *l, int x)
{
  for (int i = 0; i < l->n; i++)
    if (l->v[i] == x) return 1;
  return 0;
}

static inline int list_count(const List *l, int x)
{
  int n = 0;
  for (int i = 0; i < l->n; i++) n += l->v[i] == x;
  return n;
}

static inline int list_any(const List *l)
{
  for (int i = 0; i < l->n; i++)
    if (l->v[i]) return 1;
  return 0;
}

static inline int list_equal(const List *a, const List *b)
{
  return a->n == b->n && memcmp(a->v, b->v, a->n * sizeof *a->v) == 0;
}

static inline List *list_extend(S *st, List *to, const List *l)
{
  int n = l->n;
  for (int i = 0; i < n; i++) list_add(st, to, l->v[i]);
  return to;
}

static inline List *list_copy(S *st, List *to, const List *l)
{
  if (to == l) return to;
  to->n = 0;
  return list_extend(st, to, l);
}

static inline List *list_of(S *st, List *to, const FIELD *v, int size)
{
  to->n = 0;
  for (int i = 0; i < size; i++) list_add(st, to, v[i]);
  return to;
}

static inline List *list_repeat(S *st, List *to, const List *l, int times)
{
  to->n = 0;
  for (; times > 0; times--) list_extend(st, to, l);
  return to;
}

static inline List *list_slice(S *st, List *to, const List *l, int low, int high)
{
  to->n = 0;
  if (low < 0) low = max_of(0, low + l->n);
  if (high < 0) high += l->n;
  for (int i = low; i < high && i < l->n; i++) list_add(st, to, l->v[i]);
  return to;
}

static inline List *list_sorted(S *st, List *to, const List *l)
{
  list_copy(st, to, l);
  for (int i = 1; i < to->n; i++) {
    int x = to->v[i], j = i;
    for (; j && to->v[j - 1] > x; j--) to->v[j] = to->v[j - 1];
    to->v[j] = x;
  }
  return to;
}

static inline List *set_add(S *st, List *l, int x)
{
  return list_has(l, x) ? l : list_add(st, l, x);
}

static inline List *set_copy(S *st, List *to, const List *l)
{
  to->n = 0;
  for (int i = 0; i < l->n; i++) set_add(st, to, l->v[i]);
  return to;
}

static inline void set_discard(List *l, int x)
{
  for (int i = 0; i < l->n; i++)
    if (l->v[i] == x) {
      l->v[i] = l->v[--l->n];
      return;
    }
}

static inline Walk *walk_start(Walk *w, int *room)
{
  *w = (Walk){{0, WALK, room}, 0, 10000};
  return w;
}

/* The functions of model/machine/locks.py, written again in C; tests compare both engines.
   A violation is only counted: its message comes from the replay in Python. */

static inline void lock_acquire(S *st, int kind, int index, int write)
{
  for (int i = 0; i < st->held; i++) {
    Held *h = &st->lock[i];
    if (h->kind > kind || (h->kind == kind && !(NESTING >> kind & 1))) st->splats++;
    else if (h->kind == kind && h->index == index) st->splats++;
  }
  if (st->held == LOCKS) stop(st, MODEL_LOCKS, 0, 0);
  st->lock[st->held++] = (Held){kind, index, write};
}

static inline void lock_release(S *st, int kind, int index)
{
  for (int i = st->held - 1; i >= 0; i--)
    if (st->lock[i].kind == kind && st->lock[i].index == index) {
      memmove(&st->lock[i], &st->lock[i + 1], (--st->held - i) * sizeof(Held));
      return;
    }
  st->splats++;
}

static inline void lock_assert_held(S *st, int kind, int index)
{
  for (int i = 0; i < st->held; i++)
    if (st->lock[i].kind == kind && st->lock[i].index == index) return;
  st->splats++;
}

static inline void lock_assert_held_write(S *st, int kind, int index)
{
  for (int i = 0; i < st->held; i++)
    if (st->lock[i].kind == kind && st->lock[i].index == index && st->lock[i].write) return;
  st->splats++;
}

static inline int lock_try(S *st, int kind, int index)
{
  for (int i = 0; i < st->held; i++)
    if (st->lock[i].kind == kind && st->lock[i].index == index) return 0;
  if (st->held == LOCKS) stop(st, MODEL_LOCKS, 0, 0);
  st->lock[st->held++] = (Held){kind, index, 1};
  return 1;
}

static inline int lock_held_index(S *st, int kind)
{
  for (int i = 0; i < st->held; i++)
    if (st->lock[i].kind == kind) return st->lock[i].index;
  return 0;
}

static inline void lock_might_sleep(S *st)
{
  for (int i = 0; i < st->held; i++) st->splats += SPINNING >> st->lock[i].kind & 1;
}

/* passed(), for a branch that is a goal: adds each word once. */
static void reach(S *st, int text)
{
  for (int i = 0; i < st->reached; i++)
    if (st->word[i] == text) return;
  st->word[st->reached++] = text;
}

static void begin(S *st, int fail_at)
{
  st->fail_at = fail_at;
  st->nr_allocs = st->spare = st->exhausted = st->splats = st->loops = 0;
  st->held = st->reached = 0;
}

static inline Op *offer(S *st);

/* Copy `n` times sixteen bytes. */
static ALWAYS void copy_sixteens(unsigned char *to, const unsigned char *from, int n)
{
  for (; n--; to += 16, from += 16) memcpy(to, from, 16);
}

/* Initialize the numbers of a pool's objects before a state is stored: NEW for live objects, `gone`
   for others; drawn in layout/numbering.py. It does sixteen at a time without a branch, because it
   runs for each pool of every state that is stored. */
enum { NEW = 255 };
typedef unsigned char Sixteen __attribute__((vector_size(16)));

static ALWAYS void labels(unsigned char *label, const unsigned char *state, int n, int gone)
{
  const Sixteen none = {0};
  for (Sixteen live; n--; label += 16, state += 16) {
    memcpy(&live, state, 16);
    live = (Sixteen)(live == none + 1);
    live = (live & (none + NEW)) | (~live & (none + (unsigned char)gone));
    memcpy(label, &live, 16);
  }
}
