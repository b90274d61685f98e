/* The store as bytes, for checkpoints: the states in the order of their numbers, end to end.

      0               8               16
     +---------------+---------------+
     | from          | print         |                      number < sealed
     +---------------+---------------+

      0               8       10                       10 + size
     +---------------+-------+------------------------+
     | from          | size  | key                    |     all others
     +---------------+-------+------------------------+

   Which of both a state is follows from its number: with fingerprints those that are expanded (the
   counter `next`) are sealed, without them none. Addresses are not saved: the table is filled again.
   The file around this, with the counters and a digest for each piece, is that of checkpoint.py.

   A digest proves that a file was not damaged, and not that it makes sense: one may be written by
   hand. So what is read is believed in nothing: keys must be what encode() could have written and
   break no invariant, and the counters must be those of these states. */

/* Write states from number `first` on, as many as have room; return the number after the last. */
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

/* Tell whether a key that a file holds is one that a search can have stored: it says as much as it
   is long, it is the canonical form of what it says, and that is a state without a violation. */
static int makes_sense(Worker *w, const unsigned char *key, int n)
{
  S *st = &w->work;
  jmp_buf trap;
  st->trap = &trap;
  if (!well_formed(key, n) || setjmp(trap)) return 0;
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

/* Store the states that search_pack() wrote; 1 if that went well, 0 without memory, -1 if they
   make no sense. `next`, `depth` and `layer_end` of the report must have been set. */
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

/* Tell whether the counters can be those of a search that stored these states: each is reached
   later than the one before it, from a state that is expanded, and layers end where they should. */
int search_sound(Search *s)
{
  const Report *r = &s->r;
  uint64_t end = 1, depth = 0, last = 0, found = 0;
  if (!r->states || r->next > r->states) return 0;
  uint64_t now = r->next < r->states ? r->next : r->states - 1; /* a state of the layer in hand */
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
