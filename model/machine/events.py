"""Events: moments at which a step of the machine has taken effect, for an observer.

To a proof, a system call is many steps: munmap() splits VMAs, clears entries one by one and frees
VMAs. A call of `tell` marks the moment at which one such step has taken effect as a whole (its
linearisation point). There an observer can compare the state with the one at the previous event,
and check whether a specification allows the step (rmapcheck.prove.refinement.refine). Without an
observer `tell` does nothing, and the compiled search leaves it out.

The arguments of an event are the numbers of its objects::

    begin, end  mm                            an operation of that process
    exec_mm     mm                            a new image, without VMAs yet
    dup_mm      mm, oldmm                     a child, without VMAs yet
    exit_mm     mm                            the process is gone
    mmap        vma                           a new VMA over a free range
    expand      vma, gone                     `vma` grew over a free range (and absorbed `gone`)
    split       vma, new
    merge       vma, middle, gone             `vma` took over (part of) `middle`, and `gone`
    munmap      vma                           after its entries were zapped one by one
    zap         vma, ptep, folio, swap        an entry was cleared
    free_page   folio                         its last reference was dropped
    prepare     vma                           it has an anon_vma now, if it had none
    fault       vma, ptep, folio, old         `folio` is mapped and replaces `old` (0: nothing)
    reuse       vma, folio                    a write fault reuses the page
    fork        vma, pvma                     the child's copy, with its entries
    fork_pte    ptep, old_ptep, folio         one entry of that copy
    copy        vma, new                      copy_vma() made a VMA for mremap, or grew one
    move_pte    ptep, new_ptep, folio
    move        vma, new_vma, start, to       all entries were moved, or were moved back
    dontunmap   vma                           MREMAP_DONTUNMAP left the whole VMA without pages
    exec_move   vma                           the stack of the new image was moved down
    add_to_swap folio, swap
    unmap       ptep, folio, swap             reclaim replaced an entry
    swap_out    folio, swap                   the walk of reclaim is over
    swap_in     vma, ptep, folio, swap        an entry of `swap` maps `folio` again
    copy_fails  vma, ptep, folio              there is no memory for the copy that should follow
    found       ptep, folio                   page_referenced() saw that the entry maps it
    cache_add   folio                         a file's page is in the page cache
    file_fault  vma, ptep, folio              an entry maps it
    nonlinear   vma                           from now on it may map its file's pages in any order
    convert     folio                         page_convert_anon() was called for it
    reclaim     folio                         the walk that unmaps it is over
    cache_del   folio                         it has left the page cache
"""

from collections.abc import Callable
from typing import Protocol


class Observed(Protocol):
    """The part of a state that has its observer."""

    observer: Callable[..., None] | None


def tell(st: Observed, event: str, a: int, b: int = 0, c: int = 0, d: int = 0) -> None:
    """Report to the state's observer, if there is one, that `event` has taken effect."""
    if st.observer is not None:
        st.observer(st, event, a, b, c, d)
