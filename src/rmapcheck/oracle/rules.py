"""The rules: branches of the machine that a kernel developer would name, and how often they ran.

Model code records their names in `st.rules` and `st.reached`. Every rule listed here can be
reached in a run against a kernel of v6.16 or later. Tests compare the list with the code.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from rmapcheck.model.machine.structs import VM_WRITE
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations import Fork, Operation, Write

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

FAULTS = (
    "fault outside all VMAs",
    "fault that the protection forbids",
    "read fault maps the zero page",
    "first write",
    "write fault replaces the zero page",
    "copy on write",
    "write fault reuses an exclusive page",
    "write fault reuses",
)
SWAPPING = (
    "swap-in",
    "swap-in from disk",
    "swap-in from the swap cache",
    "swap-in of an exclusive page",
    "swap-in by a write takes the page over",
    "swap-in by a write finds the page shared",
    "write fault on a page of the swap cache",
    "a page leaves the swap cache",
    "swap-out of a shared page",
    "swap-out of an exclusive page",
    "swap-out of a page in the swap cache",
    "fork shares a swap slot",
    "zap of a swap entry",
)
PROCESSES = (
    "fork shares a page",
    "fork copies an entry of the zero page",
    "fork copies no entries of a never-faulted VMA",
    "fork leaves out a VMA",
    "fork wipes a VMA",
)
MAPPINGS = (
    "mmap makes a VMA",
    "munmap keeps the lower end of a VMA",
    "munmap keeps the upper end of a VMA",
    "zap of a page",
    "split",
    "mprotect changes nothing",
    "mprotect charges",
    "mprotect uncharges",
    "mprotect stops at a hole",
    "madvise meets a hole",
    "dontneed meets a hole",
)
MERGES = (
    *(f"merge case {number}" for number in range(1, 9)),
    "case 6 imports a chain",
    "merge imports a chain",
    "no merge: vm_flags",
    "no merge left: vm_pgoff",
    "no merge right: vm_pgoff",
    "no merge: anon_vmas differ",
    "no merge: the neighbour is a fork child",
    "no merge: the range is of a fork child",
    "no merge: the range is copied from a fork child",
    "a never-faulted neighbour takes faulted pages",
    "a faulted neighbour takes a never-faulted range",
    "a new range joins one side only: anon_vmas differ",
    "a middle joins one side only: anon_vmas differ",
)
MOVES = (
    "mremap of no VMA",
    "mremap refuses an overlap",
    "mremap refuses several VMAs",
    "mremap changes nothing",
    "mremap shrinks in place",
    "mremap grows in place",
    "mremap grows no range of several VMAs",
    "mremap finds no room to grow",
    "mremap moves and shrinks",
    "mremap moves several VMAs",
    "mremap moves the hole between VMAs",
    "mremap merges",
    "mremap keeps vm_pgoff",
    "mremap makes vm_pgoff fit the new place",
    "mremap keeps the old mapping",
    "dontunmap takes the anon_vma from a whole VMA",
)
ANON_VMAS = (
    "a root anon_vma is made",
    "neighbour's anon_vma adopted",
    "next's anon_vma adopted",
    "prev's anon_vma adopted",
    "no anon_vma adopted from a fork child",
    "chain of two cloned",
    "chain of three",
    "anon_vma reused at fork",
    "no reuse: a VMA has the anon_vma for its own",
    "no reuse: the anon_vma has two children",
    "an anon_vma goes",
    "a root anon_vma goes",
    "a root anon_vma outlives its VMAs",
)
BEYOND = "fault beyond the end of a file"
FILES = (
    BEYOND,
    "a read fault maps a page",
    "a read fault finds its page",
    "fault-around",
    "a write fault maps a page",
    "a write fault makes a shared entry writable",
    "a page of a file is copied",
    "copy on write of a page of a file",
    "fork shares a page of a file",
    "fork leaves a range of a file to faults",
    "truncation unmaps a page",
    "truncation takes a private copy",
    "a hole unmaps a page",
    "a hole leaves a private copy",
    "a file grows",
    "no merge: the files differ",
    "a new range of a file joins a neighbour",
    "a changed range of a file joins a neighbour",
    "mprotect leaves a range of a file charged",
    "madvise refuses to wipe a range of a file",
    "mremap moves a never-faulted range of a file",
)
FILES_AND_SWAP = (
    "truncation takes a private copy from swap",
    "a mapped page of a file is reclaimed",
)
CHOICES = (
    "both neighbours offer their anon_vma",
    "two idle anon_vmas in a chain that is forked",
)
"""Situations in which the order of checks decides. They are detected here, before the operation,
because model code stops at the first match."""
GROUPS = {
    "faults": FAULTS,
    "swap": SWAPPING,
    "fork": PROCESSES,
    "VMAs": MAPPINGS,
    "merges": MERGES,
    "mremap": MOVES,
    "anon_vmas": ANON_VMAS,
    "files": FILES,
    "files and swap": FILES_AND_SWAP,
    "order": CHOICES,
}
RULES: tuple[str, ...] = tuple(rule for group in GROUPS.values() for rule in group)


def rules_met(st: "Kernel") -> set[str]:
    """Return the rules that the last operation on `st` met."""
    return {*st.rules, *st.reached}


def choices(st: "Kernel", op: Operation) -> set[str]:
    """Return which of CHOICES `op` would meet in state `st`."""
    if isinstance(op, Write) and _two_offers(st, vma_lookup(st, op.mm, op.address)):
        return {CHOICES[0]}
    if isinstance(op, Fork) and any(_idle(st, vma) > 1 for vma in vmas_of(st, op.mm)):
        return {CHOICES[1]}
    return set()


def vmas_of(st: "Kernel", mm: int) -> list[int]:
    """Return the VMAs of a process, by address."""
    found = []
    vma = st.mm[mm].mmap if st.mm.is_live(mm) else 0
    while vma:
        found.append(vma)
        vma = st.vma[vma].vm_next
    return found


def _two_offers(st: "Kernel", vma: int) -> bool:
    """Return whether a VMA without an anon_vma has two neighbours that offer different ones."""
    if vma == 0 or st.vma[vma].anon_vma or not st.vma[vma].vm_flags & VM_WRITE:
        return False
    near = vmas_of(st, st.vma[vma].vm_mm)
    at = near.index(vma)
    if not 0 < at < len(near) - 1:
        return False
    before, behind = near[at - 1], near[at + 1]
    scheme: Any = st.scheme
    offers = {
        scheme.reusable_anon_vma(st, before, before, vma),
        scheme.reusable_anon_vma(st, behind, vma, behind),
    }
    return 0 not in offers and len(offers) == 2


def _idle(st: "Kernel", vma: int) -> int:
    """Return how many anon_vmas of the VMA's chain a fork could reuse."""
    count = 0
    avc = st.vma[vma].anon_vma_chain
    while avc:
        a = st.anon_vma[st.anon_vma_chain[avc].anon_vma]
        count += a.num_active_vmas == 0 and a.num_children < 2
        avc = st.anon_vma_chain[avc].same_vma
    return count


class Coverage(Counter[str]):
    """How often each rule was met in a run against the kernel.

    `swap` and `files` say whether these can be compared; `lacks` names other rules that cannot.
    """

    def __init__(self, *, swap: bool, files: bool = False, lacks: tuple[str, ...] = ()) -> None:
        super().__init__()
        never = {
            *lacks,
            *(() if swap else (*SWAPPING, *FILES_AND_SWAP)),
            *(() if files else (*FILES, *FILES_AND_SWAP)),
        }
        self.wanted = tuple(rule for rule in RULES if rule not in never)

    def missing(self) -> tuple[str, ...]:
        """Return the rules that were never met."""
        return tuple(rule for rule in self.wanted if not self[rule])

    def score(self, rules: set[str]) -> float:
        """Return a score for a step that meets these rules: rare rules count more."""
        return sum(1.0 / (1 + self[rule]) for rule in rules)
