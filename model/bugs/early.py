"""Bugs of pte_chain and anon_vma, 2002 … 2011. Each override is the whole bug."""

from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.state import ptep_to_address, ptep_to_mm
from rmapcheck.model.mm.virtual_scan import locked
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.scheme import Bug
from rmapcheck.model.schemes.anon_vma import AnonVma268
from rmapcheck.model.schemes.anon_vma_eras import AnonVma2618, AnonVma2628
from rmapcheck.model.schemes.pte_chain import PteChainArray, PteChainChunks, PteChainList
from rmapcheck.model.schemes.rmap_speedup import RmapSpeedup
from rmapcheck.model.schemes.virtual_scan import VirtualScan

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class ZapBeforeRemove(PteChainList):
    """page_remove_rmap() read the page's number from an entry that zap_pte_range() had cleared.

    A cleared entry means page 0. Where page 0 does not exist, which is everywhere but on x86, the
    function returned at once and left its pointer in the chain.
    """

    name = "E01"
    bug = Bug(
        id="E01",
        title="urgent rmap bugfix",
        introduced="c48c43e6ed41",
        fixed="fc563f53a880",
        violates="chain_equals_ptes",
        evidence="verified; the fix's hash is that of the mirror dmgerman/history-token",
        scope={"mms": 2, "pages": 1, "ops": ["mmap", "munmap", "fault", "fork"]},
        steps=4,
        setup=1,
    )

    def pfn_valid(self, st: "State", ptep: int) -> bool:
        # The only place where a scheme reads page tables: that was the bug. try_to_unmap(), which
        # has written a swap entry by now, did not use this path.
        return st.pte[ptep].folio != 0 or st.pte[ptep].swap != 0


class MprotectForgets(AnonVma268):
    """mprotect moved pages into a never-faulted VMA, which stayed without anon_vma."""

    name = "E02"
    bug = Bug(
        id="E02",
        title="mprotect propagate anon_vma",
        introduced="8aa3448cabdf",
        fixed="d84672c45e",
        violates="coverage",
        evidence="verified; the fix's hash is that of the mirror dmgerman/history-token",
        scope={"mms": 1, "pages": 3, "ops": ["mmap", "mprotect", "fault"]},
        steps=4,
        setup=1,
    )

    def importer(self, dst: int) -> int:
        return 0


class LosesTheLocked(PteChainList):
    """try_to_unmap() continued after an entry that it could not unmap, and lost its node.

    The loop remembered the node before the present one only if it had to try again. After the node
    of a locked page, the next node to be removed was cut out together with it.
    """

    name = "E03"
    bug = Bug(
        id="E03",
        title="rmap bugfix, try_to_unmap",
        introduced="4250169826",
        fixed="905ad7445b14",
        violates="chain_equals_ptes",
        evidence="the patch as mailed (linux-kernel, 2002-08-12), which lays it to PG_direct, is "
        "verified; the hashes are those of the mirror dmgerman/history-token",
        scope={
            "mms": 2,
            "pages": 1,
            "premapped": 1,
            "ops": ["fault", "fork", "swap", "mlock"],
        },
        steps=4,
    )

    def chain_remove(self, st: "State", folio: int, ptep: int) -> None:
        # In try_to_unmap() the entry has a swap entry by now.
        if st.folio[folio].direct or st.pte[ptep].swap == 0:
            super().chain_remove(st, folio, ptep)
            return
        kept = 0
        node = st.folio[folio].pte_chain
        while node and st.pte_chain[node].ptep != ptep:
            if not self.left_alone(st, st.pte_chain[node].ptep):
                kept = node
            node = st.pte_chain[node].next
        if kept:
            st.pte_chain[kept].next = st.pte_chain[node].next
        else:
            st.folio[folio].pte_chain = st.pte_chain[node].next
        kmem_cache_free(st, st.pte_chain, node)
        self.make_direct(st, folio)

    def left_alone(self, st: "State", ptep: int) -> bool:
        """Return whether try_to_unmap_one() has just failed on an entry: SWAP_FAIL."""
        return locked(st, vma_lookup(st, ptep_to_mm(st, ptep), ptep_to_address(st, ptep)))


class MergeWithUnfaulted(AnonVma2618):
    """mremap merged faulted pages into a never-faulted VMA, which stayed without anon_vma.

    Nothing is overridden: v2.6.7 … v2.6.39 were like that, and no report of it is known. It was
    fixed as a side effect, when VMAs with empty chains stopped merging. A later rule allowed these
    merges again, and the hole came back as B29, CVE-2026-23077.
    """

    name = "E04"
    bug = Bug(
        id="E04",
        title="never fixed as such; closed by: mmap: avoid merging cloned VMAs",
        introduced="8aa3448cabdf",
        fixed="965f55dea0e3",
        violates="coverage",
        evidence="found by reading v2.6.7, v2.6.13, v2.6.34 and v2.6.39",
        scope={"mms": 1, "pages": 3, "ops": ["mmap", "fault", "mremap"]},
        steps=5,
    )


