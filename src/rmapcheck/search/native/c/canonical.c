/* The canonical form of a state: the smallest of its stored forms.

   encode() numbers objects, but the result still depends on the order of the processes. To try all
   orders of n processes would take n! forms. So processes are first sorted by signature: their VMAs
   and page tables without references, which do not depend on names. Only processes with equal
   signatures are tried in each order, group by group:

     order     2 4 | 1 3 | 5      dead processes come last; their order does not matter
               groups with equal signatures: 2! * 2! forms, the smallest of which is the key
*/

#if SYMMETRY && !defined(FAULT_NO_CANON)
/* Replace v[0 … n) by its next permutation. After the last one, return 0 and leave v sorted. */
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
  unsigned char *other = ((Worker *)st->search)->other;
  int order[MOST_MMS], size[MOST_MMS], sorted[MOST_MMS], dead[MOST_MMS];
  int alive = 0, gone = 0, groups = 0;
  for (int m = 1; m <= MMS; m++)
    if (st->mm.state[m] == 1) order[alive++] = m;
    else dead[gone++] = m;
  for (int i = 0; i < gone; i++) order[alive + i] = dead[i];
  if (alive < 2) return encode(st, order, best);
  for (int i = 0; i < alive; i++) {
    int j = i;
    for (; j && compare_mms(st, sorted[j - 1], order[i]) > 0; j--) sorted[j] = sorted[j - 1];
    sorted[j] = order[i];
  }
  for (int i = 0; i < alive; i++)
    if (i && compare_mms(st, sorted[i - 1], sorted[i]) == 0) size[groups - 1]++;
    else size[groups++] = 1;
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
  int order[MOST_MMS];
  for (int m = 0; m < MMS; m++) order[m] = m + 1;
  return encode(st, order, best);
}
#endif

