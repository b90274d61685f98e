"""Partial objrmap: is a page with PG_anon found by its chain, and another page by its file?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mappers_of
from rmapcheck.invariants.registry import Violation, invariant

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant(
    "objrmap#word-by-flag",
    relies=("page_referenced() reads page->pte as a chain if PG_anon is set, else as a count"),
)
def word_by_flag(st: "Kernel") -> Iterator[Violation]:
    """page->pte is a chain if PG_anon is set; otherwise the same word is a count of entries."""
    for folio in st.folio.indices():
        f = st.folio[folio]
        wrong = f.mapcount != 0 if f.pg_anon else f.direct != 0 or f.pte_chain != 0
        if wrong:
            flag = "PG_anon" if f.pg_anon else "no PG_anon"
            then = "page->pte must be a chain" if f.pg_anon else "page->pte must be a mapcount"
            but = "it is a mapcount" if f.pg_anon else "it is a chain"
            yield Violation(
                f"f be folio {folio}, with {flag}",
                then,
                but,
                (("folio", folio),),
            )


@invariant(
    "objrmap#object-mapcount",
    relies="page_mapped() tells try_to_unmap() that it is done",
)
def object_mapcount(st: "Kernel") -> Iterator[Violation]:
    """The mapcount of a page without PG_anon is the number of entries that map it."""
    for folio in st.folio.indices():
        expected = len(mappers_of(st, folio))
        f = st.folio[folio]
        if not f.pg_anon and f.mapcount != expected:
            yield Violation(
                f"f be folio {folio} without PG_anon, mapped by {expected} entries",
                f"its mapcount must be {expected}",
                f"it is {f.mapcount}",
                (("folio", folio),),
            )


@invariant(
    "objrmap#object-has-mapping",
    relies="page_referenced_obj() calls BUG() without a mapping",
)
def object_has_mapping(st: "Kernel") -> Iterator[Violation]:
    """A mapped page without PG_anon has a mapping, through which the walk finds it."""
    if not st.scope.files:
        return
    for folio in st.folio.indices():
        f = st.folio[folio]
        if f.mapcount and not f.pg_anon and f.address_space == 0:
            yield Violation(
                f"f be folio {folio}, mapped {f.mapcount} times, without PG_anon",
                "page->mapping must point to a file",
                "it is NULL",
                (("folio", folio),),
            )
