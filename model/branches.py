"""Branches: the names of the branches in the model's code that are recorded.

A function that takes such a branch records its name::

    passed(st, "copy on write")

`st.passed` lists the branches of the running operation until the next operation begins. Two
readers use it. A search checks which *goals* it has reached (invariants/goals.py), because a
search that reached none of them shows nothing. The live-kernel oracle counts which *rules* it has
compared with a kernel, and prefers steps that take rare branches (rmapcheck.oracle.rules). A
compiled search records goals only.

Branches are one of five records that a running operation leaves::

    st.passed               which branches it took          names
    tell(st, "split", …)    that a step has taken effect    objects, for an observer that reads
                                                            the state at that moment (events.py)
    st.nr_allocs, …         what it cost                    counters (cost.py)
    st.splats               what it did wrong with locks    sentences, each a violation (locks.py)
    st.exhausted            that the scope was too small    a pool; the step then does not count

`tell` is separate from `passed` for two reasons: a branch may be taken before anything has
changed, or when nothing will change (an mmap that may not merge); and one event may end many
branches.
"""

from typing import Protocol


class Passes(Protocol):
    """The part of a state that records branches."""

    passed: list[str]


def passed(st: Passes, branch: str) -> None:
    """Record that the running operation takes a branch, one of BRANCHES."""
    st.passed.append(branch)


# What every kernel since v6.16 does. The live-kernel oracle reports those it has not compared yet.

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

# What only older kernels do, or what the oracle does not compare.


NONLINEAR = (
    "a VMA becomes nonlinear",
    "a page is mapped off its linear place",
    "a page of a file is converted",
)
LOCKED_AND_SWAPOFF = (
    "a locked page stays mapped",
    "swapoff frees a slot",
)
SCANS = (
    "the scan unmaps a page",
    "the scan leaves a page mapped elsewhere",
    "the scan goes on by i_mmap",
)
PTE_CHAINS = (
    "a direct page gets a chain",
    "a chain becomes direct",
    "a chain of two",
    "a chunk is full",
    "a page has two chunks",
    "fork keeps the lock for the next page",
    "fork changes the lock on its way",
)
ANONMMS = (
    "mremap copies a shared page",
    "swap-in copies a moved page",
    "a page leaves an extinct process",
    "a page is at two addresses",
)
ANON_VMA_LISTS = ("a merge hands its anon_vma on",)
OUT_OF_MEMORY = ("mremap cannot unmap its source",)

TODAY = {
    "faults": FAULTS,
    "swap": SWAPPING,
    "fork": PROCESSES,
    "VMAs": MAPPINGS,
    "merges": MERGES,
    "mremap": MOVES,
    "anon_vmas": ANON_VMAS,
    "files": FILES,
    "files and swap": FILES_AND_SWAP,
}
"""The branches of today's kernels, by topic."""
BRANCHES = frozenset(
    branch
    for group in (
        *TODAY.values(),
        NONLINEAR,
        LOCKED_AND_SWAPOFF,
        SCANS,
        PTE_CHAINS,
        ANONMMS,
        ANON_VMA_LISTS,
        OUT_OF_MEMORY,
    )
    for branch in group
)
"""All branches."""
