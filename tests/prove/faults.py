"""Faults for specs that were in no kernel; each overrides one decision."""

from rmapcheck.logic import exists, forall
from rmapcheck.specs.anon_vma import AnonVmaList
from rmapcheck.specs.anonmm_eras import AnonMmChains, AnonMmCopies, AnonMmSwapIn
from rmapcheck.specs.avc_reuse import AvcCounters, AvcMerge, AvcPublish
from rmapcheck.specs.objrmap import PartialObjrmap, SearchedObjrmap
from rmapcheck.specs.pte_chain import PteChain
from rmapcheck.specs.vocabulary import Address, Vma


class ForkWithoutClone(AvcCounters):
    def fork_chain(self, st, v, c):
        pass


class ForkClonesActiveOnly(AvcCounters):
    def fork_chain(self, st, v, c):
        st.avc[c] = lambda a: a == st.active(v)


class ForkWithoutOwn(AvcCounters):
    def fork_own(self, st, c, n):
        st.faulted[c] = True
        st.active[c] = n


class MremapNewPgoff(AvcCounters):
    def keeps_pgoff(self, st, v):
        return False


class SplitActiveOnly(AvcCounters):
    def vma_split(self, st, v, w):
        st.avc[w] = lambda a: st.faulted(v) & (a == st.active(v))
        st.faulted[w] = st.faulted(v)
        st.active[w] = st.active(v)
        self.count_active(st, w)


class MergeAny(AvcCounters):
    def is_mergeable(self, st, v, w):
        return True


class FaultWithoutPrepare(AvcCounters):
    def may_fault(self, st, v):
        return True


class FreeEagerly(AvcCounters):
    def put_anon_vmas(self, st, emptied):
        super().put_anon_vmas(st, emptied)

    def unlink_anon_vmas(self, st, v):
        st.anon_vma = lambda a: st.anon_vma(a) & ~st.avc(v, a)
        super().unlink_anon_vmas(st, v)


class MoveSharedPage(AvcCounters):
    def sole(self, st, v, x, p):
        return True


class MoveSwappedPage(AvcCounters):
    def sole(self, st, v, x, p):
        return forall(Vma, Address, lambda w, y: st.pte(w, y, p) >> ((w == v) & (y == x)))


class ForgottenDecrement(AvcCounters):
    def uncount_active(self, st, v):
        pass


class ForgottenChild(AvcCounters):
    def uncount_emptied(self, st, emptied):
        pass


class DoubleIncrement(AvcCounters):
    def count_child(self, st, n, a):
        st.num_children.inc(a, n)
        st.num_children.inc(a, n)


class WrongParentCounted(AvcCounters):
    def join_family(self, st, v, c, n):
        super().join_family(st, v, c, n)
        st.num_children.inc(n, n)


class RootNotHeld(AvcCounters):
    def join_family(self, st, v, c, n):
        st.root[n] = lambda r: st.root(st.active(v), r)
        st.anon_refcount.inc(n, n)
        st.parent[n] = lambda b: b == st.active(v)
        self.count_child(st, n, st.active(v))


class CleanupUnlinks(AvcPublish):
    def undo_clone(self, st, c):
        self.unlink_anon_vmas(st, c)


class DupLeftBehind(AvcMerge):
    def undo_dup(self, st, v):
        pass


class StackKnownByNewOffsets(AvcCounters):
    def known_at(self, st, v, x):
        return st.pgoff(v, x)


class ZapForgetsSwap(AvcCounters):
    def clear_swap(self, st, gone):
        st.swap_map.sub(Vma, Address, gone)


class RetakenTwice(AvcMerge):
    def undo_dup(self, st, v):
        self.uncount_active(st, v)
        super().undo_dup(st, v)


class ForkForgetsMapcount(AvcCounters):
    def copy_entries(self, st, v, c, K):  # noqa: N803 - a set
        add = self.rmap_add
        self.rmap_add = lambda *_: None
        super().copy_entries(st, v, c, K)
        self.rmap_add = add


class TruncateByOneFile(AvcCounters):
    def copy_file(self, st, v, w):
        st.file_vma[w] = st.file_vma(v)
        st.vm_file[w] = st.vm_file(v)


class ChainNotCopied(PteChain):
    def rmap_move(self, st, v, w, moves):
        pass


class NonlinearIgnored(PartialObjrmap):
    def converts(self):
        return False


class MarkNotCopied(SearchedObjrmap):
    def copy_file(self, st, v, w):
        super().copy_file(st, v, w)
        st.nonlinear[w] = False


class MarkForgotten(SearchedObjrmap):
    def may_remap(self, st, v, x, p):
        return True