class AdoptUnlocked(AnonVma268):
    """A VMA was inserted into its neighbour's list without the lock that relatives use for it."""

    name = "E05"
    bug = Bug(
        id="E05",
        title="anon_vma list locking bug",
        introduced="8aa3448cabdf",
        fixed="b6815589d6aa",
        violates="lock_discipline",
        evidence="verified; the fix's hash is that of the mirror dmgerman/history-token",
        scope={"mms": 1, "pages": 2, "ops": ["mmap", "mprotect", "fault"]},
        steps=5,
        setup=1,
    )

    def locks_adopted(self) -> bool:
        return False


class AllocatesUnderLocks(PteChainChunks):
    """page_add_rmap() allocated its pte_chain under two spinlocks, where it could not fail.

    Nothing is overridden: v2.5.27 … v2.5.54 were like that. The first kernels called panic(), the
    later ones used the NULL pointer that they got.
    """

    name = "E06"
    bug = Bug(
        id="E06",
        title="set up rmap allocation in the callers of page_add_rmap()",
        introduced="c48c43e6ed41",
        fixed="7aebf77c5959",
        violates="kernel_bug",
        evidence="verified; the fix's hash is that of the mirror dmgerman/history-token, its "
        "title is recalled",
        scope={
            "mms": 2,
            "pages": 1,
            "premapped": 1,
            "alloc_fail": True,
            "ops": ["fault", "fork"],
        },
        steps=2,
    )


class DupMmapTree(PteChainArray):
    """dup_mmap() filled the child's entries while its tree of VMAs was still the parent's copy.

    Reclaim that met such an entry called find_vma() for the child, under page_table_lock, and got
    the parent's VMA, which it cached for the child. That breaks
    pte_chain#consistent-when-unlocked. In the model, a VMA that is not linked yet stands for one
    that is not in the tree yet.
    """

    name = "E07"
    era = attrs.evolve(PteChainArray.era, links_vma_first=False)
    bug = Bug(
        id="E07",
        title="vma corruption fix",
        introduced="c48c43e6ed41",
        fixed="6f5995073d",
        violates="lock_discipline",
        evidence="verified; the fix's hash is that of the mirror dmgerman/history-token",
        scope={"mms": 2, "pages": 1, "premapped": 1, "ops": ["fault", "fork"]},
        steps=2,
    )


class SwapMmLeftBehind(VirtualScan):
    """A process exited while swap_mm pointed to it, and the scan continued from freed memory."""

    name = "E08"
    bug = Bug(
        id="E08",
        title="2.4.14 + Bug in swap_out",
        introduced="v2.4.13",
        fixed="v2.4.16",
        violates="mmlist",
        evidence="the report (linux-mm, 2001-11-20, m1vgg41x3x.fsf@frodo.biederman.org) and "
        "mmput() of v2.4.18 are verified; the releases between are recalled",
        scope={"mms": 2, "pages": 1, "ops": ["fork", "exit", "swap"]},
        steps=2,
    )

    def swap_mm_moves_on(self, st: "State") -> bool:
        return False


class LosesNodes(RmapSpeedup):
    """For each entry of the zero page, fork allocated a node that was never freed.

    copy_page_range() of the patch passes its own node to add_rmap_nolock(), which returns at once
    for a reserved page.
    """

    name = "E09"
    bug = Bug(
        id="E09",
        title="[PATCH] Rmap speedup, as posted; never reported, never merged",
        introduced="E17aiJv-0007cr-00@starship",
        fixed="by not being merged",
        violates="no_leak",
        evidence="found by reading the patch as posted",
        scope={"mms": 2, "pages": 1, "premapped": 1, "ops": ["fault", "fork"]},
        steps=2,
    )

    def dup_zero_page(self, st: "State") -> None:
        self.grab_nodes(st)
        self.local_node(st)


class FreshUnlocked(AnonVma2628):
    """A VMA was inserted into a new anon_vma without its lock, which a walker may still hold.

    anon_vmas come from a slab whose objects may be reused while a walker still uses them as the
    anon_vma that they were before.
    """

    name = "E71"
    bug = Bug(
        id="E71",
        title="anon_vma_prepare: properly lock even newly allocated entries",
        introduced="dce79555f4",
        fixed="d9d332e0874f",
        violates="lock_discipline",
        evidence="recalled",
        scope={"mms": 1, "pages": 1, "ops": ["mmap", "fault"]},
        steps=2,
    )

    def locks_fresh(self) -> bool:
        return False
