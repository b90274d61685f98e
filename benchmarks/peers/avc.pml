/* The AVC profile in Promela, for SPIN: written from the definition in README.md, not from ours.
   promela.py defines P, V, F and A in front of it, and adds the options of the main loop behind.
   Scratch variables are hidden, so that no state holds them. A VMA is known by p * V + start. Only
   the guard of fork, which looks ahead at what fork would reuse, is in C: guards have no loops. */
#define N (P * V)
#define CH(v, k) chain[(v) * A + (k)]
#define TR(a, k) tree[(a) * N + (k)]
#define USED(a) (TR(a, 0) != 0)

bit alive[P];
byte vs[N];       /* 1 + the VMA that covers the page, or 0 */
byte pgoff[N];
byte av[N];       /* 1 + vma->anon_vma, or 0 */
byte chain[N * A];  /* 1 + the anon_vmas of the VMA, oldest first */
byte pte[N];      /* 1 + the page mapped, or 0 */
byte mapcount[F]; /* 0: the page is free */
byte mapping[F];  /* 1 + its anon_vma */
byte index[F];
bit excl[F];      /* only one entry maps it, and that is writable */
byte parent[A];
byte nchild[A];
byte nactive[A];
byte tree[A * N]; /* 1 + the VMAs of the anon_vma, by pgoff, equals in order of insertion */

hidden byte i; hidden byte j; hidden byte k; hidden byte v; hidden byte w;
hidden byte a; hidden byte b; hidden byte f; hidden byte x; hidden byte y;

c_code {
  /* How many anon_vmas a fork of p has to allocate: one for each VMA that finds none idle. */
  static int needs(int p)
  {
    int need = 0, taken = 0;
    for (int v = p * V; v < (p + 1) * V; v++) {
      if (!now.av[v]) continue;
      need++;
      for (int k = 0; k < A && now.chain[v * A + k]; k++) {
        int a = now.chain[v * A + k] - 1;
        if (now.nactive[a] || now.nchild[a] > 1 || taken >> a & 1) continue;
        taken |= 1 << a;
        need--;
        break;
      }
    }
    return need;
  }
  static int unused(void)
  {
    int n = 0;
    for (int a = 0; a < A; a++) n += now.tree[a * N] == 0;
    return n;
  }
}

inline tree_insert(A_, V_) {
  j = 0;
  do
  :: TR(A_, j) != 0 && pgoff[TR(A_, j) - 1] <= pgoff[V_] -> j++
  :: else -> break
  od;
  x = V_ + 1;
  do
  :: x != 0 -> y = TR(A_, j); TR(A_, j) = x; x = y; j++
  :: else -> break
  od
}

inline tree_remove(A_, V_) {
  j = 0;
  do
  :: TR(A_, j) != V_ + 1 -> j++
  :: else -> break
  od;
  do
  :: j == N - 1 -> TR(A_, j) = 0; break
  :: else ->
    TR(A_, j) = TR(A_, j + 1);
    if :: TR(A_, j) == 0 -> break :: else fi;
    j++
  od
}

/* The VMA W_ gets the anon_vmas of V_, and is inserted after VMAs with equal keys. */
inline clone(V_, W_) {
  k = 0;
  do
  :: k < A && CH(V_, k) != 0 ->
    a = CH(V_, k) - 1;
    CH(W_, k) = a + 1;
    tree_insert(a, W_);
    k++
  :: else -> break
  od
}

/* Split VMA V_; the upper part is M_. Both are inserted again. */
inline split(V_, M_) {
  pgoff[M_] = pgoff[V_] + M_ - V_;
  i = M_;
  do
  :: i < (M_ / V + 1) * V && vs[i] == V_ + 1 -> vs[i] = M_ + 1; i++
  :: else -> break
  od;
  av[M_] = av[V_];
  if :: av[V_] != 0 -> nactive[av[V_] - 1]++ :: else fi;
  k = 0;
  do
  :: k < A && CH(V_, k) != 0 ->
    a = CH(V_, k) - 1;
    tree_remove(a, V_);
    tree_insert(a, V_);
    k++
  :: else -> break
  od;
  clone(V_, M_)
}

/* Remove VMA V_ from its anon_vmas, youngest first; free the empty ones. */
inline unlink(V_) {
  k = A;
  do
  :: k > 0 ->
    k--;
    if
    :: CH(V_, k) != 0 ->
      a = CH(V_, k) - 1;
      tree_remove(a, V_);
      if :: !USED(a) -> nchild[parent[a]]-- :: else fi
    :: else
    fi
  :: else -> break
  od;
  if :: av[V_] != 0 -> nactive[av[V_] - 1]-- :: else fi;
  k = 0;
  do
  :: k < A && CH(V_, k) != 0 ->
    a = CH(V_, k) - 1;
    CH(V_, k) = 0;
    if :: !USED(a) -> parent[a] = 0; nchild[a] = 0; nactive[a] = 0 :: else fi;
    k++
  :: else -> break
  od;
  av[V_] = 0;
  pgoff[V_] = 0
}

