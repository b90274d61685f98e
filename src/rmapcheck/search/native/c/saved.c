/* The states as bytes, for checkpoints: one after another in the order of their numbers.

      0               8               16
     +---------------+---------------+
     | from          | print         |                      number < sealed
     +---------------+---------------+

      0               8       10                       10 + size
     +---------------+-------+------------------------+
     | from          | size  | key                    |     all others
     +---------------+-------+------------------------+

   The form of a state follows from its number: with fingerprints, expanded states (before the
   counter `next`) are sealed; without fingerprints, none. Addresses are not saved: the table is
   filled again. checkpoint.py adds the rest of the file: counters, and a digest for each piece.

   A digest proves that a file is not damaged, but not that its content makes sense: it may have
   been written by hand. So everything is checked when it is read: keys must be ones that encode()
   could have written, they must violate no invariant, and the counters must fit these states. */

/* Write states from number `first` on, as long as there is room; return the next number. */
uint64_t search_pack(Search *s, uint64_t first, unsigned char *to, uint64_t room, uint64_t *used)
{
  unsigned char *at = to;
  for (; first < s->r.states; first++) {
    Record *x = s->place[first];
    uint64_t need = first < s->sealed ? sizeof(Sealed) : 10 + x->size;
    if (need > to + room - at) break;
    From from = from_of(s, first);
    memcpy(at, &from, 8);
    if (first < s->sealed) memcpy(at + 8, &((Sealed *)x)->print, 8);
    else {
      memcpy(at + 8, &x->size, 2);
      memcpy(at + 10, x->key, x->size);
    }
    at += need;
  }
  *used = at - to;
  return first;
}

static int unpack_sealed(Search *s, const unsigned char *b)
{
  Worker *w = s->worker[0];
  Segment *g = room(w, &w->seals);
  if (!w->quota || !g) return 0;
  Sealed *x = (Sealed *)(g->at + g->used);
  memcpy(x, b, sizeof *x);
  g->used += sizeof *x;
  put_slot(s, x->print, x);
  w->quota--;
  s->place[s->r.states++] = (Record *)x;
  return 1;
}

/* Return whether a search could have stored a key from a file: its length fits its content, it is
   the canonical form of its state, and that state violates no invariant. */
static int makes_sense(Worker *w, const unsigned char *key, int n)
{
  S *st = &w->work;
  jmp_buf trap;
  st->trap = &trap;
  if (!well_formed(st, key, n) || setjmp(trap)) return 0;
  load(st, key);
  if (canonical(st, w->saved) != n || memcmp(w->saved, key, n)) return 0;
  return !check_new(w, st);
}

static int unpack_key(Search *s, From from, const unsigned char *key, int n)
{
  Worker *w = s->worker[0];
  if (!has_room(w)) return 0;
  memcpy(w->saved, key, n);
  memset(w->saved + n, 0, sizeof w->saved - n);
  if (!makes_sense(w, memcpy(w->found[0].key, w->saved, sizeof w->saved), n)) return 0;
  if (!add(w, pend(w, from, key, n))) return 0;
  w->added = 0;
  s->place[s->r.states++] = next_record(w);
  return 1;
}

/* Store the states that search_pack() wrote. Return 1, or 0 if there is too little memory, or -1 if
   they are impossible. `next`, `depth` and `layer_end` of the report must be set before. */
int search_unpack(Search *s, const unsigned char *b, uint64_t n)
{
  const unsigned char *end = b + n;
  uint64_t depth = s->r.depth, need;
  s->sealed = s->fingerprint ? s->r.next : 0;
  for (int done; b < end; b += need) {
    From from;
    uint16_t size = 0;
    int sealed = s->r.states < s->sealed;
    if (end - b < (sealed ? 16 : 10)) return -1;
    memcpy(&from, b, 8);
    if (!sealed) memcpy(&size, b + 8, 2);
    need = sealed ? 16 : 10 + size;
    if (size > KEY || end - b < need || (s->r.states && parent_of(from) >= s->r.next)) return -1;
    if (!s->worker[0]->quota && !share_out(s)) return 0;
    s->r.depth = depth && s->r.states < s->r.layer_end ? depth - 1 : depth;
    done = sealed ? unpack_sealed(s, b) : unpack_key(s, from, b + 10, size);
    s->r.depth = depth;
    if (!done) return s->starved || !s->worker[0]->quota ? 0 : -1;
  }
  return 1;
}

static uint64_t sum(const uint64_t *v, int n)
{
  uint64_t total = 0;
  while (n--) total += v[n];
  return total;
}

/* Return whether a search that stored these states can have these counters: each state is reached
   later than the one before it, from an expanded state, and layers end where they should. */
int search_sound(Search *s)
{
  const Report *r = &s->r;
  uint64_t end = 1, depth = 0, last = 0, found = 0;
  if (!r->states || r->next > r->states) return 0;
  uint64_t now = r->next < r->states ? r->next : r->states - 1; /* a state of the current layer */
  for (uint64_t i = 1; i < r->states; i++) {
    From from = from_of(s, i);
    if (i > 1 && from <= from_of(s, i - 1)) return 0;
    if (parent_of(from) >= r->next || parent_of(from) >= i) return 0;
    if (parent_of(from) >= end || i == 1) {
      if (!found && now < i) found = i, last = depth;
      end = i, depth++;
    }
  }
  if (!found) found = r->states, last = depth;
  return found == r->layer_end && last == r->depth && sum(r->fired, OPERATIONS) == r->states - 1 &&
         sum(r->c.enabled, OPERATIONS) <= r->c.generated &&
         sum(r->c.cut, TEXTS) <= r->c.generated && r->states - 1 <= r->c.generated;
}
