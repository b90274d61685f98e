"""Bugs of the first anon_vma (RFC2, 2004-03-11).

Nothing is overridden: it was posted like this.
"""

from rmapcheck.model.scheme import Bug
from rmapcheck.model.schemes.anon_vma_rfc import AnonVmaRfc2

POSTED = "RFC2, 2004-03-11"
EVIDENCE = "derived from the mail of RFC2, which is recalled"


class SplitLosesPages(AnonVmaRfc2):
    """A page points to one VMA; when that is split, half of the pages point to the wrong part."""

    name = "E61"
    bug = Bug(
        id="E61",
        title="rmap 39 add anon_vma rmap: each VMA has its anon_vma from the first page on",
        introduced=POSTED,
        fixed="8aa3448cabdf",
        violates="walk_complete",
        evidence=EVIDENCE,
        scope={"mms": 1, "pages": 2, "premapped": 2, "ops": ["fault", "mprotect"]},
        steps=2,
    )


class MergeFreesTheVma(AnonVmaRfc2):
    """After a merge that frees the VMA to which pages point, they point to freed memory."""

    name = "E62"
    bug = Bug(
        id="E62",
        title="rmap 39 add anon_vma rmap: pages name the anon_vma, which outlives each VMA",
        introduced=POSTED,
        fixed="8aa3448cabdf",
        violates="no_dangling",
        evidence=EVIDENCE,
        scope={"mms": 1, "pages": 3, "ops": ["mmap", "fault"]},
        steps=4,
    )


class SecondSwapIn(AnonVmaRfc2):
    """The second process that swaps in a shared page stops the kernel with BUG()."""

    name = "E63"
    bug = Bug(
        id="E63",
        title="rmap 39 add anon_vma rmap: a second mapper must have the same anon_vma and index",
        introduced=POSTED,
        fixed="8aa3448cabdf",
        violates="kernel_bug",
        evidence=EVIDENCE,
        scope={"mms": 2, "pages": 1, "premapped": 1, "ops": ["fault", "fork", "swap"]},
        steps=5,
    )


class NeverFreed(AnonVmaRfc2):
    """An anon_vma is not freed when the last VMA has left its list."""

    name = "E64"
    bug = Bug(
        id="E64",
        title="rmap 39 add anon_vma rmap: anon_vma_unlink() frees what it leaves empty",
        introduced=POSTED,
        fixed="8aa3448cabdf",
        violates="no_leak",
        evidence=EVIDENCE,
        scope={"mms": 2, "pages": 1, "premapped": 1, "ops": ["fork", "exit", "munmap"]},
        steps=3,
    )
