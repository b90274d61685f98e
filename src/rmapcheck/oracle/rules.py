"""The rules: branches of the machine that a kernel developer would name, and how often they ran.

Those that a run against a kernel of v6.16 or later can meet are declared, with all others, in
model/branches.py.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from rmapcheck.model.branches import FILES, FILES_AND_SWAP, SWAPPING, TODAY
from rmapcheck.model.machine.structs import VM_WRITE
from rmapcheck.model.maps import vmas_of
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations import Fork, Operation, Write

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

CHOICES = (
    "both neighbours offer their anon_vma",
    "two idle anon_vmas in a chain that is forked",
)
"""Situations in which the order of checks decides. They are detected here, before the operation,
because model code stops at the first match."""
GROUPS = {**TODAY, "order": CHOICES}
RULES: tuple[str, ...] = tuple(rule for group in GROUPS.values() for rule in group)


def rules_met(st: "Kernel") -> set[str]:
    """Return the rules that the last operation on `st` met."""
    return set(st.passed)


def choices(st: "Kernel", op: Operation) -> set[str]:
    """Return which of CHOICES `op` would meet in state `st`."""
    if isinstance(op, Write) and _two_offers(st, vma_lookup(st, op.mm, op.address)):
        return {CHOICES[0]}
    if isinstance(op, Fork) and any(_idle(st, vma) > 1 for vma in vmas_of(st, op.mm)):
        return {CHOICES[1]}
    return set()


def _two_offers(st: "Kernel", vma: int) -> bool:
    """Return whether a VMA without an anon_vma has two neighbours that offer different ones."""
    if vma == 0 or st.vma[vma].anon_vma or not st.vma[vma].vm_flags & VM_WRITE:
        return False
    near = vmas_of(st, st.vma[vma].vm_mm)
    at = near.index(vma)
    if not 0 < at < len(near) - 1:
        return False
    before, following = near[at - 1], near[at + 1]
    scheme: Any = st.scheme
    offers = {
        scheme.reusable_anon_vma(st, before, before, vma),
        scheme.reusable_anon_vma(st, following, vma, following),
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
