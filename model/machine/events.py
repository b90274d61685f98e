"""Events: what the machine tells an observer at its linearisation points.

A system call is many steps to a proof: munmap() splits VMAs, clears entries one by one and takes
VMAs away. `tell` marks the moment at which one such step has taken effect as a whole, so that an
observer may compare the state with that of the event before, and ask whether a specification
allows the step between (rmapcheck.prove.refinement.refine). Without an observer it does nothing,
and the compiled search leaves it out.

Each event names the numbers of the objects that it is about::

    begin, end  mm                            an operation, by that process
    exec_mm     mm                            a new image, without VMAs yet
    dup_mm      mm, oldmm                     a child, without VMAs yet
    exit_mm     mm                            the process is gone
    mmap        vma                           a new VMA over a free range
    expand      vma, gone                     `vma` grew over a free range (and swallowed `gone`)
    split       vma, new
    merge       vma, middle, gone             `vma` took over (part of) `middle`, and `gone`
    munmap      vma                           after its entries were zapped one by one
    zap         vma, ptep, folio, swap        an entry was cleared
    free_page   folio                         its last reference has gone
    prepare     vma                           it has an anon_vma now, if it had none
    fault       vma, ptep, folio, old         `folio` is mapped, in place of `old` (0: of nothing)
    reuse       vma, folio                    a write fault claims the page
    fork        vma, pvma                     the child's copy, entries and all
    fork_pte    ptep, old_ptep, folio         one entry of it
    copy        vma, new                      copy_vma() made a VMA for mremap, or grew one
    move_pte    ptep, new_ptep, folio
    move        vma, new_vma, start, to       all entries have moved, or back again
    dontunmap   vma                           MREMAP_DONTUNMAP left the whole VMA without pages
    exec_move   vma                           the new image's stack has moved down
    add_to_swap folio, swap
    unmap       ptep, folio, swap             reclaim replaced an entry
    swap_out    folio, swap                   the walk of reclaim is over
    swap_in     vma, ptep, folio, swap        an entry of `swap` maps `folio` again
    copy_fails  vma, ptep, folio              for the copy that should follow there is no memory
    found       ptep, folio                   page_referenced() has seen that the entry maps it
    cache_add   folio                         a page of a file is in the page cache
    file_fault  vma, ptep, folio              an entry maps it
    nonlinear   vma                           a page of its file may be anywhere in it from now on
    convert     folio                         page_convert_anon() has been called for it
    reclaim     folio                         the walk that unmaps it is over
    cache_del   folio                         it has left the page cache
"""

from collections.abc import Callable
from typing import Protocol


class Observed(Protocol):
    """A state, as far as its observer is concerned."""

    observer: Callable[..., None] | None


def tell(st: Observed, event: str, a: int, b: int = 0, c: int = 0, d: int = 0) -> None:
    """Tell the state's observer, if there is one, that `event` has taken effect."""
    if st.observer is not None:
        st.observer(st, event, a, b, c, d)
