"""The eras of anon_vma_chain up to v3.18, each as a difference from the one before."""

from typing import ClassVar

from rmapcheck.logic import (
    If,
    counts,
    exists,
    forall,
    function,
    invariant,
    operation,
    relation,
)
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.spec import Flaws
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.anon_vma_chain import AvcBase
from rmapcheck.specs.anon_vmas import AnonVma
from rmapcheck.specs.vocabulary import Address, Folio, St, Swap, Vma

MREMAP_MERGE = (
    ("mremap_merge", "walk_complete"),
    ("mremap_merge", "coverage"),
    ("mremap_merge", "swapped_is_faulted"),
    ("mremap_merge", "swap_cache_agrees"),
)
"""What fails if mremap may merge faulted pages into a never-faulted VMA: E04, B29."""


class AvcList(AvcBase):
    """v2.6.34, v2.6.35: an ordered list; pages that may be shared get the anon_vma at its tail."""

    name = "avc-2.6.34"
    title = "anon_vma_chain as released"
    kernels = "v2.6.34 … v2.6.35"
    flaws: ClassVar[Flaws] = {"E04": (*MREMAP_MERGE, ("mremap_merge", "relatives_end_alike"))}

    tail = function(Vma, AnonVma, where=lambda st, v: st.faulted(v))
    head = function(Vma, AnonVma, where=lambda st, v: st.faulted(v))

    def is_oldest(self, st: St, v: Expr, r: Expr) -> Expr:
        return r == st.tail(v)

    def clone_order(self, st: St, v: Expr) -> tuple[Expr, Expr]:
        """Return tail and head of a clone of v's chain, which has the same order."""
        return st.tail(v), st.head(v)

    def clone_chain(self, st: St, v: Expr, w: Expr, K: Macro) -> None:
        super().clone_chain(st, v, w, K)
        tail, head = self.clone_order(st, v)
        st.tail[w] = tail
        st.head[w] = head

    def fork_own(self, st: St, c: Expr, n: Expr) -> None:
        super().fork_own(st, c, n)
        st.head[c] = n

    def found_family(self, st: St, v: Expr, n: Expr) -> None:
        st.tail[v] = n
        st.head[v] = n

    def adopt_family(self, st: St, v: Expr, w: Expr) -> None:
        st.tail[v] = st.active(w)
        st.head[v] = st.active(w)

    def dup_chain(self, st: St, v: Expr, w: Expr, gets: Expr) -> None:
        super().dup_chain(st, v, w, gets)
        tail, head = self.clone_order(st, w)
        st.tail[v] = If(gets, tail, st.tail(v))
        st.head[v] = If(gets, head, st.head(v))

    @invariant
    def ends_in_chain(self, st: St) -> Expr:
        """The oldest anon_vma of a VMA is one of its chain."""
        return forall(Vma, lambda v: st.faulted(v) >> st.avc(v, st.tail(v)))

    @invariant
    def chain_order(self, st: St) -> Expr:
        """All VMAs that share an anon_vma have the same oldest one, at the tail (avc#lineage)."""
        return forall(
            Vma,
            Vma,
            AnonVma,
            lambda v, w, a: (st.avc(v, a) & st.avc(w, a)) >> (st.tail(v) == st.tail(w)),
        )

    @invariant
    def relatives_end_alike(self, st: St) -> Expr:
        """VMAs that hold the same swap entry have the same oldest anon_vma."""
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Swap,
            lambda v, x, w, y, s: (
                (st.swap_pte(v, x, s) & st.swap_pte(w, y, s)) >> (st.tail(v) == st.tail(w))
            ),
        )


