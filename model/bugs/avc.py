"""Bugs of anon_vma_chain, 2010 … 2026. Each override is the whole bug."""

from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.machine.state import anon_vma_compatible
from rmapcheck.model.scheme import Bug
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList
from rmapcheck.model.schemes.anon_vma_reuse import AvcCounters, AvcDegree, AvcMerge

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class CopyFromImporter(AvcList):
    """vma_adjust() copied the chain of its own VMA, which is empty, not the exporter's."""

    name = "B01"
    bug = Bug(
        id="B01",
        title="vma_adjust: fix the copying of anon_vma chains",
        introduced="5beb49305251",
        fixed="287d97ac0321",
        violates="active_in_chain",
        scope={"mms": 1, "pages": 2, "ops": ["mmap", "mprotect", "fault"]},
        steps=4,
        setup=1,
    )

    def adjust_source(self, exporter: int, adjusted: int) -> int:
        return adjusted


class NewestForShared(AvcList):
    """A page that came back from swap went to the anon_vma of the first process that mapped it."""

    name = "B02"
    bug = Bug(
        id="B02",
        title="anonvma: when setting up page->mapping, we need to pick the _oldest_ anonvma",
        introduced="5beb49305251",
        fixed="ea90002b0fa7",
        violates="coverage",
        scope={"mms": 2, "pages": 1, "ops": ["mmap", "fault", "fork", "swap"]},
        steps=6,
        setup=1,
    )

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        return st.vma[vma].anon_vma


class CloneForward(AvcList):
    """anon_vma_clone() copied from head to tail, and so reversed the chain."""

    name = "B03"
    bug = Bug(
        id="B03",
        title="anon_vma: clone the anon_vma chain in the right order",
        introduced="5beb49305251",
        fixed="646d87b481da",
        violates="walk_complete",
        scope={"mms": 3, "pages": 1, "ops": ["mmap", "fault", "fork", "swap"]},
        steps=7,
        setup=1,
    )

    def clone_nth(self, length: int, i: int) -> int:
        return i


class AdoptAnyNeighbour(AvcList):
    """A VMA adopted its neighbour's anon_vma although that neighbour had inherited more."""

    name = "B04"
    bug = Bug(
        id="B04",
        title="Simplify and comment on anon_vma re-use for anon_vma_prepare()",
        introduced="5beb49305251",
        fixed="d0e9fe1758f2",
        violates="walk_complete",
        scope={
            "mms": 2,
            "pages": 2,
            "premapped": 2,
            "protections": 4,
            "ops": ["mprotect", "fault", "fork"],
        },
        steps=5,
    )

    def reusable_anon_vma(self, st: "State", old: int, a: int, b: int) -> int:
        return st.vma[old].anon_vma if anon_vma_compatible(st, a, b) else 0


class EndlessGrowth(AvcDegree):
    """Every fork allocated a new anon_vma, so that a chain of forks grew without limit."""

    name = "B19"
    bug = Bug(
        id="B19",
        title="mm: prevent endless growth of anon_vma hierarchy",
        introduced="5beb49305251",
        fixed="7a3ef208e662",
        violates="bounded_chain",
        scope={"mms": 2, "pages": 1, "objects": 60, "ops": ["mmap", "fault", "fork", "exit"]},
        steps=11,
        setup=2,
    )

    def may_reuse(self, st: "State", anon_vma: int, own: int) -> bool:
        return False


class DegreeUnderflow(AvcDegree):
    """A clone that ran out of memory uncounted a VMA that it had not counted."""

    name = "B21"
    bug = Bug(
        id="B21",
        title="mm: fix anon_vma->degree underflow in anon_vma endless growing prevention",
        introduced="7a3ef208e662",
        fixed="3fe89b3e2a7b",
        violates="anon_vma_counts",
        scope={
            "mms": 1,
            "pages": 2,
            "alloc_fail": True,
            "ops": ["mmap", "munmap", "mprotect", "fault"],
        },
        steps=3,
        setup=2,
    )

    def undo_clone(self, st: "State", dst: int) -> None:
        self.unlink_anon_vmas(st, dst)


class DegreeAmbiguity(AvcCounters):
    """One count, degree, for children and VMAs together (v3.19 … v6.0-rc3)."""

    name = "B23"
    bug = Bug(
        id="B23",
        title="mm/rmap: Fix anon_vma->degree ambiguity leading to double-reuse",
        introduced="7a3ef208e662",
        fixed="2555283eb40d",
        cve="CVE-2022-42703",
        violates="same_anon_vma_same_chain",
        scope={
            "mms": 3,
            "pages": 2,
            "premapped": 2,
            "vmas": 8,
            "folios": 1,
            "swaps": 0,
            "objects": 40,
            "ops": ["mprotect", "fault", "fork", "exit"],
        },
        steps=11,
        setup=1,
    )

    def may_reuse(self, st: "State", anon_vma: int, own: int) -> bool:
        degree = st.anon_vma[anon_vma].num_children + st.anon_vma[anon_vma].num_active_vmas
        return anon_vma != own and degree < 2


class OneSidedMerge(AvcMerge):
    """Only the neighbour's chain was checked, so half of the possible merges were refused."""

    name = "B28"
    bug = Bug(
        id="B28",
        title="mm/vma: fix incorrectly disallowed anonymous VMA merges",
        introduced="965f55dea0e3",
        fixed="879bca0a2c4f",
        violates="merge_symmetric",
        scope={"mms": 1, "pages": 2, "ops": ["mmap", "mprotect", "fault"]},
        steps=3,
        setup=1,
    )

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        return AvcCounters.is_mergeable_anon_vma(self, st, tgt, anon_vma, middle, copied_from)


class UnfaultedMremapMerge(AvcMerge):
    """mremap merged faulted pages into a never-faulted VMA, which stayed without anon_vma."""

    name = "B29"
    era = attrs.evolve(AvcMerge.era, inherits_copied_from=False)
    bug = Bug(
        id="B29",
        title="mm/vma: fix anon_vma UAF on mremap() faulted, unfaulted merge",
        introduced="879bca0a2c4f",
        fixed="61f67c230a5e",
        cve="CVE-2026-23077",
        violates="coverage",
        scope={"mms": 1, "pages": 3, "ops": ["mmap", "fault", "mremap"]},
        steps=5,
    )
