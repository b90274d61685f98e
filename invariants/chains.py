"""pte_chain: does each chain hold the right entries, and is it well formed?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mappers_of, place
from rmapcheck.invariants.registry import Violation, invariant

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def chain_of(st: "Kernel", folio: int) -> list[int]:
    """Return the elements of a page's chain, first to last, each once (also if it is a circle)."""
    found: list[int] = []
    at = st.folio[folio].pte_chain
    while at and at not in found:
        found.append(at)
        at = st.pte_chain[at].next
    return found


def slots(st: "Kernel", element: int) -> list[int]:
    """Return the slots of one element: a node has one, a chunk has NRPTE."""
    if "ptep" in st.scheme.fields["pte_chain"]:
        return [st.pte_chain[element].ptep]
    return list(st.pte_chain[element].ptes)


def recorded(st: "Kernel", folio: int) -> list[int]:
    """Return the entries that a page's PG_direct or chain records, with repetitions."""
    direct = st.folio[folio].direct
    found = [direct] if direct else []
    for element in chain_of(st, folio):
        found += [ptep for ptep in slots(st, element) if ptep]
    return found


@invariant(
    "pte_chain#exact, pte_chain#owner, pte_chain#empty-if-unmapped",
    relies="try_to_unmap() unmaps the entries that the chain names, and no others",
)
def chain_equals_ptes(st: "Kernel") -> Iterator[Violation]:
    """A page's chain contains each entry that maps the page, once, and no other entry.

    With objrmap, this is checked only for pages with PG_anon (objrmap#anon-chain).
    """
    for folio in st.folio.indices():
        if "pg_anon" in st.scheme.fields["folio"] and not st.folio[folio].pg_anon:
            continue
        expected = mappers_of(st, folio)
        found = recorded(st, folio)
        if sorted(found) != expected:
            have = ", ".join(place(st, p) for p in expected) or "nothing"
            contains = ", ".join(place(st, p) for p in found) or "nothing"
            yield Violation(
                f"f be folio {folio}, mapped by {have}",
                "f's chain must contain exactly these entries",
                f"it contains {contains}",
                (("folio", folio),),
            )


@invariant(
    "pte_chain#direct",
    relies=(
        "page_referenced() and try_to_unmap() read page->pte as an entry if PG_direct "
        "is set, else as a chain"
    ),
)
def direct_alone(st: "Kernel") -> Iterator[Violation]:
    """A page has PG_direct or a chain, never both, because they share a word of struct page."""
    for folio in st.folio.indices():
        if st.folio[folio].direct and st.folio[folio].pte_chain:
            yield Violation(
                f"f be folio {folio} with PG_direct, for {place(st, st.folio[folio].direct)}",
                "f must have no chain, because both are in the same word",
                f"it has chain {st.folio[folio].pte_chain}",
                (("folio", folio), ("pte_chain", st.folio[folio].pte_chain)),
            )


@invariant(
    "pte_chain#no-chain-of-one, 4250169826",
    relies="no code; it saves the node of a page that one entry maps",
)
def chain_not_single(st: "Kernel") -> Iterator[Violation]:
    """A chain has at least two nodes: a page with one mapping has PG_direct instead."""
    for folio in st.folio.indices():
        chain = chain_of(st, folio)
        if len(chain) == 1:
            yield Violation(
                f"f be folio {folio} with a chain",
                "the chain must have at least two nodes; with one mapping f has PG_direct instead",
                f"node {chain[0]} is the only one",
                (("folio", folio), ("pte_chain", chain[0])),
            )


@invariant(
    "pte_chain#packed",
    relies=(
        "page_add_rmap() and page_remove_rmap() find the first slot in use of the first "
        "chunk, and no others"
    ),
)
def chain_packed(st: "Kernel") -> Iterator[Violation]:
    """Free slots are only at the low end of the first chunk; idx (if any) is their number."""
    for folio in st.folio.indices():
        for n, chunk in enumerate(chain_of(st, folio)):
            ptes = slots(st, chunk)
            used = len(ptes) - ptes.count(0)
            free = len(ptes) - used
            idx = free
            if "idx" in st.scheme.extra_fields["pte_chain"]:
                idx = st.pte_chain[chunk].idx
            if idx != free or 0 in ptes[idx:] or (n and idx):
                row = " ".join("used" if p else "free" for p in ptes)
                yield Violation(
                    f"c be chunk {chunk}, number {n} of folio {folio}, with idx {idx}",
                    f"exactly the first {idx} slots of c must be free"
                    if n == 0
                    else "c, which is not the first, must be full",
                    f"its slots are {row}",
                    (("folio", folio), ("pte_chain", chunk)),
                )


@invariant(
    "pte_chain#head-used",
    relies="page_mapped() takes a page with a chain for mapped",
)
def chain_head_used(st: "Kernel") -> Iterator[Violation]:
    """No chunk is empty: removing its last entry frees the chunk."""
    for folio in st.folio.indices():
        for chunk in chain_of(st, folio):
            if not any(slots(st, chunk)):
                yield Violation(
                    f"c be chunk {chunk} of folio {folio}",
                    "c must contain an entry, or have been freed",
                    "it contains none",
                    (("folio", folio), ("pte_chain", chunk)),
                )
