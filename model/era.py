"""Era: what the MM core of one kernel generation did, beside its rmap; and rows of eras.

A scheme is a *design* (the class: how pages are found), an *era* (this file: plain data that the
MM core of model/mm asks as `st.scheme.era.…`) and a *container* for the VMAs of a file
(`Scheme.i_mmap`). Kernels that differ from a design in data alone are no classes but rows of its
table, `Scheme.rows`. The live-kernel predictor evolves an era by named version rules.
"""

import attrs


@attrs.frozen(kw_only=True)
class Era:
    """Facts about one kernel generation, by which model/mm and the operations decide."""

    kernels: str = ""
    """First and last kernel, as in "v2.6.34 … v2.6.35"."""
    flaws: tuple[str, ...] = ()
    """Bugs of the corpus that these kernels had as released, so that a scope wide enough is
    expected to show them."""
    lacks: tuple[str, ...] = ()
    """Features that these kernels did not have: exec_shift, dontfork, wipeonfork, dontunmap,
    punch_hole, remap_file_pages, page_referenced, try_to_unmap."""

    end_unlocked: bool = False
    """A VMA that only grows at its end does so without its anon_vma's lock (252c5f94d94)."""
    mremap_many: bool = False
    """mremap() moves ranges over several VMAs (d23cb648e365, v6.17)."""
    mremap_checks_first: bool = True
    """mremap() that moves checks everything before it unmaps anything, the two places first of all
    (v6.17; v6.1 does not). Searches leave out what fails, and need not know."""
    mmap_asks_both: bool = True
    """mmap() lets either neighbour grow over the new range, and then both if they agree (v6.12);
    before, the lower one had to fit the anon_vma of the upper one (v6.1)."""
    mprotect_unaccounts: bool = False
    """mprotect() takes VM_ACCOUNT from a never-faulted VMA made read-only (v6.3)."""
    inherits_copied_from: bool = False
    """A merge of mremap's copy gives the source's anon_vma to a never-faulted neighbour
    (61f67c230a5e, v6.19)."""
    asks_copied_from: bool = True
    """Before a never-faulted neighbour takes mremap's copy, its source must be no fork child's
    (3b617fd3d317, v6.19, v6.18.8; recalled). Later in one release than the symmetric merge."""
    anon_exclusive: bool = False
    """Pages carry PageAnonExclusive (6c287605fd56, v5.19)."""
    links_vma_first: bool = True
    """dup_mmap() links the child's VMA before it copies the entries (6f5995073d, v2.6.4)."""
    truncates_nonlinear: bool = True
    """Truncation looks through nonlinear VMAs page by page (66d25df0b1, v2.6.6)."""
    locks_i_mmap_to_adjust: bool = True
    """The lock of i_mmap is held while a VMA's range changes (069e01553a, v2.6.0-test9)."""
    fault_around: bool = False
    """A read fault maps what the page cache has around it (8c6e50b0290c, v3.15). Searches leave it
    out, since it adds no state that single faults do not; the live kernel's predictor does not."""
    cow_prepares_first: bool = False
    """A write fault on a private range of a file asks for its anon_vma before the page, which may
    be beyond the end (1d65f86db148, v3.1, recalled). Searches leave it out too."""

    def facts(self) -> "Era":
        """Return what the machine behaves by: the era without its labels.

        `lacks` is a label as well: it takes operations away and changes none.
        """
        return attrs.evolve(self, kernels="", flaws=(), lacks=())


@attrs.frozen
class Row:
    """Kernels that differ from a design in data alone, under a name of their own."""

    name: str
    title: str
    doc: str
    """What changed, with its commit; the docstring of the row."""
    era: Era