class AvcRoot(AvcBase):
    """v2.6.36 … v2.6.39: a root for each family; a page keeps its mapping once it has one."""

    name = "avc-2.6.36"
    title = "anon_vma_chain with the root lock"
    kernels = "v2.6.36 … v2.6.39"
    flaws: ClassVar[Flaws] = {"E04": (*MREMAP_MERGE, ("mremap_merge", "relatives_have_one_root"))}

    root = relation(AnonVma, AnonVma)

    anon_refcount = counts(
        AnonVma,
        lambda st, b, a: st.anon_vma(b) & ((b == a) | st.root(b, a)),
        per=AnonVma,
        alive="anon_vma",
        doc="anon_vma->refcount: its list, and of a root the other members of its family",
    )

    def is_oldest(self, st: St, v: Expr, r: Expr) -> Expr:
        return st.root(st.active(v), r)

    def keeps_mapping(self, st: St, p: Expr) -> Expr:
        """PageAnon already (do_page_add_anon_rmap(), v2.6.36)."""
        return st.anon(p)

    def found_family(self, st: St, v: Expr, n: Expr) -> None:
        st.root[n] = lambda r: r == n
        st.anon_refcount.inc(n, n)

    def join_family(self, st: St, v: Expr, c: Expr, n: Expr) -> None:
        st.root[n] = lambda r: st.root(st.active(v), r)
        st.anon_refcount.inc(n, n)
        st.anon_refcount.add(AnonVma, lambda b, a: (b == n) & (a != n) & st.root(st.active(v), a))

    def put_anon_vmas(self, st: St, emptied: Macro) -> None:
        """put_anon_vma(): a member holds its root, so the root goes last (76545066c852)."""
        st.anon_refcount.sub(AnonVma, lambda b, a: emptied(b) & ((a == b) | st.root(b, a)))
        super().put_anon_vmas(st, emptied)

    @operation
    def do_swap_page_exclusive(self, st: St, v: Vma, x: Address, p: Folio, s: Swap) -> None:
        """No other entry has the page, or could: it gets the VMA's own anon_vma."""
        st.require(st.faulted(v))
        st.require(
            forall(
                Vma,
                Address,
                lambda w, y: ~st.pte(w, y, p) & (st.swap_pte(w, y, s) >> ((w == v) & (y == x))),
            ),
            "only this entry has the page",
        )
        self.swap_in(st, v, x, p, s)
        self.folio_add_anon_rmap(st, p, v, x)
        self.set_mapping(st, p, st.active(v))
        self.enter(st, v, x, p)

    @invariant
    def one_root(self, st: St) -> Expr:
        """All anon_vmas of a VMA have the same root, which is one of them (avc#lineage)."""
        return forall(
            Vma,
            AnonVma,
            AnonVma,
            AnonVma,
            lambda v, a, b, r: (
                (st.avc(v, a) & st.avc(v, b) & st.root(a, r)) >> (st.root(b, r) & st.avc(v, r))
            ),
        )

    @invariant
    def root_is_one(self, st: St) -> Expr:
        """An anon_vma has one root."""
        return forall(
            AnonVma,
            AnonVma,
            AnonVma,
            lambda a, r, q: (st.anon_vma(a) & st.root(a, r) & st.root(a, q)) >> (r == q),
        )

    @invariant
    def relatives_have_one_root(self, st: St) -> Expr:
        """VMAs that hold the same swap entry, and its cached page, belong to one family."""
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Swap,
            AnonVma,
            lambda v, x, w, y, s, r: (
                (st.swap_pte(v, x, s) & st.swap_pte(w, y, s) & st.root(st.active(v), r))
                >> st.root(st.active(w), r)
            ),
        )

    @invariant
    def root_alive(self, st: St) -> Expr:
        """The root of an anon_vma has not been freed; its lock is taken (76545066c852)."""
        return forall(
            AnonVma,
            AnonVma,
            lambda a, r: (st.anon_vma(a) & st.root(a, r)) >> st.anon_vma(r),
        )

    @invariant
    def root_exists(self, st: St) -> Expr:
        """Each anon_vma has a root."""
        return forall(
            AnonVma,
            lambda a: st.anon_vma(a) >> exists(AnonVma, lambda r: st.root(a, r)),
        )


class AvcTree(AvcRoot):
    """v3.0 … v3.18: a VMA with an inherited chain does not merge with a never-faulted one."""

    name = "avc-3.0"
    title = "anon_vma_chain with interval trees"
    kernels = "v3.0 … v3.18"
    flaws: ClassVar[Flaws] = {}

    def is_mergeable(self, st: St, v: Expr, w: Expr) -> Expr | bool:
        """Both have the same anon_vma, or one has none and the other's chain is of one.

        Commit 965f55dea0e3.
        """
        both = st.faulted(v) & st.faulted(w)
        return If(both, st.active(v) == st.active(w), self.may_take_over(st, v, w))

    def may_merge_copy(self, st: St, v: Expr, w: Expr) -> Expr | bool:
        both = st.faulted(v) & st.faulted(w)
        return If(both, st.active(v) == st.active(w), self.may_take_copy(st, v, w))

    def may_take_copy(self, st: St, v: Expr, w: Expr) -> Expr:
        """Return whether v may take over what mremap moves from w; v must have a chain."""
        neither = ~st.faulted(v) & ~st.faulted(w)
        return neither | self.chain_is_singular(st, v)

    def may_take_over(self, st: St, v: Expr, w: Expr) -> Expr:
        """Return whether v and w, not both faulted, may merge: the faulted one's chain is of one.

        Two neighbours of a free range are checked separately, so they may both grow into it even
        if they could not merge with each other. So it does not matter which of them is faulted.
        """
        neither = ~st.faulted(v) & ~st.faulted(w)
        return neither | self.chain_is_singular(st, v) | self.chain_is_singular(st, w)