class UnlinkFrees(AnonVmaList):
    def frees(self, st, v, a):
        return exists(Vma, lambda w: w == v)


class ForkOwnAnonVma(AnonVmaList):
    def dup_vma(self, st, v, c, m):
        super().dup_vma(st, v, c, m)
        st.faulted[c] = False


class MremapShared(AnonMmCopies):
    def may_move(self, st, v, x):
        return True


class MremapForgetsSwap(AnonMmSwapIn):
    def may_move(self, st, v, x):
        return self.alone(st, v, x)


class MremapForgetsIndex(AnonMmCopies):
    def move_rmap(self, st, v, x, y):
        pass


class MremapForgetsOthers(AnonMmChains):
    def elsewhere(self, st, v, x, p):
        return self.chained(st, p)


class SwapInForgetsAddress(AnonMmChains):
    def folio_add_anon_rmap(self, st, p, v, x):
        self.set_anon(st, p, v, x)


class TurnUncounted(AnonMmSwapIn):
    def turn_page(self, st, p, v):
        st.mapping[p] = st.of_mm(st.mm(v))


class CopyingForgotten(AnonMmCopies):
    def at_rest(self, st, v):
        return ~st.temporary_stack(v)


class ForkOutOfBundle(AnonMmCopies):
    def copies_in_bundle(self):
        return False


CELLS = {
    ForkWithoutClone: {("fork_new", "coverage"), ("fork_new", "chain_ancestors")},
    ForkClonesActiveOnly: {("fork_new", "coverage"), ("fork_new", "chain_ancestors")},
    ForkWithoutOwn: {("fork_new", "active_in_chain")},
    MremapNewPgoff: {("mremap", "coverage_index"), ("mremap_merge", "coverage_index")},
    SplitActiveOnly: {("split", "coverage"), ("split", "same_anon_vma_same_chain")},
    MergeAny: {("merge", "coverage")},
    FaultWithoutPrepare: {("fault", "coverage"), ("cow", "coverage")},
    FreeEagerly: {("remove_vma", "avc_alive"), ("remove_vma", "mapping_alive")},
    MoveSharedPage: {("wp_reuse", "coverage")},
    MoveSwappedPage: {("wp_reuse", "swap_cache_agrees")},
    ForgottenDecrement: {("remove_vma", "num_active_vmas"), ("dontunmap", "num_active_vmas")},
    ForgottenChild: {("remove_vma", "num_children"), ("dontunmap", "num_children")},
    DoubleIncrement: {("prepare_new", "num_children"), ("fork_new", "num_children")},
    WrongParentCounted: {("fork_new", "num_children")},
    RootNotHeld: {("fork_new", "anon_refcount")},
    CleanupUnlinks: {("clone_enomem", "num_active_vmas")},
    DupLeftBehind: {("merge_enomem", "changes_nothing")},
    StackKnownByNewOffsets: {("exec_grow", "swap_cache_agrees")},
    ZapForgetsSwap: {("zap", "swap_map"), ("exec_move", "vma_sane")},
    RetakenTwice: {("merge_enomem", "num_active_vmas")},
    ForkForgetsMapcount: {("fork_new", "mapcount"), ("fork_reuse", "mapcount")},
    TruncateByOneFile: {("fork_new", "i_mmap_exact"), ("split", "i_mmap_exact")},
    ChainNotCopied: {("mremap", "chain_equals_ptes"), ("split", "chain_equals_ptes")},
    NonlinearIgnored: {("remap_file_pages", "file_coverage")},
    MarkNotCopied: {
        (copy, lemma)
        for copy in ("split", "fork", "mremap")
        for lemma in ("file_coverage", "walk_complete")
    },
    MarkForgotten: {
        ("remap_file_pages", "file_coverage"),
        ("remap_file_pages", "walk_complete"),
    },
    UnlinkFrees: {("remove_vma", "anon_vma_list"), ("remove_vma", "mapping_alive")},
    ForkOwnAnonVma: {("fork", "coverage")},
    MremapShared: {("move_one_page", "at_virtual")},
    MremapForgetsSwap: {("move_one_page", "swap_at_one_address")},
    MremapForgetsIndex: {("move_one_page", "at_virtual")},
    MremapForgetsOthers: {("move_one_page", "at_virtual")},
    SwapInForgetsAddress: {("do_swap_page", "at_virtual")},
    TurnUncounted: {("wp_reuse", "anonmm_count")},
    CopyingForgotten: {("fork", "at_virtual"), ("split", "at_virtual")},
    ForkOutOfBundle: {("fork", "in_bundle")},
}
"""Fault → the cells that fail; only the operations of these cells are proved."""