/* Unmap pages US_ ... UE_ - 1 of a process whose pages begin at B_. */
inline unmap(B_, US_, UE_) {
  if
  :: US_ > 0 && vs[B_ + US_] != 0 && vs[B_ + US_] != B_ + US_ + 1 ->
    v = vs[B_ + US_] - 1;
    split(v, (B_ + US_))
  :: else
  fi;
  if
  :: UE_ < V && vs[B_ + UE_ % V] != 0 && vs[B_ + UE_ % V] != B_ + UE_ + 1 ->
    v = vs[B_ + UE_ % V] - 1;
    split(v, (B_ + UE_))
  :: else
  fi;
  for (i : B_ + US_ .. B_ + UE_ - 1) {
    if
    :: pte[i] != 0 ->
      f = pte[i] - 1;
      pte[i] = 0;
      mapcount[f]--;
      if :: mapcount[f] == 0 -> mapping[f] = 0; index[f] = 0; excl[f] = 0 :: else fi
    :: else
    fi;
  }
  for (i : B_ + US_ .. B_ + UE_ - 1) {
    if :: vs[i] == i + 1 -> unlink(i) :: else fi;
    vs[i] = 0
  }
}

inline map_fresh(X_) {
  f = 0;
  do :: mapcount[f] != 0 -> f++ :: else -> break od;
  mapcount[f] = 1;
  excl[f] = 1;
  mapping[f] = av[v];
  index[f] = pgoff[v] + X_ - v;
  pte[X_] = f + 1
}

inline fault(X_) {
  v = vs[X_] - 1;
  if
  :: pte[X_] == 0 ->
    if
    :: av[v] == 0 ->
      a = 0;
      do :: USED(a) -> a++ :: else -> break od;
      parent[a] = a; nchild[a] = 1; nactive[a] = 1;
      TR(a, 0) = v + 1;
      CH(v, 0) = a + 1;
      av[v] = a + 1
    :: else
    fi;
    map_fresh(X_)
  :: else ->
    b = pte[X_] - 1;
    if
    :: mapcount[b] == 1 -> mapping[b] = av[v]; excl[b] = 1
    :: else -> mapcount[b]--; map_fresh(X_)
    fi
  fi
}

/* From the process whose pages begin at B_ to the new one at Q_. */
inline fork(B_, Q_) {
  for (i : 0 .. V - 1) {
    if :: vs[B_ + i] != 0 -> vs[Q_ + i] = vs[B_ + i] + Q_ - B_ :: else fi;
    if
    :: pte[B_ + i] != 0 ->
      pte[Q_ + i] = pte[B_ + i];
      mapcount[pte[B_ + i] - 1]++;
      excl[pte[B_ + i] - 1] = 0
    :: else
    fi;
    if
    :: vs[B_ + i] == B_ + i + 1 -> pgoff[Q_ + i] = pgoff[B_ + i]
    :: else
    fi;
    if
    :: av[B_ + i] != 0 ->
      v = B_ + i; w = Q_ + i;
      k = 0; b = A;
      do
      :: k < A && CH(v, k) != 0 ->
        a = CH(v, k) - 1;
        CH(w, k) = a + 1;
        tree_insert(a, w);
        if :: b == A && nactive[a] == 0 && nchild[a] < 2 -> b = a :: else fi;
        k++
      :: else -> break
      od;
      if
      :: b == A ->
        b = 0;
        do :: USED(b) -> b++ :: else -> break od;
        parent[b] = av[v] - 1;
        nchild[parent[b]]++;
        TR(b, 0) = w + 1;
        CH(w, k) = b + 1
      :: else
      fi;
      nactive[b]++;
      av[w] = b + 1
    :: else
    fi;
  }
}

/* Move L_ pages from S_ to T_, in a process whose pages begin at B_. */
inline mremap(B_, S_, L_, T_) {
  v = vs[B_ + S_] - 1;
  if
  :: av[v] != 0 -> pgoff[B_ + T_] = pgoff[v] + B_ + S_ - v; nactive[av[v] - 1]++
  :: else -> pgoff[B_ + T_] = T_
  fi;
  av[B_ + T_] = av[v];
  clone(v, (B_ + T_));
  for (i : 0 .. L_ - 1) {
    vs[B_ + T_ + i] = B_ + T_ + 1;
    pte[B_ + T_ + i] = pte[B_ + S_ + i];
    pte[B_ + S_ + i] = 0
  }
  unmap(B_, S_, (S_ + L_))
}
