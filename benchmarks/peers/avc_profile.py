"""The AVC profile: the part of our model that the peers implement, and how it is searched.

It is avc-6.0 in a scope with the operations of the peers: mmap of free pages, write, fork, exit,
munmap, and mremap to free pages. VMAs do not merge, and do not adopt a neighbour's anon_vma. Brute
force numbers processes, pages and anon_vmas, as the peers do; in the peers, a VMA and an AVC are
only places in lists.
"""

from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.schemes.anon_vma_reuse import AvcCounters
from rmapcheck.search.auto import engine_for
from rmapcheck.search.question import Answer, Limits, Question

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

OPS = ("mmap_free", "write", "fork", "exit", "munmap", "mremap_move")
NAMED = ("mm", "folio", "anon_vma")
INVARIANTS = (
    "vma_sane",
    "coverage",
    "mapping_alive",
    "no_dangling",
    "active_in_chain",
    "anon_vma_lifetime",
    "mapcount",
    "anon_vma_counts",
)
"""Our invariants for I1 … I4 of the peers."""


class AvcProfile(AvcCounters):
    """avc-6.0 without merging of VMAs and without adoption of anon_vmas."""

    name = "avc-profile"
    title = "avc-6.0 without merging and adoption"

    def is_mergeable_anon_vma(
        self, st: "Kernel", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        return False

    def reusable_anon_vma(self, st: "Kernel", old: int, a: int, b: int) -> int:
        return 0


@attrs.frozen
class Bounds:
    """The numbers of processes, pages of an address space, page frames and anon_vmas."""

    mms: int
    pages: int
    folios: int
    anon_vmas: int

    def __str__(self) -> str:
        return f"{self.mms},{self.pages},{self.folios},{self.anon_vmas}"

    def scope(self) -> Scope:
        """Return the scope, with more VMAs and AVCs than any step can need."""
        vmas = 2 * self.mms * self.pages + 2
        return Scope(
            mms=self.mms,
            pages=self.pages,
            vmas=vmas,
            folios=self.folios,
            swaps=0,
            objects=vmas * self.anon_vmas,
            anon_vmas=self.anon_vmas,
            protections=1,
            ops=OPS,
        )


def question(bounds: Bounds, *, symmetry: bool) -> Question:
    """Return the question for an engine."""
    named, target = () if symmetry else NAMED, ",".join(INVARIANTS)
    return Question(AvcProfile, bounds.scope(), named=named, target=target)


def search(bounds: Bounds, *, symmetry: bool, engine: str = "native") -> Answer:
    """Search all states of the profile."""
    asked = question(bounds, symmetry=symmetry)
    return engine_for(asked, engine).answer(asked, Limits())


def counts(done: Answer) -> tuple[int, int]:
    """Return the numbers of states and transitions; steps without enough objects do not count."""
    if not set(done.cut) <= {"folio", "anon_vma"}:
        raise ValueError(f"the scope has too few {', '.join(done.cut)}")
    return done.distinct, done.generated - sum(done.cut.values())
