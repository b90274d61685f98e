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

/* Number the new states in the order in which one worker would have met them: the children of the
   first parent, in the order of its operations, then those of the second. In the segments of the
   workers they are in an order that depends on the workers' speed.

   First a counting sort by parent: how many children does each have, and where do they begin? Then
   an insertion sort by step: the children of one parent are few and nearly in order. */
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

/* Drop the records of states that are expanded; only their Sealed entries stay. */
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
