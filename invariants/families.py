"""anonmm: the family of processes that may share a page, and the page's addresses in them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mapped_folios, mappers_of, place
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.state import folio_test_anon, ptep_to_address, ptep_to_mm

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def addresses_of(st: "Kernel", folio: int) -> list[int]:
    """Return the addresses at which the walk looks for a page, in the order of the walk."""
    found = [st.folio[folio].index]
    if "rmap_chain" in st.scheme.fields["folio"]:
        for slot in slots_of(st, folio):
            if slot:
                found.append(slot - 1)
    return found


def slots_of(st: "Kernel", folio: int) -> list[int]:
    """Return the slots of a page's chains, except the slot that contains the count."""
    found: list[int] = []
    chain = st.folio[folio].rmap_chain
    first = chain
    seen = 0
    while chain and seen < st.pages:
        for i, slot in enumerate(st.rmap_chain[chain].slot):
            if i or chain != first:
                found.append(slot)
        chain = st.rmap_chain[chain].next
        seen += 1
    return found


@invariant(
    "anonmm#address",
    relies=("the walk looks in each process of the family, at the addresses of the page only"),
)
def address_known(st: "Kernel") -> Iterator[Violation]:
    """Each entry that maps a page is at an address recorded for it, in a process of its family."""
    for folio in mapped_folios(st):
        if not folio_test_anon(st, folio):
            continue
        known = addresses_of(st, folio)
        head = st.anonmm[st.folio[folio].mapping].head
        for ptep in mappers_of(st, folio):
            mm = ptep_to_mm(st, ptep)
            let = f"f be folio {folio}, mapped at {place(st, ptep)}"
            if ptep_to_address(st, ptep) not in known:
                yield Violation(
                    let,
                    "that address must be recorded for f",
                    f"f's addresses are {', '.join(map(str, known))}",
                    (("folio", folio), ("pte", ptep)),
                )
            elif st.anonmm[st.mm[mm].anonmm].head != head:
                yield Violation(
                    let,
                    f"process {mm} must be of f's family, whose head is anonmm {head}",
                    "it is of another family",
                    (("folio", folio), ("mm", mm)),
                )


@invariant(
    "anonmm#once",
    relies="the walk takes one address in each process, page->index",
)
def once_in_a_process(st: "Kernel") -> Iterator[Violation]:
    """No process maps an anonymous page twice."""
    for folio in mapped_folios(st):
        if not folio_test_anon(st, folio):
            continue
        before = 0
        for ptep in mappers_of(st, folio):
            mm = ptep_to_mm(st, ptep)
            if mm == before:
                yield Violation(
                    f"f be folio {folio}, mapped at {place(st, ptep)}",
                    "that process must map f nowhere else",
                    "it maps f twice",
                    (("folio", folio), ("pte", ptep)),
                )
            before = mm


@invariant(
    "anonmm#counts",
    relies=(
        "exit_rmap() and the last unmapping free an anonmm when nothing is counted any longer"
    ),
)
def anonmm_counts(st: "Kernel") -> Iterator[Violation]:
    """An anonmm's count is its process, the pages that point to it and, for a head, its family."""
    for anonmm in st.anonmm.indices():
        a = st.anonmm[anonmm]
        expected = int(a.mm != 0)
        expected += sum(st.folio[f].mapping == anonmm for f in st.folio.indices())
        expected += sum(st.anonmm[m].head == anonmm for m in st.anonmm.indices())
        if a.count != expected:
            yield Violation(
                f"A be anonmm {anonmm}, of {'a process' if a.mm else 'no process'}",
                f"A's count must be {expected}",
                f"it is {a.count}",
                (("anonmm", anonmm),),
            )


@invariant(
    "anonmm#family-list",
    relies="the walk follows the list of the head",
)
def anonmm_family(st: "Kernel") -> Iterator[Violation]:
    """The list of a head contains each member of its family once, and no other anonmm."""
    for head in st.anonmm.indices():
        if st.anonmm[head].head != head:
            continue
        circle = circle_of(st, head)
        members = [m for m in st.anonmm.indices() if st.anonmm[m].head == head]
        if sorted(circle) != members:
            yield Violation(
                f"A be anonmm {head}, head of {', '.join(map(str, members))}",
                "A's list must contain exactly these",
                f"it contains {', '.join(map(str, circle))}",
                (("anonmm", head),),
            )


def circle_of(st: "Kernel", head: int) -> list[int]:
    """Return the anonmms in the circular list of `head`, up to its end if it is not circular."""
    found = [head]
    at = st.anonmm[head].list
    while at != head and at and at not in found:
        found.append(at)
        at = st.anonmm[at].list
    return found


@invariant(
    "anonmm#lifetime, anonmm#member-mm",
    relies="the walk reads anonmm->mm of each member, and page->mapping names a member",
)
def anonmm_lifetime(st: "Kernel") -> Iterator[Violation]:
    """An anonmm has a live process or pages; a head may instead have other family members."""
    for anonmm in st.anonmm.indices():
        a = st.anonmm[anonmm]
        if a.mm and (not st.mm.is_live(a.mm) or st.mm[a.mm].anonmm != anonmm):
            yield Violation(
                f"A be anonmm {anonmm}, of process {a.mm}",
                "that process must be alive, and its anonmm must be A",
                "this is not so",
                (("anonmm", anonmm),),
            )
        elif a.mm == 0 and a.count == int(a.head == anonmm):
            yield Violation(
                f"A be anonmm {anonmm}, which has no process, no page and no family",
                "A must have been freed",
                "it has not",
                (("anonmm", anonmm),),
            )


@invariant(
    "anonmm#addresses-chained",
    relies=("the walk ends at the first free slot, and the chain is freed with the last mapping"),
)
def addresses_chained(st: "Kernel") -> Iterator[Violation]:
    """Only a mapped page has chains; they are filled from the front, with each address once."""
    for folio in st.folio.indices():
        slots = slots_of(st, folio)
        known = addresses_of(st, folio)
        if slots and st.folio[folio].mapcount == 0:
            yield Violation(
                f"f be folio {folio}, which no entry maps",
                "f must have no chain",
                "it has one",
                (("folio", folio),),
            )
        for i, slot in enumerate(slots):
            if slot and (slot - 1 in known[: i + 1] or slots[i - 1 if i else 0] == 0):
                yield Violation(
                    f"f be folio {folio}, with address {slot - 1} in slot {i + 1} of its chains",
                    "no earlier slot may be free or contain that address",
                    f"f's index is {st.folio[folio].index}, its slots {slots}",
                    (("folio", folio),),
                )
