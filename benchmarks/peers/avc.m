-- The AVC profile in Murphi, for rumur: written from the definition in README.md, not from ours.
-- programs.py puts the constants P, V, F, A and N in front of it. Processes, pages and anon_vmas are
-- scalarsets; a loop that takes the first free one takes the lowest where rumur is told to do
-- without symmetry. An undefined value is NULL.

type
  Proc: scalarset(P);
  Frame: scalarset(F);
  Anon: scalarset(A);
  Slot: 0..V-1;
  Place: record p: Proc; s: Slot; end;

var
  alive: array[Proc] of boolean;
  over: array[Proc] of array[Slot] of 0..V; -- 1 + start of the VMA that covers the page, or 0
  pgoff: array[Proc] of array[Slot] of Slot;
  own: array[Proc] of array[Slot] of Anon; -- vma->anon_vma
  chain: array[Proc] of array[Slot] of array[0..A-1] of Anon; -- oldest first
  pte: array[Proc] of array[Slot] of Frame;
  page: array[Frame] of record
    count: 0..N;
    mapping: Anon;
    index: Slot;
    excl: boolean; -- only one entry maps it, and that is writable
  end;
  anon: array[Anon] of record
    parent: Anon;
    nchild: 0..A+1;
    nactive: 0..N;
    tree: array[0..N-1] of Place; -- VMAs by pgoff, equals in order of insertion
  end;

function used(a: Anon): boolean;
begin
  return !isundefined(anon[a].tree[0].p);
end;

function idle(a: Anon): boolean;
begin
  return anon[a].nactive = 0 & anon[a].nchild < 2;
end;

function page_free(): boolean;
begin
  return exists f: Frame do page[f].count = 0 end;
end;

function unused(): 0..A;
var n: 0..A;
begin
  n := 0;
  for a: Anon do
    if !used(a) then n := n + 1; end;
  end;
  return n;
end;

-- How many anon_vmas a fork of p has to allocate: one for each VMA that finds none idle.
function needs(p: Proc): 0..V;
var need: 0..V;
    taken: array[Anon] of boolean;
    found: boolean;
begin
  need := 0;
  for a: Anon do taken[a] := false; end;
  for s: Slot do
    if !isundefined(own[p][s]) then
      found := false;
      for k: 0..A-1 do
        if !found & !isundefined(chain[p][s][k]) then
          if idle(chain[p][s][k]) & !taken[chain[p][s][k]] then
            taken[chain[p][s][k]] := true;
            found := true;
          end;
        end;
      end;
      if !found then need := need + 1; end;
    end;
  end;
  return need;
end;

procedure tree_insert(a: Anon; p: Proc; s: Slot);
var j: 0..N;
    go: boolean;
begin
  j := 0;
  while j < N - 1 & !isundefined(anon[a].tree[j].p) do j := j + 1; end;
  go := true;
  while j > 0 & go do
    if pgoff[anon[a].tree[j-1].p][anon[a].tree[j-1].s] > pgoff[p][s] then
      anon[a].tree[j].p := anon[a].tree[j-1].p;
      anon[a].tree[j].s := anon[a].tree[j-1].s;
      j := j - 1;
    else
      go := false;
    end;
  end;
  anon[a].tree[j].p := p;
  anon[a].tree[j].s := s;
end;

procedure tree_remove(a: Anon; p: Proc; s: Slot);
var j: 0..N;
    go: boolean;
begin
  j := 0;
  while anon[a].tree[j].p != p | anon[a].tree[j].s != s do j := j + 1; end;
  go := true;
  while go do
    if j = N - 1 then
      go := false;
    elsif isundefined(anon[a].tree[j+1].p) then
      go := false;
    else
      anon[a].tree[j].p := anon[a].tree[j+1].p;
      anon[a].tree[j].s := anon[a].tree[j+1].s;
      j := j + 1;
    end;
  end;
  undefine anon[a].tree[j];
end;

-- The VMA at w gets the anon_vmas of the one at v, and is inserted after VMAs with equal keys.
procedure clone(p: Proc; v: Slot; q: Proc; w: Slot);
begin
  for k: 0..A-1 do
    if !isundefined(chain[p][v][k]) then
      chain[q][w][k] := chain[p][v][k];
      tree_insert(chain[p][v][k], q, w);
    end;
  end;
end;

-- Split the VMA at v; the upper part is at m. Both are inserted again.
procedure split(p: Proc; v: Slot; m: Slot);
begin
  pgoff[p][m] := pgoff[p][v] + m - v;
  for s: Slot do
    if s >= m & over[p][s] = v + 1 then over[p][s] := m + 1; end;
  end;
  if !isundefined(own[p][v]) then
    own[p][m] := own[p][v];
    anon[own[p][v]].nactive := anon[own[p][v]].nactive + 1;
  end;
  for k: 0..A-1 do
    if !isundefined(chain[p][v][k]) then
      tree_remove(chain[p][v][k], p, v);
      tree_insert(chain[p][v][k], p, v);
    end;
  end;
  clone(p, v, p, m);
end;

