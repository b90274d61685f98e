-------------------------------- MODULE Avc --------------------------------
(* The AVC profile in TLA+, for TLC: written from the definition in README.md, not from ours.
   Processes, pages and anon_vmas are numbers, so that the lowest free one can be taken. A VMA is
   known by its process and its first page, <<p, s>>. *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS P, V, F, A

Procs == 1 .. P
Pages == 0 .. V - 1
Frames == 1 .. F
Anons == 1 .. A

VARIABLES alive, over, pgoff, own, chain, pte, page, anon
vars == <<alive, over, pgoff, own, chain, pte, page, anon>>

(* over[p][s]: 0, or 1 + the first page of the VMA that covers the page.
   own[p][s], chain[p][s], pgoff[p][s]: of the VMA that begins at the page; 0 is NULL. chain is a
   sequence, oldest first. anon[a].tree is a sequence of VMAs, by pgoff, equals in order of
   insertion. All are in one record while a transition is worked out. *)
State == [alive |-> alive, over |-> over, pgoff |-> pgoff, own |-> own, chain |-> chain,
          pte |-> pte, page |-> page, anon |-> anon]
Becomes(st) ==
  /\ alive' = st.alive /\ over' = st.over /\ pgoff' = st.pgoff /\ own' = st.own
  /\ chain' = st.chain /\ pte' = st.pte /\ page' = st.page /\ anon' = st.anon

NoPage == [count |-> 0, mapping |-> 0, index |-> 0, excl |-> FALSE]
NoAnon == [parent |-> 0, nchild |-> 0, nactive |-> 0, tree |-> <<>>]
Least(set) == CHOOSE x \in set : \A y \in set : x <= y
Used(st, a) == st.anon[a].tree # <<>>
Unused(st) == {a \in Anons : ~Used(st, a)}
FreePages(st) == {f \in Frames : st.page[f].count = 0}
Idle(st, a) == st.anon[a].nactive = 0 /\ st.anon[a].nchild < 2
Range(seq) == {seq[i] : i \in 1 .. Len(seq)}
Others(seq, x) == SelectSeq(seq, LAMBDA y : y # x)

(* Insert VMA <<p, s>> after all VMAs of the anon_vma whose pgoff is not larger. *)
Insert(st, a, p, s) ==
  LET tree == st.anon[a].tree
      before == SelectSeq(tree, LAMBDA v : st.pgoff[v[1]][v[2]] <= st.pgoff[p][s])
      behind == SelectSeq(tree, LAMBDA v : st.pgoff[v[1]][v[2]] > st.pgoff[p][s])
  IN [st EXCEPT !.anon[a].tree = before \o <<<<p, s>>>> \o behind]
Remove(st, a, p, s) == [st EXCEPT !.anon[a].tree = Others(@, <<p, s>>)]

RECURSIVE InsertAll(_, _, _, _)
InsertAll(st, as, p, s) ==
  IF as = <<>> THEN st ELSE InsertAll(Insert(st, Head(as), p, s), Tail(as), p, s)
RECURSIVE Reinsert(_, _, _, _)
Reinsert(st, as, p, s) ==
  IF as = <<>> THEN st
  ELSE Reinsert(Insert(Remove(st, Head(as), p, s), Head(as), p, s), Tail(as), p, s)

(* One VMA more, or less, whose own anon_vma is a (0: none). *)
Activate(st, a) == IF a = 0 THEN st ELSE [st EXCEPT !.anon[a].nactive = @ + 1]
Deactivate(st, a) == IF a = 0 THEN st ELSE [st EXCEPT !.anon[a].nactive = @ - 1]

(* VMA <<p, t>> gets the anon_vmas of <<p, v>>. *)
Clone(st, p, v, t) ==
  InsertAll(Activate([st EXCEPT !.chain[p][t] = st.chain[p][v], !.own[p][t] = st.own[p][v]],
                     st.own[p][v]),
            st.chain[p][v], p, t)

(* Split VMA <<p, v>>; the upper part begins at m. Both are inserted again. *)
Split(st, p, v, m) ==
  LET cut == [st EXCEPT
        !.pgoff[p][m] = st.pgoff[p][v] + m - v,
        !.over[p] = [s \in Pages |-> IF s >= m /\ @[s] = v + 1 THEN m + 1 ELSE @[s]]]
  IN Clone(Reinsert(cut, st.chain[p][v], p, v), p, v, m)
SplitAt(st, p, m) ==
  IF m \in Pages /\ st.over[p][m] # 0 /\ st.over[p][m] # m + 1
  THEN Split(st, p, st.over[p][m] - 1, m)
  ELSE st

(* Remove VMA <<p, v>> from its anon_vmas, youngest first; then free the empty ones. *)
RECURSIVE Leave(_, _, _, _)
Leave(st, as, p, v) ==
  IF as = <<>> THEN st
  ELSE LET a == as[Len(as)]
           out == Remove(st, a, p, v)
           less == IF Used(out, a) THEN out
                   ELSE [out EXCEPT !.anon[st.anon[a].parent].nchild = @ - 1]
       IN Leave(less, SubSeq(as, 1, Len(as) - 1), p, v)
Unlink(st, p, v) ==
  LET out == Deactivate(Leave(st, st.chain[p][v], p, v), st.own[p][v])
  IN [out EXCEPT
        !.anon = [a \in Anons |->
                    IF a \in Range(st.chain[p][v]) /\ @[a].tree = <<>> THEN NoAnon ELSE @[a]],
        !.chain[p][v] = <<>>, !.own[p][v] = 0, !.pgoff[p][v] = 0]

PutPage(st, f) ==
  IF st.page[f].count = 1 THEN [st EXCEPT !.page[f] = NoPage]
  ELSE [st EXCEPT !.page[f].count = @ - 1]

(* Unmap pages us ... ue - 1 of p. *)
RECURSIVE Zap(_, _, _, _)
Zap(st, p, s, ue) ==
  IF s = ue THEN st
  ELSE Zap(IF st.pte[p][s] = 0 THEN st
           ELSE [PutPage(st, st.pte[p][s]) EXCEPT !.pte[p][s] = 0], p, s + 1, ue)
RECURSIVE RemoveVmas(_, _, _, _)
RemoveVmas(st, p, s, ue) ==
  IF s = ue THEN st
  ELSE LET gone == IF st.over[p][s] = s + 1 THEN Unlink(st, p, s) ELSE st
       IN RemoveVmas([gone EXCEPT !.over[p][s] = 0], p, s + 1, ue)
Unmap(st, p, us, ue) ==
  LET cut == SplitAt(SplitAt(st, p, us), p, ue)
  IN RemoveVmas(Zap(cut, p, us, ue), p, us, ue)

MapFresh(st, p, s, v) ==
  LET f == Least(FreePages(st))
  IN [st EXCEPT
        !.page[f] = [count |-> 1, mapping |-> st.own[p][v],
                     index |-> st.pgoff[p][v] + s - v, excl |-> TRUE],
        !.pte[p][s] = f]
Prepare(st, p, v) ==
  IF st.own[p][v] # 0 THEN st
  ELSE LET a == Least(Unused(st))
       IN [st EXCEPT
             !.anon[a] = [parent |-> a, nchild |-> 1, nactive |-> 1, tree |-> <<<<p, v>>>>],
             !.chain[p][v] = <<a>>, !.own[p][v] = a]

(* The chain of the child's VMA, and an anon_vma of its own: the oldest idle one, or a new one. *)
RECURSIVE FirstIdle(_, _)
FirstIdle(st, as) ==
  IF as = <<>> THEN 0 ELSE IF Idle(st, Head(as)) THEN Head(as) ELSE FirstIdle(st, Tail(as))
ForkVma(st, p, q, v) ==
  LET as == st.chain[p][v]
      got == InsertAll([st EXCEPT !.pgoff[q][v] = st.pgoff[p][v], !.chain[q][v] = as], as, q, v)
      idle == FirstIdle(st, as)
      a == Least(Unused(got))
      up == st.own[p][v]
      fresh == [got EXCEPT
        !.anon = [@ EXCEPT
                    ![a] = [parent |-> up, nchild |-> 0, nactive |-> 1, tree |-> <<<<q, v>>>>],
                    ![up].nchild = @ + 1],
        !.chain[q][v] = as \o <<a>>, !.own[q][v] = a]
  IN IF up = 0 THEN [st EXCEPT !.pgoff[q][v] = st.pgoff[p][v]]
     ELSE IF idle # 0 THEN Activate([got EXCEPT !.own[q][v] = idle], idle)
     ELSE fresh
RECURSIVE Share(_, _, _)
Share(st, p, s) ==
  IF s = V THEN st
  ELSE LET f == st.pte[p][s]
       IN Share(IF f = 0 THEN st
                ELSE [st EXCEPT !.page[f].count = @ + 1, !.page[f].excl = FALSE], p, s + 1)
(* The first VMA at s or above, with all behind it; enough tells whether the anon_vmas sufficed. *)
RECURSIVE ForkFrom(_, _, _, _)
ForkFrom(st, p, q, s) ==
  IF s = V THEN [enough |-> TRUE, st |-> st]
  ELSE IF st.over[p][s] # s + 1 THEN ForkFrom(st, p, q, s + 1)
  ELSE IF st.own[p][s] # 0 /\ FirstIdle(st, st.chain[p][s]) = 0 /\ Unused(st) = {}
       THEN [enough |-> FALSE, st |-> st]
  ELSE ForkFrom(ForkVma(st, p, q, s), p, q, s + 1)
Forked(p, q) ==
  ForkFrom([Share(State, p, 0) EXCEPT
              !.alive[q] = TRUE, !.over[q] = over[p], !.pte[q] = pte[p]], p, q, 0)

(* Transitions. *)

Mmap(p, s, l) ==
  /\ alive[p] /\ s + l <= V
  /\ \A x \in s .. s + l - 1 : over[p][x] = 0
  /\ Becomes([State EXCEPT
       !.over[p] = [x \in Pages |-> IF x \in s .. s + l - 1 THEN s + 1 ELSE @[x]],
       !.pgoff[p][s] = s])

Fault(p, s) ==
  LET v == over[p][s] - 1
      f == pte[p][s]
  IN /\ over[p][s] # 0
     /\ IF f = 0
        THEN /\ FreePages(State) # {}
             /\ (own[p][v] # 0 \/ Unused(State) # {}) = TRUE
             /\ Becomes(MapFresh(Prepare(State, p, v), p, s, v))
        ELSE /\ ~page[f].excl
             /\ IF page[f].count = 1
                THEN Becomes([State EXCEPT !.page[f].mapping = own[p][v],
                                           !.page[f].excl = TRUE])
                ELSE /\ FreePages(State) # {}
                     /\ Becomes(MapFresh(PutPage(State, f), p, s, v))

Fork(p) ==
  LET free == {q \in Procs : ~alive[q]}
  IN /\ alive[p] /\ free # {}
     /\ LET done == Forked(p, Least(free)) IN done.enough /\ Becomes(done.st)

Exit(p) ==
  /\ alive[p] /\ Cardinality({q \in Procs : alive[q]}) > 1
  /\ Becomes([Unmap(State, p, 0, V) EXCEPT !.alive[p] = FALSE])

Munmap(p, s, l) ==
  /\ s + l <= V /\ over[p][s] # 0 /\ over[p][s + l - 1] # 0
  /\ Becomes(Unmap(State, p, s, s + l))

Mremap(p, s, l, t) ==
  /\ s + l <= V /\ t + l <= V
  /\ over[p][s] # 0 /\ over[p][s] = over[p][s + l - 1]
  /\ \A x \in t .. t + l - 1 : over[p][x] = 0
  /\ LET v == over[p][s] - 1
         there == [State EXCEPT
           !.over[p] = [x \in Pages |-> IF x \in t .. t + l - 1 THEN t + 1 ELSE @[x]],
           !.pgoff[p][t] = IF own[p][v] = 0 THEN t ELSE pgoff[p][v] + s - v,
           !.pte[p] = [x \in Pages |->
                         IF x \in t .. t + l - 1 THEN pte[p][s + x - t]
                         ELSE IF x \in s .. s + l - 1 THEN 0 ELSE @[x]]]
     IN Becomes(Unmap(Clone(there, p, v, t), p, s, s + l))

Init ==
  /\ alive = [p \in Procs |-> p = 1]
  /\ over = [p \in Procs |-> [s \in Pages |-> 0]]
  /\ pgoff = over /\ own = over /\ pte = over
  /\ chain = [p \in Procs |-> [s \in Pages |-> <<>>]]
  /\ page = [f \in Frames |-> NoPage]
  /\ anon = [a \in Anons |-> NoAnon]

Next ==
  \E p \in Procs :
    \/ Fork(p)
    \/ Exit(p)
    \/ \E s \in Pages :
         \/ Fault(p, s)
         \/ \E l \in 1 .. V :
              \/ Mmap(p, s, l)
              \/ Munmap(p, s, l)
              \/ \E t \in Pages : Mremap(p, s, l, t)

(* Invariants. *)

Vmas == {<<p, s>> \in Procs \X Pages : over[p][s] = s + 1}
Is(a) == anon[a].tree # <<>>
I1 == \A p \in Procs, s \in Pages : pte[p][s] = 0 \/
        LET f == page[pte[p][s]]
            v == over[p][s] - 1
        IN /\ over[p][s] # 0 /\ f.mapping # 0
           /\ Is(f.mapping) /\ f.mapping \in Range(chain[p][v])
           /\ f.index = pgoff[p][v] + s - v
I2 == /\ \A f \in Frames : page[f].count = 0 \/ (page[f].mapping # 0 /\ Is(page[f].mapping))
      /\ \A p \in Procs, s \in Pages :
           /\ \A a \in Range(chain[p][s]) : Is(a)
           /\ own[p][s] = 0 \/ own[p][s] \in Range(chain[p][s])
      /\ \A a \in Anons : Is(a) => /\ \E v \in Vmas : a \in Range(chain[v[1]][v[2]])
                                   /\ Is(anon[a].parent)
I3 == \A f \in Frames :
        page[f].count = Cardinality({x \in Procs \X Pages : pte[x[1]][x[2]] = f})
I4 == \A a \in Anons :
        /\ anon[a].nactive = Cardinality({v \in Procs \X Pages : own[v[1]][v[2]] = a})
        /\ anon[a].nchild = Cardinality({b \in Anons : Is(b) /\ anon[b].parent = a})
=============================================================================
