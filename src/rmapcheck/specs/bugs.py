"""Seeded bugs in the logic; as in model/bugs, each is a single override.

`flaws` lists the operations and lemmas at which the proof must fail; all others must be proved.
B19 (growth) and missing locks (E05, E31) do not affect what holds between operations. B28 loses
merges but no page, so everything is proved about it, as about any scheme that merges less.
"""

from typing import ClassVar

from rmapcheck.logic import If, operation
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.spec import Flaws
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.anon_vma import AnonVma267
from rmapcheck.specs.anonmm import AnonMm
from rmapcheck.specs.anonmm_eras import AnonMmCopies
from rmapcheck.specs.avc_eras import MREMAP_MERGE, AvcList, AvcTree
from rmapcheck.specs.avc_reuse import AvcCounters, AvcDegree, AvcMerge
from rmapcheck.specs.pte_chain import PteChain
from rmapcheck.specs.vocabulary import Mm, St


class CopyFromImporter(AvcList):
    """vma_adjust() copied the chain of its own VMA, which is empty, not the exporter's."""

    name = "B01"
    title = "vma_adjust: fix the copying of anon_vma chains (287d97ac0321)"
    flaws: ClassVar[Flaws] = {
        **AvcList.flaws,
        "B01": (
            ("merge", "walk_complete"),
            ("merge", "coverage"),
            ("merge", "active_in_chain"),
            ("merge", "same_anon_vma_same_chain"),
            ("merge", "swap_cache_agrees"),
            ("merge", "ends_in_chain"),
            ("merge", "relatives_end_alike"),
        ),
    }

    def dup_chain(self, st: St, v: Expr, w: Expr, gets: Expr) -> None:
        """The importer, which has no chain yet, gets a copy of its own chain."""
        st.tail[v] = If(gets, st.tail(v), st.tail(v))


class NewestForShared(AvcList):
    """A page that was swapped in got the anon_vma of the process that faulted first."""

    name = "B02"
    title = "anonvma: we need to pick the _oldest_ anonvma (ea90002b0fa7)"
    flaws: ClassVar[Flaws] = {
        **AvcList.flaws,
        "B02": (("do_swap_page_shared", "swap_cache_agrees"),),
    }

    def is_oldest(self, st: St, v: Expr, r: Expr) -> Expr:
        return r == st.active(v)


class CloneForward(AvcList):
    """anon_vma_clone() went from head to tail, and so reversed the chain."""

    name = "B03"
    title = "anon_vma: clone the anon_vma chain in the right order (646d87b481da)"
    flaws: ClassVar[Flaws] = {
        **AvcList.flaws,
        "B03": (
            ("split", "ends_in_chain"),
            ("split", "chain_order"),
            ("split", "relatives_end_alike"),
            ("merge", "ends_in_chain"),
            ("merge", "chain_order"),
            ("merge", "relatives_end_alike"),
            ("mremap", "ends_in_chain"),
            ("mremap", "chain_order"),
            ("mremap", "relatives_end_alike"),
            ("fork_new", "ends_in_chain"),
            ("fork_new", "chain_order"),
            ("fork_new", "relatives_end_alike"),
        ),
    }

    def clone_order(self, st: St, v: Expr) -> tuple[Expr, Expr]:
        return st.head(v), st.tail(v)


class AdoptAnyNeighbour(AvcList):
    """A VMA adopted its neighbour's anon_vma even if the neighbour was a fork child."""

    name = "B04"
    title = "Simplify and comment on anon_vma re-use for anon_vma_prepare() (d0e9fe1758f2)"
    flaws: ClassVar[Flaws] = {
        **AvcList.flaws,
        "B04": (
            ("prepare_adopt", "same_anon_vma_same_chain"),
            ("prepare_adopt", "chain_order"),
        ),
    }

    def may_adopt(self, st: St, w: Expr) -> Expr:
        return st.faulted(w)


class DegreeUnderflow(AvcDegree):
    """A clone that ran out of memory uncounted a VMA that it had not counted."""

    name = "B21"
    title = "mm: fix anon_vma->degree underflow (3fe89b3e2a7b)"
    flaws: ClassVar[Flaws] = {**AvcDegree.flaws, "B21": (("clone_enomem", "degree"),)}

    def undo_clone(self, st: St, c: Expr) -> None:
        self.unlink_anon_vmas(st, c)


class DegreeAmbiguity(AvcCounters):
    """One count, degree, for children and VMAs together (v3.19 … v6.0-rc3)."""

    name = "B23"
    title = "mm/rmap: Fix anon_vma->degree ambiguity leading to double-reuse (2555283eb40d)"
    flaws: ClassVar[Flaws] = {
        **AvcCounters.flaws,
        "B23": (("fork_reuse", "same_anon_vma_same_chain"),),
    }

    def may_reuse(self, st: St, a: Expr, own: Expr) -> Expr:
        """num_children + num_active_vmas < 2."""
        children, active = st.num_children, st.num_active_vmas
        return (a != own) & (
            (children.is_zero(a) & active.at_most_one(a))
            | (children.at_most_one(a) & active.is_zero(a))
        )


class OneSidedMerge(AvcMerge):
    """Only the neighbour's chain was checked, so half of the merges were refused."""

    name = "B28"
    title = "mm/vma: fix incorrectly disallowed anonymous VMA merges (879bca0a2c4f)"

    def may_take_over(self, st: St, v: Expr, w: Expr) -> Expr:
        return AvcTree.may_take_over(self, st, v, w)

    def may_take_copy(self, st: St, v: Expr, w: Expr) -> Expr:
        return AvcTree.may_take_copy(self, st, v, w)


class UnfaultedMremapMerge(AvcMerge):
    """mremap merged faulted pages into a never-faulted VMA, which stayed without anon_vma."""

    name = "B29"
    title = "mm/vma: fix anon_vma UAF on mremap() faulted, unfaulted merge (61f67c230a5e)"
    flaws: ClassVar[Flaws] = {
        "B29": (*MREMAP_MERGE, ("mremap_merge", "relatives_have_one_root")),
    }

    def inherits_copied_from(self) -> bool:
        return False


class ZapBeforeRemove(PteChain):
    """page_remove_rmap() read the page's number from an entry that zap_pte_range() had cleared."""

    name = "E01"
    title = "urgent rmap bugfix (fc563f53a880)"
    flaws: ClassVar[Flaws] = {"E01": (("zap", "chain_equals_ptes"),)}

    def rmap_zap(self, st: St, gone: Macro) -> None:
        """The number that it reads is 0; as there is no page 0, it returns immediately."""


class ContextFails(AnonMmCopies):
    """A fork that failed in init_new_context() left the child's anonmm, without the child."""

    name = "E32"
    title = "never fixed as such; anonmm was dropped"
    flaws: ClassVar[Flaws] = {
        **AnonMmCopies.flaws,
        "E32": (("dup_mm_enomem", "changes_nothing"), ("dup_mm_enomem", "anonmm_count")),
    }

    @operation(changes=False)
    def dup_mm_enomem(self, st: St, m: Mm, c: Mm, a: AnonMm) -> None:
        """copy_mm() frees the child's mm without exit_rmap()."""
        self.dup_mm(st, m, c, a)
        st.mm_live[c] = False


class MprotectForgets(AnonVma267):
    """mprotect moved pages into a never-faulted VMA, which stayed without anon_vma."""

    name = "E02"
    title = "mprotect propagate anon_vma (d84672c45e)"
