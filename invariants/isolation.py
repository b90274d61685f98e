"""Does every process see only its own memory, and does a failed call leave it unchanged?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mappers_of, place
from rmapcheck.invariants.registry import Step, Violation, invariant, step_invariant
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.state import folio_test_anon, pte_offset, ptep_to_address, ptep_to_mm
from rmapcheck.model.machine.structs import PTE_WRITE, PTE_ZERO, VM_SHARED
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant("universal#cow-isolation", universal=True)
def cow_isolation(st: "Kernel") -> Iterator[Violation]:
    """A page that one entry may write to is in no other entry, present or swapped.

    This is for anonymous pages. Only a shared mapping may write to a page of a file.
    """
    for ptep in range(1, st.pte.size + 1):
        p = st.pte[ptep]
        if not p.flags & PTE_WRITE:
            continue
        if p.folio and not folio_test_anon(st, p.folio):
            yield from private_to_file(st, ptep)
            continue
        swap = st.folio[p.folio].swap if p.folio else 0
        others = [e for e in mappers_of(st, p.folio) if e != ptep] if p.folio else []
        if swap:
            others += [e for e in range(1, st.pte.size + 1) if st.pte[e].swap == swap]
        if others or not p.folio:
            yield Violation(
                f"e be the writable entry of {place(st, ptep)}",
                "e must map a page that no other entry has",
                f"{place(st, others[0])} has it too" if others else "it maps the zero page",
                (("pte", ptep),),
            )


def private_to_file(st: "Kernel", ptep: int) -> Iterator[Violation]:
    """Yield a violation if a private mapping can write to the page of the file itself."""
    mm = ptep_to_mm(st, ptep)
    vma = vma_lookup(st, mm, ptep_to_address(st, ptep)) if st.mm.is_live(mm) else 0
    if vma and not st.vma[vma].vm_flags & VM_SHARED:
        yield Violation(
            f"e be the writable entry of {place(st, ptep)}, in the private VMA {vma}",
            "e must map a copy of the file's page",
            f"it maps the page itself, folio {st.pte[ptep].folio}",
            (("pte", ptep), ("vma", vma)),
        )


@invariant(
    "avc#exclusive",
    relies=(
        "do_wp_page() reuses a page with PageAnonExclusive without looking at its "
        "counts (6c287605fd56)"
    ),
)
def exclusive_once(st: "Kernel") -> Iterator[Violation]:
    """A page with PageAnonExclusive is mapped by one entry; a writable page has that flag."""
    for folio in st.folio.indices():
        if not folio_test_anon(st, folio):
            continue
        pteps = mappers_of(st, folio)
        exclusive = st.folio[folio].exclusive
        writable = any(st.pte[p].flags & PTE_WRITE for p in pteps)
        if (exclusive and len(pteps) != 1) or (writable and not exclusive):
            yield Violation(
                f"f be folio {folio}, PageAnonExclusive {exclusive}, mapped {len(pteps)} times",
                "exclusive means one mapping, and a writable mapping means exclusive",
                "it is writable and not exclusive"
                if writable and not exclusive
                else f"it has {len(pteps)} mappings",
                (("folio", folio),),
            )


def projection(st: "Kernel") -> list[tuple[int, int, int, int, int]]:
    """Return what processes can see: for each page, the flags of its VMA and its content."""
    seen: list[tuple[int, int, int, int, int]] = []
    for mm in st.mm.indices():
        flags = [-1] * st.pages
        vma = st.mm[mm].mmap
        while vma:
            v = st.vma[vma]
            for address in range(v.vm_start, v.vm_end):
                flags[address] = v.vm_flags
            vma = v.vm_next
        for address in range(st.pages):
            p = st.pte[pte_offset(st, mm, address)]
            seen.append((mm, flags[address], p.folio, p.swap, p.flags & PTE_ZERO))
    return seen


@step_invariant("universal#failure-atomic")
def failure_atomicity(st: "Kernel", step: Step) -> Iterator[Violation]:
    """If fork or brk returns -ENOMEM, the memory of every process is as it was before."""
    if step.before is not None and step.outcome.error == -ENOMEM:
        after = projection(st)
        if after != step.before:
            yield Violation(
                f"o be {step.op}, which returned -ENOMEM",
                "every page and VMA must be as before o",
                "they differ",
            )
