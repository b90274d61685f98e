"""anon_vma: one object for a VMA and all its copies in all descendants (v2.6.7 … v2.6.33).

The symbols are those of `anon_vmas.py`; a faulted VMA is in the list of its anon_vma. The spec
follows model/schemes/anon_vma.py, which names the sources.
"""

from typing import ClassVar

from rmapcheck.logic import (
    If,
    exists,
    forall,
    invariant,
    operation,
)
from rmapcheck.logic.spec import Flaws
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.anon_vmas import AnonVma, AnonVmas
from rmapcheck.specs.vocabulary import Address, Folio, St, Swap, Vma

MREMAP_MERGE = (
    ("mremap_merge", "walk_complete"),
    ("mremap_merge", "coverage"),
    ("mremap_merge", "swapped_is_faulted"),
    ("mremap_merge", "swap_relatives_agree"),
    ("mremap_merge", "swap_cache_agrees"),
)
"""What fails if mremap may merge faulted pages into a never-faulted VMA: E04."""


class AnonVmaList(AnonVmas):
    """v2.6.8 … v2.6.33: anon_vma, corrected; the functions are those of mm/rmap.c."""

    name = "anon_vma-2.6.8"
    title = "anon_vma, corrected"
    kernels = "v2.6.8 … v2.6.33"
    schemes: ClassVar[tuple[str, ...]] = (
        "anon_vma-2.6.9",
        "anon_vma-2.6.14",
        "anon_vma-2.6.15",
        "anon_vma-2.6.16",
        "anon_vma-2.6.18",
        "anon_vma-2.6.21",
        "anon_vma-2.6.23",
        "anon_vma-2.6.28",
        "anon_vma-2.6.32",
    )
    flaws: ClassVar[Flaws] = {"E04": MREMAP_MERGE}
    # Decisions.

    def imports(self, whole: Expr) -> Expr | bool:
        """Return whether a VMA that grows over a faulted one gets its anon_vma.

        `whole` says whether it grows over all of it. Since v2.6.8 a part is enough (d84672c45e).
        """
        return True

    def frees(self, st: St, v: Expr, a: Expr) -> Expr:
        """Return whether a is freed when v leaves its list: no other VMA is in it."""
        return forall(Vma, lambda w: (st.faulted(w) & (st.active(w) == a)) >> (w == v))

    # Hooks.

    def join(self, st: St, v: Expr, w: Expr) -> None:
        """Put w into the list of v; anon_vma_link()."""
        st.faulted[w] = st.faulted(v)
        st.active[w] = st.active(v)

    def vma_split(self, st: St, v: Expr, w: Expr) -> None:
        self.join(st, v, w)

    def vma_merge(self, st: St, v: Expr, w: Expr, whole: Expr) -> None:
        """The importer of vma_adjust(); __anon_vma_merge()."""
        gets = st.faulted(w) & ~st.faulted(v) & self.imports(whole)
        st.active[v] = If(gets, st.active(w), st.active(v))
        st.faulted[v] = st.faulted(v) | gets

    def vma_remove(self, st: St, v: Expr) -> None:
        """anon_vma_unlink()."""
        st.anon_vma = lambda a: (
            st.anon_vma(a) & ~(st.faulted(v) & (a == st.active(v)) & self.frees(st, v, a))
        )
        st.faulted[v] = False

    def anon_found(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr | bool:
        """try_to_unmap_anon(): the VMAs in the list of the page's anon_vma, at its index."""
        there = st.covers(v, x) & (st.pgoff(v, x) == st.index(p))
        return st.faulted(v) & (st.active(v) == st.mapping(p)) & there

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """Set mapping and index at the first mapping; any relative would set the same.

        Rule anon_vma#relatives-agree.
        """
        mapped = exists(Vma, Address, lambda w, y: st.pte(w, y, p))
        st.mapping[p] = If(mapped, st.mapping(p), st.active(v))
        st.index[p] = If(mapped, st.index(p), st.pgoff(v, x))
        st.anon[p] = True

    def dup_vma(self, st: St, v: Expr, c: Expr, m: Expr) -> None:
        """The child's VMA joins the same list; anon_vma_link() in dup_mmap()."""
        super().dup_vma(st, v, c, m)
        self.join(st, v, c)

    # Operations.

    @operation
    def prepare_new(self, st: St, v: Vma, n: AnonVma) -> None:
        """Give v a new anon_vma; anon_vma_prepare()."""
        st.require(st.vma(v) & ~st.faulted(v) & ~st.temporary_stack(v))
        st.require(~st.anon_vma(n), "n is a free anon_vma")
        st.anon_vma[n] = True
        st.faulted[v] = True
        st.active[v] = n

    @operation
    def prepare_adopt(self, st: St, v: Vma, w: Vma) -> None:
        """v adopts the anon_vma of its neighbour w; find_mergeable_anon_vma()."""
        st.require(st.vma(v) & ~st.faulted(v) & ~st.temporary_stack(v))
        st.require(st.faulted(w) & (st.mm(v) == st.mm(w)), "w is a faulted neighbour")
        self.join(st, w, v)

    # Invariants.

    @invariant
    def coverage(self, st: St) -> Expr:
        """A mapped page's anon_vma is that of the VMA that maps it (anon_vma#coverage)."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & st.anon(p)) >> (st.faulted(v) & (st.active(v) == st.mapping(p)))
            ),
        )

    @invariant
    def anon_vma_list(self, st: St) -> Expr:
        """Only allocated VMAs are in lists, and only in lists of anon_vmas that are not freed.

        Rule anon_vma#list.
        """
        return forall(Vma, lambda v: st.faulted(v) >> (st.vma(v) & st.anon_vma(st.active(v))))

    @invariant
    def swap_relatives_agree(self, st: St) -> Expr:
        """VMAs that hold the same swap entry would map its page with one anon_vma and index.

        Rule anon_vma#relatives-agree.
        """
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Swap,
            lambda v, x, w, y, s: (
                (st.swap_pte(v, x, s) & st.swap_pte(w, y, s))
                >> (
                    (st.active(v) == st.active(w))
                    & (self.known_at(st, v, x) == self.known_at(st, w, y))
                )
            ),
        )

    @invariant
    def swap_cache_agrees(self, st: St) -> Expr:
        """A VMA that holds the swap entry of a mapped page has that page's anon_vma and index."""
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Folio,
            Swap,
            lambda v, x, w, y, p, s: (
                (st.swap_pte(v, x, s) & st.swap_cache(s, p) & st.pte(w, y, p))
                >> ((st.active(v) == st.mapping(p)) & (self.known_at(st, v, x) == st.index(p)))
            ),
        )

    @invariant
    def no_leak(self, st: St) -> Expr:
        """An anon_vma lives only as long as a VMA is in its list (anon_vma#lifetime)."""
        return forall(
            AnonVma,
            lambda a: st.anon_vma(a) >> exists(Vma, lambda v: st.faulted(v) & (st.active(v) == a)),
        )

    def interesting(self, st: St) -> Expr:
        """A page is mapped by two processes."""
        return exists(
            Vma,
            Vma,
            Address,
            Address,
            Folio,
            lambda v, w, x, y, p: st.pte(v, x, p) & st.pte(w, y, p) & (st.mm(v) != st.mm(w)),
        )


class AnonVma267(AnonVmaList):
    """v2.6.7: mprotect moves a boundary but does not pass on the anon_vma (E02)."""

    name = "anon_vma-2.6.7"
    title = "anon_vma as first released"
    kernels = "v2.6.7"
    flaws: ClassVar[Flaws] = {
        "E04": MREMAP_MERGE,
        "E02": (
            ("merge", "walk_complete"),
            ("merge", "coverage"),
            ("merge", "swapped_is_faulted"),
            ("merge", "swap_relatives_agree"),
            ("merge", "swap_cache_agrees"),
        ),
    }

    def imports(self, whole: Expr) -> Expr | bool:
        return whole
