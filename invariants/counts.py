"""Do the counters equal what they count?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from invariants.completeness import mappers
from invariants.registry import Violation, invariant

if TYPE_CHECKING:
    from model.state import State


@invariant("G1", universal=True)
def refcount(st: "State") -> Iterator[Violation]:
    """A page is referenced once by each entry that maps it and once by the swap cache."""
    mapped = mappers(st)
    for folio in st.folio.indices():
        f = st.folio[folio]
        expected = len(mapped.get(folio, ())) + (f.swap != 0)
        if f.refcount != expected:
            yield Violation(
                "refcount",
                f"f be folio {folio}, with {expected} users",
                f"its refcount must be {expected}",
                f"it is {f.refcount}",
                (("folio", folio),),
            )


@invariant("G7, P6")
def mapcount(st: "State") -> Iterator[Violation]:
    """A page's mapcount is the number of entries that map it."""
    mapped = mappers(st)
    for folio in st.folio.indices():
        expected = len(mapped.get(folio, ()))
        if st.folio[folio].mapcount != expected:
            yield Violation(
                "mapcount",
                f"f be folio {folio}, mapped by {expected} entries",
                f"its mapcount must be {expected}",
                f"it is {st.folio[folio].mapcount}",
                (("folio", folio),),
            )


@invariant("G6", universal=True)
def swap_counts(st: "State") -> Iterator[Violation]:
    """A swap slot counts the swap entries that name it, and knows its swap-cache page."""
    named: dict[int, int] = {}
    for i in range(1, st.pte.size + 1):
        if st.pte[i].swap:
            named[st.pte[i].swap] = named.get(st.pte[i].swap, 0) + 1
    for entry in st.swap.indices():
        s = st.swap[entry]
        if s.count != named.get(entry, 0):
            yield Violation(
                "swap_counts",
                f"e be swap slot {entry}, named by {named.get(entry, 0)} entries",
                "swap_map[e] must be that number",
                f"it is {s.count}",
                (("swap", entry),),
            )
        if s.folio and st.folio[s.folio].swap != entry:
            yield Violation(
                "swap_counts",
                f"e be swap slot {entry}, whose swap-cache page is folio {s.folio}",
                "that page must name e",
                f"it names {st.folio[s.folio].swap}",
                (("swap", entry), ("folio", s.folio)),
            )


@invariant("S6")
def anon_vma_counts(st: "State") -> Iterator[Violation]:
    """num_active_vmas and num_children (or their sum, degree) equal what they count."""
    active = dict.fromkeys(st.anon_vma.indices(), 0)
    children = dict.fromkeys(active, 0)
    for vma in st.vma.indices():
        if st.vma[vma].anon_vma in active:
            active[st.vma[vma].anon_vma] += 1
    for anon_vma in active:
        parent = st.anon_vma[anon_vma].parent
        if parent in children:
            children[parent] += 1
    fields = st.scheme.fields["anon_vma"]
    for anon_vma, vmas in active.items():
        a = st.anon_vma[anon_vma]
        pairs = (
            [("degree", vmas + children[anon_vma], a.degree)]
            if "degree" in fields
            else [
                ("num_active_vmas", vmas, a.num_active_vmas),
                ("num_children", children[anon_vma], a.num_children),
            ]
        )
        for field, expected, value in pairs:
            if value != expected:
                yield Violation(
                    "anon_vma_counts",
                    f"A be anon_vma {anon_vma}, with {vmas} VMAs of its own and "
                    f"{children[anon_vma]} children (a root counts itself)",
                    f"A's {field} must be {expected}",
                    f"it is {value}",
                    (("anon_vma", anon_vma),),
                )


@invariant("S5")
def anon_vma_refcount(st: "State") -> Iterator[Violation]:
    """An anon_vma is referenced by its tree, and a root by each other member of its family."""
    family = dict.fromkeys(st.anon_vma.indices(), 0)
    for anon_vma in family:
        root = st.anon_vma[anon_vma].root
        if root != anon_vma and root in family:
            family[root] += 1
    for anon_vma, members in family.items():
        a = st.anon_vma[anon_vma]
        expected = members + (a.head != 0)
        if a.refcount != expected:
            yield Violation(
                "anon_vma_refcount",
                f"A be anon_vma {anon_vma}, root of {members} others",
                f"its refcount must be {expected}",
                f"it is {a.refcount}",
                (("anon_vma", anon_vma),),
            )