-- Remove the VMA at v from its anon_vmas, youngest first; free the empty ones.
procedure unlink(p: Proc; v: Slot);
var a: Anon;
begin
  for k := A - 1 to 0 by -1 do
    if !isundefined(chain[p][v][k]) then
      a := chain[p][v][k];
      tree_remove(a, p, v);
      if !used(a) then
        anon[anon[a].parent].nchild := anon[anon[a].parent].nchild - 1;
      end;
    end;
  end;
  if !isundefined(own[p][v]) then
    anon[own[p][v]].nactive := anon[own[p][v]].nactive - 1;
  end;
  for k: 0..A-1 do
    if !isundefined(chain[p][v][k]) then
      a := chain[p][v][k];
      if !used(a) then
        undefine anon[a].parent;
        anon[a].nchild := 0;
        anon[a].nactive := 0;
      end;
      undefine chain[p][v][k];
    end;
  end;
  undefine own[p][v];
  pgoff[p][v] := 0;
end;

procedure put_page(f: Frame);
begin
  page[f].count := page[f].count - 1;
  if page[f].count = 0 then
    undefine page[f].mapping;
    page[f].index := 0;
    page[f].excl := false;
  end;
end;

-- Unmap pages us ... ue - 1.
procedure unmap(p: Proc; us: Slot; ue: 0..V);
begin
  if over[p][us] != 0 & over[p][us] != us + 1 then split(p, over[p][us] - 1, us); end;
  if ue < V then
    if over[p][ue] != 0 & over[p][ue] != ue + 1 then split(p, over[p][ue] - 1, ue); end;
  end;
  for s: Slot do
    if s >= us & s < ue & !isundefined(pte[p][s]) then
      put_page(pte[p][s]);
      undefine pte[p][s];
    end;
  end;
  for s: Slot do
    if s >= us & s < ue then
      if over[p][s] = s + 1 then unlink(p, s); end;
      over[p][s] := 0;
    end;
  end;
end;

procedure map_fresh(p: Proc; s: Slot; v: Slot);
var done: boolean;
begin
  done := false;
  for f: Frame do
    if !done & page[f].count = 0 then
      done := true;
      page[f].count := 1;
      page[f].excl := true;
      page[f].mapping := own[p][v];
      page[f].index := pgoff[p][v] + s - v;
      pte[p][s] := f;
    end;
  end;
end;

procedure prepare(p: Proc; v: Slot);
var done: boolean;
begin
  done := !isundefined(own[p][v]);
  for a: Anon do
    if !done & !used(a) then
      done := true;
      anon[a].parent := a;
      anon[a].nchild := 1;
      anon[a].nactive := 1;
      anon[a].tree[0].p := p;
      anon[a].tree[0].s := v;
      chain[p][v][0] := a;
      own[p][v] := a;
    end;
  end;
end;

-- Let the VMA at v of the child q have an idle anon_vma of its own, or a fresh one.
procedure own_of_child(p: Proc; q: Proc; v: Slot);
var done: boolean;
    n: 0..A;
begin
  done := false;
  n := 0;
  for k: 0..A-1 do
    if !isundefined(chain[p][v][k]) then
      chain[q][v][k] := chain[p][v][k];
      n := k + 1;
      tree_insert(chain[p][v][k], q, v);
      if !done & idle(chain[p][v][k]) then
        done := true;
        own[q][v] := chain[p][v][k];
      end;
    end;
  end;
  for a: Anon do
    if !done & !used(a) then
      done := true;
      anon[a].parent := own[p][v];
      anon[own[p][v]].nchild := anon[own[p][v]].nchild + 1;
      anon[a].tree[0].p := q;
      anon[a].tree[0].s := v;
      chain[q][v][n] := a;
      own[q][v] := a;
    end;
  end;
  anon[own[q][v]].nactive := anon[own[q][v]].nactive + 1;
end;

procedure fork(p: Proc; q: Proc);
begin
  alive[q] := true;
  for s: Slot do
    over[q][s] := over[p][s];
    if !isundefined(pte[p][s]) then
      pte[q][s] := pte[p][s];
      page[pte[p][s]].count := page[pte[p][s]].count + 1;
      page[pte[p][s]].excl := false;
    end;
    pgoff[q][s] := pgoff[p][s];
    if !isundefined(own[p][s]) then own_of_child(p, q, s); end;
  end;
end;

startstate
var done: boolean;
begin
  done := false;
  for p: Proc do
    alive[p] := !done;
    done := true;
    for s: Slot do
      over[p][s] := 0;
      pgoff[p][s] := 0;
      undefine own[p][s];
      undefine pte[p][s];
      undefine chain[p][s];
    end;
  end;
  for f: Frame do
    page[f].count := 0;
    undefine page[f].mapping;
    page[f].index := 0;
    page[f].excl := false;
  end;
  for a: Anon do
    undefine anon[a].parent;
    anon[a].nchild := 0;
    anon[a].nactive := 0;
    undefine anon[a].tree;
  end;
end;

