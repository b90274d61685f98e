"""anon_vma_chain: its operations and the lemmas of all eras; `avc_hooks.py` has the symbols."""

from typing import Any

from rmapcheck.logic import Predicate, define, exists, forall, invariant, operation
from rmapcheck.logic.terms import Expr, If
from rmapcheck.specs.anon_vmas import AnonVma
from rmapcheck.specs.avc_hooks import AvcHooks
from rmapcheck.specs.vocabulary import Address, Folio, Mm, St, Swap, Vma


class AvcBase(AvcHooks):
    """What all eras share. The eras decide which anon_vma is the oldest, and which is reused."""

    # Operations.

    @operation
    def prepare_new(self, st: St, v: Vma, n: AnonVma) -> None:
        """Give v a new anon_vma; anon_vma_prepare()."""
        st.require(st.vma(v) & ~st.faulted(v) & ~st.temporary_stack(v))
        self.anon_vma_alloc(st, n)
        self.found_family(st, v, n)
        st.faulted[v] = True
        st.active[v] = n
        st.avc[v, n] = True
        self.count_active(st, v)

    @operation
    def prepare_adopt(self, st: St, v: Vma, w: Vma) -> None:
        """v adopts the anon_vma of its neighbour w; find_mergeable_anon_vma()."""
        st.require(st.vma(v) & ~st.faulted(v) & ~st.temporary_stack(v))
        st.require(st.vma(w) & st.faulted(w) & (st.mm(v) == st.mm(w)), "w is a faulted neighbour")
        st.require(self.may_adopt(st, w), "reusable_anon_vma()")
        st.faulted[v] = True
        st.active[v] = st.active(w)
        st.avc[v, st.active(w)] = True
        self.adopt_family(st, v, w)
        self.count_active(st, v)

    def adopt_family(self, st: St, v: Expr, w: Expr) -> None:
        """Give v the anon_vma of w."""

    fork: Any = None  # in three forms instead

    @operation
    def fork_new(self, st: St, v: Vma, c: Vma, m: Mm, n: AnonVma, K: Predicate[Address]) -> None:
        """Fork v: the child's c gets the chain of v and a new anon_vma n; anon_vma_fork()."""
        st.require(st.faulted(v), "v has an anon_vma")
        self.dup_vma(st, v, c, m)
        self.fork_chain(st, v, c)
        self.anon_vma_alloc(st, n)
        self.join_family(st, v, c, n)
        self.fork_own(st, c, n)
        self.count_active(st, c)
        self.copy_entries(st, v, c, K)

    def fork_chain(self, st: St, v: Expr, c: Expr) -> None:
        """Give the child's c the chain of v; anon_vma_clone()."""
        self.clone_chain(st, v, c, define(AnonVma, lambda a: a == a))  # noqa: PLR0124 - all

    def fork_own(self, st: St, c: Expr, n: Expr) -> None:
        """Make the new n the child's own anon_vma (vma->anon_vma)."""
        st.faulted[c] = True
        st.active[c] = n
        st.avc[c, n] = True

    @operation(changes=False)
    def clone_enomem(self, st: St, v: Vma, c: Vma, K: Predicate[AnonVma]) -> None:
        """anon_vma_clone() has linked K when memory runs out; c, not a VMA yet, is freed again.

        This is for split and mremap, where c has got vma->anon_vma with the copy of the struct.
        """
        st.require(st.vma(v) & st.faulted(v) & ~st.vma(c), "c is a free VMA")
        st.faulted[c] = True
        st.active[c] = st.active(v)
        self.clone_chain(st, v, c, define(AnonVma, lambda a: K(a)))
        self.undo_clone(st, c)

    def undo_clone(self, st: St, c: Expr) -> None:
        """Undo a clone; the VMA was not counted yet, so it must not be uncounted."""
        st.faulted[c] = False
        self.unlink_anon_vmas(st, c)

    @operation(changes=False)
    def fork_enomem(self, st: St, v: Vma, c: Vma, K: Predicate[AnonVma]) -> None:
        """anon_vma_fork() has linked K when memory runs out; c has no anon_vma yet."""
        st.require(st.vma(v) & st.faulted(v) & ~st.vma(c), "c is a free VMA")
        st.faulted[c] = False
        self.clone_chain(st, v, c, define(AnonVma, lambda a: K(a)))
        self.undo_fork(st, c)

    def undo_fork(self, st: St, c: Expr) -> None:
        """Undo a clone for fork."""
        self.unlink_anon_vmas(st, c)

    @operation
    def dontunmap(self, st: St, v: Vma) -> None:
        """Empty v, as if never faulted; MREMAP_DONTUNMAP, dontunmap_complete()."""
        st.require(st.vma(v) & self.empty(st, v) & ~st.temporary_stack(v))
        self.unlink_anon_vmas(st, v)

    do_swap_page: Any = None  # in two forms instead, in eras that distinguish them

    @operation
    def do_swap_page_shared(
        self, st: St, v: Vma, x: Address, p: Folio, s: Swap, r: AnonVma
    ) -> None:
        """Map the swap-cache folio with the oldest anon_vma, since other VMAs may map it, too."""
        st.require(st.faulted(v) & self.is_oldest(st, v, r), "r is the oldest of v")
        self.swap_in(st, v, x, p, s)
        self.folio_add_anon_rmap(st, p, v, x)
        self.set_mapping(st, p, r)
        self.enter(st, v, x, p)

    def set_mapping(self, st: St, p: Expr, a: Expr) -> None:
        """__page_set_anon_rmap(), unless the mapping is kept."""
        st.mapping[p] = If(self.keeps_mapping(st, p), st.mapping(p), a)
        st.anon[p] = True

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        st.index[p] = If(self.keeps_mapping(st, p), st.index(p), self.index_at(st, v, x))

    def enter(self, st: St, v: Expr, x: Expr, p: Expr) -> None:
        """Map p at x in v."""
        self.rmap_add(st, self.set_entry(st, v, x, p))

    # Invariants.

    @invariant
    def coverage(self, st: St) -> Expr:
        """A mapped page's anon_vma is in the chain of the VMA that maps it (avc#coverage)."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & st.anon(p)) >> (st.faulted(v) & st.avc(v, st.mapping(p)))
            ),
        )

    @invariant
    def avc_alive(self, st: St) -> Expr:
        """An AVC joins a VMA and an anon_vma that are not freed (avc#lifetime)."""
        return forall(Vma, AnonVma, lambda v, a: st.avc(v, a) >> (st.vma(v) & st.anon_vma(a)))

    @invariant
    def active_in_chain(self, st: St) -> Expr:
        """A VMA's own anon_vma is one of its chain (avc#active)."""
        return forall(Vma, lambda v: st.faulted(v) >> st.avc(v, st.active(v)))

    @invariant
    def chain_only_if_faulted(self, st: St) -> Expr:
        """A VMA without anon_vma has no chain (avc#active)."""
        return forall(Vma, AnonVma, lambda v, a: st.avc(v, a) >> st.faulted(v))

    @invariant
    def same_anon_vma_same_chain(self, st: St) -> Expr:
        """VMAs with the same anon_vma have the same chain, so a merge may drop one.

        Rule avc#same-chain.
        """
        return forall(
            Vma,
            Vma,
            AnonVma,
            lambda v, w, a: (
                (st.faulted(v) & st.faulted(w) & (st.active(v) == st.active(w)) & st.avc(v, a))
                >> st.avc(w, a)
            ),
        )

    @invariant
    def swap_relatives_agree(self, st: St) -> Expr:
        """VMAs that hold the same swap entry would map its page with the same index."""
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Swap,
            lambda v, x, w, y, s: (
                (st.swap_pte(v, x, s) & st.swap_pte(w, y, s))
                >> (self.known_at(st, v, x) == self.known_at(st, w, y))
            ),
        )

    @invariant
    def swap_cache_agrees(self, st: St) -> Expr:
        """A VMA that holds the swap entry of a cached page has that page's anon_vma and index."""
        return forall(
            Vma,
            Address,
            Folio,
            Swap,
            lambda v, x, p, s: (
                (st.swap_pte(v, x, s) & st.swap_cache(s, p) & st.anon(p))
                >> (st.avc(v, st.mapping(p)) & (self.known_at(st, v, x) == st.index(p)))
            ),
        )

    @invariant
    def no_leak(self, st: St) -> Expr:
        """An anon_vma lives only as long as a VMA is in it (avc#lifetime)."""
        return forall(AnonVma, lambda a: st.anon_vma(a) >> exists(Vma, lambda v: st.avc(v, a)))

    def interesting(self, st: St) -> Expr:
        """A page is mapped by a VMA with a chain of two."""
        return exists(
            Vma,
            Address,
            Folio,
            AnonVma,
            AnonVma,
            lambda v, x, p, a, b: (
                st.pte(v, x, p) & st.anon(p) & st.avc(v, a) & st.avc(v, b) & (a != b)
            ),
        )
