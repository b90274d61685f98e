"""Era: how the MM core of one kernel generation behaved, besides its rmap; and rows of eras.

A scheme is composed of a *design* (the class: how pages are found), an *era* (this file: plain
data, which the MM core of model/mm reads as `st.scheme.era.…`) and a *container* for the VMAs of a
file (`Scheme.i_mmap`). Kernels that differ from a design only in data are not classes, but rows of
its table, `Scheme.rows`. The predictor for running kernels changes an era by version rules
(src/rmapcheck/oracle).
"""

import attrs


@attrs.frozen(kw_only=True)
class Era:
    """Facts about one kernel generation, by which model/mm and the operations decide."""

    kernels: str = ""
    """First and last kernel, as in "v2.6.34 … v2.6.35"."""
    flaws: tuple[str, ...] = ()
    """Bugs of the corpus that these kernels had as released. A search of a wide enough scope is
    expected to find them."""
    lacks: tuple[str, ...] = ()
    """Features that these kernels did not have: exec_shift, dontfork, wipeonfork, dontunmap,
    punch_hole, remap_file_pages, page_referenced, try_to_unmap."""

    end_unlocked: bool = False
    """A VMA that only grows at its end grows without the lock of its anon_vma (252c5f94d94)."""
    mremap_many: bool = False
    """mremap() moves ranges that span several VMAs (d23cb648e365, v6.17)."""
    mremap_checks_first: bool = True
    """An mremap() that moves checks everything before it unmaps anything, and first of all that
    the two places do not overlap (v6.17; v6.1 does not). Only the predictor for running kernels
    needs this: searches leave out an mremap() that fails."""
    mmap_asks_both: bool = True
    """mmap() lets either neighbour grow over the new range, and merges all three if both
    neighbours agree (v6.12). Before, the lower neighbour had to fit the anon_vma of the upper one
    (v6.1)."""
    growth_joins: bool = False
    """mremap() that grows a VMA in place also joins it to the VMA behind; vma_merge_extend()
    (ca3d76b0aa80, v6.1). Before, vma_adjust() moved the end, and joined nothing."""
    brk_only_expands: bool = False
    """brk() can only grow the VMA below (2e7ce7d354f2, v6.1). Before, it merged as mmap()."""
    mprotect_unaccounts: bool = False
    """mprotect() clears VM_ACCOUNT of a never-faulted VMA that becomes read-only (v6.3)."""
    inherits_copied_from: bool = False
    """A merge of the copy that mremap makes gives the source's anon_vma to a never-faulted
    neighbour (61f67c230a5e, v6.19)."""
    asks_copied_from: bool = True
    """A never-faulted neighbour takes the copy that mremap makes only if the source is not a fork
    child (3b617fd3d317, v6.19, v6.18.8; recalled). This came later in the same release than
    `inherits_copied_from`."""
    anon_exclusive: bool = False
    """Pages carry PageAnonExclusive (6c287605fd56, v5.19)."""
    locked_frees_slot: bool = False
    """Swap-in into a VMA with VM_LOCKED tries to free the slot (v2.6.28, b291f000393f,
    recalled)."""
    swap_in_writable: bool = False
    """Swap-in maps a page that only this process has writable, even for a read, if the VMA permits
    writing (c18160dba5ff, v6.11)."""
    wipe_prepares: bool = False
    """Fork prepares an anon_vma for a VMA with VM_WIPEONFORK, as if the child's VMA stood between
    the neighbours of the parent's (d2cd9ede6e19, v4.14; until 93949bb21bf1, v5.7; both
    recalled)."""
    links_vma_first: bool = True
    """dup_mmap() links the child's VMA before it copies the entries (6f5995073d, v2.6.4)."""
    truncates_nonlinear: bool = True
    """Truncation searches nonlinear VMAs page by page (66d25df0b1, v2.6.6)."""
    locks_i_mmap_to_adjust: bool = True
    """The lock of i_mmap is held while a VMA's range changes (069e01553a, v2.6.0-test9)."""
    fault_around: bool = False
    """A read fault also maps the pages around it that are in the page cache (8c6e50b0290c, v3.15).
    Searches leave this out, because single faults reach the same states. The predictor for running
    kernels has it."""
    cow_prepares_first: bool = False
    """A write fault on a private range of a file prepares the anon_vma before it looks up the
    page, which may be beyond the end of the file (1d65f86db148, v3.1, recalled). Searches leave
    this out too."""

    def facts(self) -> "Era":
        """Return the era without its labels: what the behaviour of the machine depends on.

        `lacks` is a label as well, because it removes operations and changes none.
        """
        return attrs.evolve(self, kernels="", flaws=(), lacks=())


@attrs.frozen
class Row:
    """Kernels that differ from a design only in data, under a name of their own."""

    name: str
    title: str
    doc: str
    """What changed, with its commit; the docstring of the row."""
    era: Era
