"""Mutants: predictors with one wrong rule. The oracle must detect each of them."""

from tests.oracle.file_mutants import FILE_MUTANTS
from tests.oracle.planting import Mutant

AVC = "rmapcheck.model.schemes.anon_vma_chain:AvcBase."
DECISIONS = "rmapcheck.model.scheme:Scheme."
ROOT = "rmapcheck.model.schemes.anon_vma_root:AvcRoot."
REUSE = "rmapcheck.model.schemes.anon_vma_reuse:AvcCounters."
MERGE = "rmapcheck.model.schemes.anon_vma_reuse:AvcMerge."
MM = "rmapcheck.model.mm."


MUTANTS = (
    # anon_vma_prepare(): which neighbour's anon_vma is adopted.
    Mutant(
        "adoption looks at the VMA before first",
        AVC + "find_mergeable_anon_vma",
        "near = v.vm_next\n",
        "before = st.mm[v.vm_mm].mmap\n"
        "        while before and st.vma[before].vm_next != vma:\n"
        "            before = st.vma[before].vm_next\n"
        "        if before:\n"
        "            anon_vma = self.reusable_anon_vma(st, before, before, vma)\n"
        "            if anon_vma:\n"
        "                return anon_vma\n"
        "        near = v.vm_next\n",
    ),
    Mutant(
        "a fork child's anon_vma is adopted too",
        AVC + "reusable_anon_vma",
        "if anon_vma and chain_is_singular(st, old):",
        "if anon_vma:",
    ),
    Mutant(
        "no anon_vma is adopted from the next VMA",
        AVC + "find_mergeable_anon_vma",
        "near = v.vm_next",
        "near = 0",
    ),
    Mutant(
        "no anon_vma is adopted from the VMA before",
        AVC + "find_mergeable_anon_vma",
        "return self.reusable_anon_vma(st, near, near, vma)",
        "return 0",
    ),
    # anon_vma_fork(), anon_vma_clone(): reuse.
    Mutant(
        "one count for children and VMAs (CVE-2022-42703)",
        REUSE + "may_reuse",
        "idle: bool = a.num_children < 2 and a.num_active_vmas == 0",
        "own_counts = st.anon_vma[anon_vma].root == anon_vma\n"
        "        idle = anon_vma != own and a.num_children - own_counts + a.num_active_vmas < 2",
    ),
    Mutant(
        "fork never reuses an anon_vma",
        REUSE + "may_reuse",
        "a.num_children < 2 and",
        "False and",
    ),
    Mutant(
        "fork reuses an anon_vma with two children",
        REUSE + "may_reuse",
        "a.num_children < 2 and",
        "a.num_children < 3 and",
    ),
    Mutant(
        "fork reuses an anon_vma that a VMA has for its own",
        REUSE + "may_reuse",
        "and a.num_active_vmas == 0",
        "and a.num_active_vmas < 2 and anon_vma != own",
    ),
    Mutant(
        "fork reuses the youngest idle ancestor",
        "rmapcheck.model.schemes.anon_vma_reuse:AvcDegree.consider_reuse",
        "if st.vma[dst].anon_vma == 0 and self",
        "if self",
    ),
    Mutant(
        "a clone turns the chain round",
        AVC + "clone_nth",
        "return length - 1 - i",
        "return i",
        tier="L2",
    ),
    Mutant(
        "a new anon_vma is not a child of the parent's",
        REUSE + "count_child",
        "num_children += 1",
        "num_children += 0",
    ),
    Mutant(
        "an anon_vma that goes leaves its parent's count",
        REUSE + "uncount_child",
        "num_children -= 1",
        "num_children -= 0",
    ),
    Mutant(
        "an unlinked VMA leaves the active count",
        ROOT + "unlink_anon_vmas",
        "self.count_active(st, st.vma[vma].anon_vma, -1)",
        "pass",
    ),
    Mutant(
        "a split enters one anon_vma only",
        MM + "vma:split_vma",
        "if st.scheme.anon_vma_clone(st, new, vma, VMA_OP_SPLIT):",
        "cut = st.anon_vma_chain[v.anon_vma_chain].same_vma if v.anon_vma_chain else 0\n"
        "    if v.anon_vma_chain:\n"
        "        st.anon_vma_chain[v.anon_vma_chain].same_vma = 0\n"
        "    failed = st.scheme.anon_vma_clone(st, new, vma, VMA_OP_SPLIT)\n"
        "    if v.anon_vma_chain:\n"
        "        st.anon_vma_chain[v.anon_vma_chain].same_vma = cut\n"
        "    if failed:",
    ),
    # is_mergeable_anon_vma(), and which chain a merged VMA gets.
    Mutant(
        "both sides join although they do not agree",
        AVC + "are_anon_vmas_compatible",
        "return a == 0 or b == 0 or a == b",
        "return True",
    ),
    Mutant(
        "a fork child takes a never-faulted range",
        MERGE + "is_mergeable_anon_vma",
        "if self.is_fork_child(st, tgt):",
        "if False:",
    ),
    Mutant(
        "a never-faulted neighbour takes a fork child's range",
        MERGE + "is_mergeable_anon_vma",
        "if self.is_fork_child(st, middle):",
        "if False:",
    ),
    Mutant(
        "a never-faulted neighbour takes what a fork child moves",
        MERGE + "is_mergeable_anon_vma",
        "if self.era.asks_copied_from and self.is_fork_child(st, copied_from):",
        "if False:",
    ),
    Mutant(
        "only never-faulted ranges join a faulted neighbour (before v6.16)",
        MERGE + "is_mergeable_anon_vma",
        'a never-faulted neighbour takes faulted pages")\n            return True',
        'not this")\n            return False',
    ),
    Mutant(
        "VMAs with different anon_vmas join",
        MERGE + "is_mergeable_anon_vma",
        "return other == anon_vma",
        "return True",
    ),
    Mutant(
        "case 6 takes the middle's chain first",
        DECISIONS + "merge_source",
        "return next_ if st.vma[next_].anon_vma else middle",
        "return middle",
    ),
    Mutant(
        "merging ignores vm_pgoff",
        MM + "vma_merge:can_vma_merge_right",
        "if st.vma[following].vm_pgoff != vmg.pgoff + vmg.end - vmg.start:",
        "if False:",
    ),
    # mprotect, madvise, mremap.
    Mutant(
        "mprotect does not charge",
        MM + "mmap:mprotect_fixup",
        "flags |= VM_ACCOUNT",
        "pass",
    ),
    Mutant(
        "mprotect does not uncharge (before v6.3)",
        MM + "mmap:mprotect_fixup",
        "flags &= ~VM_ACCOUNT",
        "pass",
    ),
    Mutant(
        "mremap keeps the vm_pgoff of a never-faulted VMA",
        MM + "mremap:copy_vma",
        "pgoff = to\n",
        "pass\n",
    ),
    Mutant(
        "mremap fits the vm_pgoff of a faulted VMA",
        MM + "mremap:copy_vma",
        "if v.anon_vma == 0 and v.vm_file == 0:",
        "if v.vm_file == 0:",
    ),
    Mutant(
        "DONTUNMAP of a whole VMA leaves its anon_vma",
        MM + "mremap:dontunmap_complete",
        "st.scheme.unlink_anon_vmas(st, vma)",
        "pass",
    ),
    Mutant(
        "DONTUNMAP of a part takes its anon_vma",
        DECISIONS + "dontunmap_unlinks",
        "st.vma[vma].vm_start == start and st.vma[vma].vm_end == start + length",
        "st.vma[vma].vm_start == start",
    ),
    Mutant(
        "madvise stops at a hole",
        MM + "mmap:madvise_flags",
        "if vma == 0 or st.vma[vma].vm_start >= end:",
        "if vma == 0 or st.vma[vma].vm_start > start:",
    ),
    # fork.
    Mutant(
        "fork copies the entries of never-faulted VMAs",
        AVC + "fork_copies",
        "return st.vma[pvma].anon_vma != 0",
        "return True",
    ),
    Mutant(
        "fork leaves PageAnonExclusive",
        MM + "fork:copy_present_page",
        "st.folio[folio].exclusive = 0",
        "pass",
    ),
    Mutant(
        "fork copies a VMA that is not to be copied",
        MM + "fork:dup_mmap",
        "if st.vma[mpnt].vm_flags & VM_DONTCOPY:",
        "if False:",
    ),
    Mutant(
        "fork gives a wiped VMA its parent's anon_vma",
        MM + "fork:dup_vma",
        "if st.vma[tmp].vm_flags & VM_WIPEONFORK:",
        "if False:",
    ),
    # Faults and swap.
    Mutant(
        "a write copies a page that is no longer shared",
        DECISIONS + "is_only_user",
        "return f.refcount <= (2 if f.swap else 1)",
        "return False",
    ),
    Mutant(
        "a reused page is not marked exclusive",
        MM + "fault:wp_can_reuse_anon_folio",
        "f.exclusive = 1",
        "pass",
    ),
    Mutant(
        "a read brings a page of its own",
        MM + "fault:do_anonymous_page",
        "if not write:",
        "if False:",
    ),
    Mutant(
        "a swap entry forgets that its page was exclusive",
        MM + "fault:do_swap_page",
        "exclusive = bool(p.flags & PTE_EXCLUSIVE)",
        "exclusive = False",
        tier="swap",
    ),
    Mutant(
        "a page written to stays in the swap cache",
        MM + "fault:should_try_to_free_swap",
        "if write and st.scheme.is_only_user(st, folio):",
        "if False:",
        tier="swap",
    ),
    Mutant(
        "fork leaves a swap entry exclusive",
        MM + "fork:copy_one_pte",
        "src.flags &= ~PTE_EXCLUSIVE",
        "pass",
        tier="swap",
    ),
    *FILE_MUTANTS,
)
