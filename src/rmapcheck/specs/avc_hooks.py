"""anon_vma_chain: symbols, decisions that eras take differently, and functions of mm/rmap.c.

Symbols in addition to those of `anon_vmas.py`:

    avc(v, a)             an anon_vma_chain joins v and a
    tail(v), head(v)      the ends of v's chain, oldest and newest (v2.6.34, 35)  if faulted(v)
    root(a, r)            a->root == r (since v2.6.36)
    parent(a, b)          a->parent == b; a root is its own parent (since v3.19)

Operations: `anon_vma_prepare` in two forms, `fork` in three, and clones that run out of memory.
They follow model/schemes/anon_vma_chain.py, anon_vma_root.py and anon_vma_reuse.py, which name the
sources.
"""

from rmapcheck.logic import (
    If,
    define,
    exists,
    forall,
    relation,
)
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.anon_vmas import AnonVma, AnonVmas
from rmapcheck.specs.vocabulary import Address, St, Vma


class AvcHooks(AnonVmas):
    """The symbols, the decisions, and the functions of mm/rmap.c."""

    avc = relation(Vma, AnonVma)

    # Decisions.

    def is_oldest(self, st: St, v: Expr, r: Expr) -> Expr:
        """Return whether r is the anon_vma that v uses for shared pages (ea90002b0fa7)."""
        raise NotImplementedError

    def may_adopt(self, st: St, w: Expr) -> Expr:
        """Return whether a neighbour may adopt w's anon_vma: a chain of one (d0e9fe1758f2)."""
        return self.chain_is_singular(st, w)

    def inherits_copied_from(self) -> bool:
        """Return whether a VMA that merges with mremap's copy gets its chain (61f67c230a5e)."""
        return False

    def keeps_mapping(self, st: St, p: Expr) -> Expr:
        """Return whether swap-in keeps the mapping: v2.6.34 does if another entry maps p."""
        return exists(Vma, Address, lambda v, x: st.pte(v, x, p))

    def chain_is_singular(self, st: St, v: Expr) -> Expr:
        """list_is_singular(&vma->anon_vma_chain)."""
        return st.faulted(v) & forall(AnonVma, lambda a: st.avc(v, a) >> (a == st.active(v)))

    # mm/rmap.c

    def anon_vma_alloc(self, st: St, n: Expr) -> None:
        """Allocate n."""
        st.require(~st.anon_vma(n), "n is a free anon_vma")
        st.anon_vma[n] = True

    def found_family(self, st: St, v: Expr, n: Expr) -> None:
        """Make n, the first anon_vma of v, a root."""

    def join_family(self, st: St, v: Expr, c: Expr, n: Expr) -> None:
        """Make n, new for the child c, a descendant of the anon_vma of the parent's v."""

    def count_active(self, st: St, v: Expr) -> None:
        """Count v as a VMA with its own anon_vma: num_active_vmas++."""

    def uncount_active(self, st: St, v: Expr) -> None:
        """v is about to lose its own anon_vma: num_active_vmas--, if it has one."""

    def uncount_emptied(self, st: St, emptied: Macro) -> None:
        """The lists of some anon_vmas have become empty: parent->num_children--, put."""

    def clone_chain(self, st: St, v: Expr, w: Expr, K: Macro) -> None:
        """w gets an AVC for each of v's anon_vmas that are in K; the loop of anon_vma_clone()."""
        st.avc[w] = lambda a: st.avc(w, a) | (st.avc(v, a) & K(a))

    def anon_vma_clone(self, st: St, v: Expr, w: Expr) -> None:
        """w gets the chain of v, and its anon_vma; for split, mremap and merges."""
        self.clone_chain(st, v, w, define(AnonVma, lambda a: a == a))  # noqa: PLR0124 - all
        st.faulted[w] = st.faulted(v)
        st.active[w] = st.active(v)
        self.count_active(st, w)

    def unlink_anon_vmas(self, st: St, v: Expr) -> None:
        """Remove all AVCs of v, and free anon_vmas that have none left; unlink_anon_vmas()."""
        emptied = define(
            AnonVma,
            lambda a: st.avc(v, a) & forall(Vma, lambda w: st.avc(w, a) >> (w == v)),
        )
        self.uncount_emptied(st, emptied)
        self.uncount_active(st, v)
        st.avc[v] = False
        st.faulted[v] = False
        self.put_anon_vmas(st, emptied)

    def put_anon_vmas(self, st: St, emptied: Macro) -> None:
        """Free the anon_vmas whose last AVC is gone."""
        st.anon_vma = lambda a: st.anon_vma(a) & ~emptied(a)

    # The hooks of the machine.

    def vma_split(self, st: St, v: Expr, w: Expr) -> None:
        self.anon_vma_clone(st, v, w)

    def vma_merge(self, st: St, v: Expr, w: Expr, whole: Expr) -> None:
        """dup_anon_vma(): a never-faulted VMA gets the chain of the one it grows over."""
        self.dup_anon_vma(st, v, w)

    def vma_merge_copy(self, st: St, v: Expr, w: Expr) -> None:
        if self.inherits_copied_from():
            self.dup_anon_vma(st, v, w)

    def dup_anon_vma(self, st: St, v: Expr, w: Expr) -> None:
        """If w has an anon_vma and v has none, give v the anon_vma and the chain of w."""
        gets = st.faulted(w) & ~st.faulted(v)
        self.count_dup(st, v, w, gets)
        self.dup_chain(st, v, w, gets)
        st.active[v] = If(gets, st.active(w), st.active(v))
        st.faulted[v] = st.faulted(v) | gets

    def dup_chain(self, st: St, v: Expr, w: Expr, gets: Expr) -> None:
        """If `gets`, give v an AVC for each of w's; from the exporter (287d97ac0321)."""
        st.avc[v] = lambda a: st.avc(v, a) | (gets & st.avc(w, a))

    def count_dup(self, st: St, v: Expr, w: Expr, gets: Expr) -> None:
        """If `gets`, v is about to get the anon_vma of w as its own: num_active_vmas++."""

    def vma_remove(self, st: St, v: Expr) -> None:
        self.unlink_anon_vmas(st, v)

    def anon_found(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr | bool:
        """rmap_walk_anon(): the VMAs of the folio's anon_vma, at its index."""
        there = st.covers(v, x) & (st.pgoff(v, x) == st.index(p))
        return st.avc(v, st.mapping(p)) & there

    def folio_move_anon_rmap(self, st: St, p: Expr, v: Expr) -> None:
        """Only the writer maps p: p gets the writer's own anon_vma (c44b674323f4)."""
        st.mapping[p] = st.active(v)
