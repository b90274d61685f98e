"""What all designs with anon_vmas share: those of v2.6.7 and the anon_vma_chains.

Symbols in addition to those of `vocabulary.py`:

    AnonVma
    anon_vma(a)           the struct is allocated
    faulted(v)            vma->anon_vma != NULL
    active(v)             vma->anon_vma                                          if faulted(v)
    mapping(p)            folio->mapping                                           if anon(p)
"""

from rmapcheck.logic import Sort, forall, function, invariant, relation
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.mapcount import Mapcounted
from rmapcheck.specs.vocabulary import Address, Folio, St, Swap, Vma


class AnonVma(Sort):
    """struct anon_vma."""


class AnonVmas(Mapcounted):
    """The symbols, hooks and lemmas that do not depend on how VMAs are listed."""

    live = {**Mapcounted.live, AnonVma: "anon_vma"}  # noqa: RUF012 - never changed

    anon_vma = relation(AnonVma)
    faulted = relation(Vma)
    active = function(Vma, AnonVma, where=lambda st, v: st.faulted(v))
    mapping = function(Folio, AnonVma, where=lambda st, p: st.anon(p))

    def may_fault(self, st: St, v: Expr) -> Expr | bool:
        return st.faulted(v)

    def is_mergeable(self, st: St, v: Expr, w: Expr) -> Expr | bool:
        """Both have the same anon_vma, or one has none; is_mergeable_anon_vma() to v2.6.39."""
        return (st.faulted(v) & st.faulted(w)) >> (st.active(v) == st.active(w))

    def keeps_pgoff(self, st: St, v: Expr) -> Expr | bool:
        return st.faulted(v) | st.file_vma(v)

    def folio_add_new_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        super().folio_add_new_anon_rmap(st, p, v, x)
        st.mapping[p] = st.active(v)

    @invariant
    def coverage_index(self, st: St) -> Expr:
        """A mapped page's index is its place in the VMA that maps it.

        Rules anon_vma#coverage, avc#coverage.
        """
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & st.anon(p) & ~st.temporary_stack(v))
                >> (st.pgoff(v, x) == st.index(p))
            ),
        )

    @invariant
    def mapping_alive(self, st: St) -> Expr:
        """The anon_vma of a mapped page has not been freed (anon_vma#mapping-alive)."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (st.pte(v, x, p) & st.anon(p)) >> st.anon_vma(st.mapping(p)),
        )

    @invariant
    def swapped_is_faulted(self, st: St) -> Expr:
        """A VMA that holds a swap entry has an anon_vma (anon_vma#faulted)."""
        return forall(Vma, Address, Swap, lambda v, x, s: st.swap_pte(v, x, s) >> st.faulted(v))