ruleset p: Proc; s: Slot; l: 1..V do
  rule "mmap"
    s + l <= V & alive[p] & forall x: Slot do x < s | x >= s + l | over[p][x] = 0 end
  ==>
  begin
    for x: Slot do
      if x >= s & x < s + l then over[p][x] := s + 1; end;
    end;
    pgoff[p][s] := s;
  end;

  rule "munmap"
    s + l <= V & over[p][s] != 0 & over[p][s+l-1] != 0
  ==>
  begin
    unmap(p, s, s + l);
  end;
end;

ruleset p: Proc; s: Slot do
  rule "first write"
    over[p][s] != 0 & isundefined(pte[p][s]) & page_free()
    & (!isundefined(own[p][over[p][s]-1]) | unused() > 0)
  ==>
  begin
    prepare(p, over[p][s] - 1);
    map_fresh(p, s, over[p][s] - 1);
  end;

  rule "write to a page that is read-only"
    !isundefined(pte[p][s]) & !page[pte[p][s]].excl
    & (page[pte[p][s]].count = 1 | page_free())
  ==>
  var f: Frame;
  begin
    f := pte[p][s];
    if page[f].count = 1 then
      page[f].mapping := own[p][over[p][s]-1];
      page[f].excl := true;
    else
      put_page(f);
      map_fresh(p, s, over[p][s] - 1);
    end;
  end;
end;

ruleset p: Proc do
  rule "fork"
    alive[p] & exists q: Proc do !alive[q] end & needs(p) <= unused()
  ==>
  var done: boolean;
  begin
    done := false;
    for q: Proc do
      if !done & !alive[q] then
        done := true;
        fork(p, q);
      end;
    end;
  end;

  rule "exit"
    alive[p] & exists q: Proc do q != p & alive[q] end
  ==>
  begin
    unmap(p, 0, V);
    alive[p] := false;
  end;
end;

ruleset p: Proc; s: Slot; l: 1..V; t: Slot do
  rule "mremap"
    s + l <= V & t + l <= V & over[p][s] != 0 & over[p][s] = over[p][s+l-1]
    & forall x: Slot do x < t | x >= t + l | over[p][x] = 0 end
  ==>
  var v: Slot;
  begin
    v := over[p][s] - 1;
    if isundefined(own[p][v]) then
      pgoff[p][t] := t;
    else
      pgoff[p][t] := pgoff[p][v] + s - v;
      own[p][t] := own[p][v];
      anon[own[p][v]].nactive := anon[own[p][v]].nactive + 1;
    end;
    clone(p, v, p, t);
    for x: Slot do
      if x < l then
        over[p][t+x] := t + 1;
        if !isundefined(pte[p][s+x]) then
          pte[p][t+x] := pte[p][s+x];
          undefine pte[p][s+x];
        end;
      end;
    end;
    unmap(p, s, s + l);
  end;
end;

function in_chain(a: Anon; p: Proc; v: Slot): boolean;
begin
  for k: 0..A-1 do
    if !isundefined(chain[p][v][k]) then
      if chain[p][v][k] = a then return true; end;
    end;
  end;
  return false;
end;

function found(p: Proc; s: Slot): boolean;
var f: Frame;
begin
  f := pte[p][s];
  if over[p][s] = 0 | isundefined(page[f].mapping) then return false; end;
  return used(page[f].mapping) & in_chain(page[f].mapping, p, over[p][s] - 1)
    & page[f].index = pgoff[p][over[p][s]-1] + s - (over[p][s] - 1);
end;

function mappers(f: Frame): 0..N;
var n: 0..N;
begin
  n := 0;
  for p: Proc do for s: Slot do
    if !isundefined(pte[p][s]) then
      if pte[p][s] = f then n := n + 1; end;
    end;
  end; end;
  return n;
end;

function vma_sound(p: Proc; v: Slot): boolean;
begin
  for k: 0..A-1 do
    if !isundefined(chain[p][v][k]) then
      if !used(chain[p][v][k]) then return false; end;
    end;
  end;
  if isundefined(own[p][v]) then return true; end;
  return in_chain(own[p][v], p, v);
end;

function counted(a: Anon): boolean;
var children: 0..A;
    active: 0..N;
begin
  children := 0;
  active := 0;
  for b: Anon do
    if used(b) then
      if anon[b].parent = a then children := children + 1; end;
    end;
  end;
  for p: Proc do for s: Slot do
    if !isundefined(own[p][s]) then
      if own[p][s] = a then active := active + 1; end;
    end;
  end; end;
  return anon[a].nchild = children & anon[a].nactive = active;
end;

invariant "I1 the walk finds each entry"
  forall p: Proc do forall s: Slot do isundefined(pte[p][s]) | found(p, s) end end;
invariant "I2 references are to what is there"
  forall f: Frame do page[f].count = 0 | used(page[f].mapping) end
  & forall p: Proc do forall v: Slot do vma_sound(p, v) end end
  & forall a: Anon do !used(a) | (used(anon[a].parent)
      & exists p: Proc do exists v: Slot do in_chain(a, p, v) end end) end;
invariant "I3 mapcount"
  forall f: Frame do page[f].count = mappers(f) end;
invariant "I4 counters of anon_vmas"
  forall a: Anon do counted(a) end;
