"""A small MM in the logic: what all schemes share. Hooks have the same names as in `Scheme`.

The symbols, whose tables the abstraction of a model state must fill:

    Vma, Mm, Address, Pgoff, Folio, Swap, Inode    (an address is a page number in one process)

    vma(v)                the struct is allocated and linked into its process (or about to be)
    mm(v)                 vma->vm_mm                                     has a meaning if vma(v)
    covers(v, x)          vm_start <= x < vm_end: any set of addresses, not only an interval
    pgoff(v, x)           linear_page_index(v, x)                     if covers(v, x)
    folio(p)              the struct is allocated
    pte(v, x, p)          the entry of x in v's process maps p, and v covers x
    swap_pte(v, x, s)     that entry holds swap slot s
    swap(s)               the slot is in use
    swap_cache(s, p)      p is the swap-cache folio of s
    anon(p)               folio->mapping has been set to an rmap object (PageAnon)
    index(p)              folio->index                                   if anon(p) or file(p)
    file(p), inode(p)     p is in the page cache of an inode
    file_vma(v), vm_file(v)   v maps a file
    i_mmap(f, v)          v is in the inode's i_mmap
    temporary_stack(v)    between the two halves of shift_arg_pages()
    origin(v, x)          pgoff(v, x) before its first half            if temporary_stack(v)

Page tables are indexed by VMA. That is equivalent to indexing by process, because VMAs of one
process do not overlap (`vmas_disjoint`). The operations are the methods marked @operation in
`address_spaces.py` and `machine.py`. Each is one step on one VMA, at the moment when the kernel
drops its lock. An operation of the model may be a sequence of these (exit: zap and remove_vma of
each VMA).

Left out: intervals and their order, permissions, huge pages, locks and races, KSM, migration.
"""

from typing import Any

from rmapcheck.logic import (
    If,
    Sort,
    Spec,
    counts,
    forall,
    function,
    invariant,
    relation,
)
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import TRUE, Expr

St = Any
"""A working state: its attributes are the symbols below."""


class Vma(Sort):
    """struct vm_area_struct."""


class Mm(Sort):
    """struct mm_struct, a process."""


class Address(Sort):
    """A page number in an address space."""


class Pgoff(Sort):
    """A page offset, vma->vm_pgoff or folio->index."""


class Folio(Sort):
    """struct folio (struct page) of one page."""


class Swap(Sort):
    """A swap slot."""


class Inode(Sort):
    """A file: struct address_space of an inode."""


class Vocabulary(Spec):
    """The symbols, the hooks of a scheme, and the lemmas about the machine itself."""

    live = {Vma: "vma", Folio: "folio", Swap: "swap"}  # noqa: RUF012 - never changed

    vma = relation(Vma)
    covers = relation(Vma, Address)
    mm = function(Vma, Mm, where=lambda st, v: st.vma(v))
    pgoff = function(Vma, Address, Pgoff, where=lambda st, v, x: st.covers(v, x))
    temporary_stack = relation(Vma)
    origin = function(Vma, Address, Pgoff, where=lambda st, v, x: st.temporary_stack(v))  # noqa: ARG005
    folio = relation(Folio)
    pte = relation(Vma, Address, Folio)
    swap = relation(Swap)
    swap_pte = relation(Vma, Address, Swap)
    swap_cache = relation(Swap, Folio)
    anon = relation(Folio)
    index = function(Folio, Pgoff, where=lambda st, p: st.anon(p) | st.file(p))
    file = relation(Folio)
    inode = function(Folio, Inode, where=lambda st, p: st.file(p))
    file_vma = relation(Vma)
    vm_file = function(Vma, Inode, where=lambda st, v: st.file_vma(v))
    i_mmap = relation(Inode, Vma)

    refcount = counts(
        Vma,
        Address,
        lambda st, v, x, p: st.pte(v, x, p),
        Swap,
        lambda st, s, p: st.swap_cache(s, p),
        Inode,
        lambda st, f, p: st.file(p) & (st.inode(p) == f),
        per=Folio,
        alive="folio",
        doc="folio_ref_count(): entries, swap cache, page cache",
    )
    swap_map = counts(
        Vma,
        Address,
        lambda st, v, x, s: st.swap_pte(v, x, s),
        per=Swap,
        alive="swap",
        doc="swap_map[]: swap entries that name the slot",
    )

    def linear(self, st: St, v: Expr, p: Expr) -> Expr:
        """Return whether the rmap finds file page p in v only at its linear place."""
        return TRUE

    # Hooks, which schemes override. `new` and `gone` are sets of (VMA, address, folio).

    def folio_add_new_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """A new folio is mapped for the first time."""
        st.anon[p] = True
        st.index[p] = self.index_at(st, v, x)

    def index_at(self, st: St, v: Expr, x: Expr) -> Expr:
        """Return the index of an anonymous page at x in v."""
        return st.pgoff(v, x)

    def rmap_add(self, st: St, new: Macro) -> None:
        """Entries have been set."""

    def rmap_remove(self, st: St, gone: Macro) -> None:
        """Entries have been cleared."""

    def rmap_zap(self, st: St, gone: Macro) -> None:
        """zap_pte_range() has cleared entries."""
        self.rmap_remove(st, gone)

    def rmap_move(self, st: St, v: Expr, w: Expr, moves: Macro) -> None:
        """The entries of v at x have moved to w at y where moves(x, y)."""

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """A folio from the swap cache is mapped, perhaps not only here."""
        st.anon[p] = True
        st.index[p] = self.index_at(st, v, x)

    def folio_move_anon_rmap(self, st: St, p: Expr, v: Expr) -> None:
        """A write fault reuses the folio, which only one entry maps."""

    def may_fault(self, st: St, v: Expr) -> Expr | bool:
        """Return whether an anonymous page may be mapped in v: anon_vma_prepare() was called."""
        return True

    def vma_split(self, st: St, v: Expr, w: Expr) -> None:
        """w becomes a part of v, or the copy that mremap makes (anon_vma_clone)."""

    def is_mergeable(self, st: St, v: Expr, w: Expr) -> Expr | bool:
        """Return whether v may take over a part of w (is_mergeable_anon_vma)."""
        return True

    def may_merge_copy(self, st: St, v: Expr, w: Expr) -> Expr | bool:
        """Return whether v may grow over the place to which mremap moves w."""
        return self.is_mergeable(st, v, w)

    def vma_merge(self, st: St, v: Expr, w: Expr, whole: Expr) -> None:
        """v is about to take over a part of w, or the whole (dup_anon_vma)."""

    def vma_merge_copy(self, st: St, v: Expr, w: Expr) -> None:
        """v is about to take over what mremap moves from w (dup_anon_vma)."""

    def vma_remove(self, st: St, v: Expr) -> None:
        """v, which has no entries left, is about to be freed (unlink_anon_vmas)."""

    def keeps_pgoff(self, st: St, v: Expr) -> Expr | bool:
        """Return whether mremap keeps vm_pgoff; a never-faulted VMA gets that of its new place."""
        return True

    def anon_found(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr | bool:
        """Return whether rmap_walk of the anonymous folio p visits x in v."""
        return False

    def finds(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr:
        """Return whether rmap_walk of p visits x in v; rmap_walk_file() by i_mmap."""
        there = st.covers(v, x) & (st.pgoff(v, x) == st.index(p))
        by_file = st.file(p) & st.i_mmap(st.inode(p), v) & there
        return by_file | (st.anon(p) & self.anon_found(st, p, v, x))

    def known_at(self, st: St, v: Expr, x: Expr) -> Expr:
        """Return the index of the page of x in v: the offset before shift_arg_pages() began."""
        return If(st.temporary_stack(v), st.origin(v, x), st.pgoff(v, x))

    def at_rest(self, st: St, v: Expr) -> Expr:
        """Return whether no step on v is half done."""
        moving: Expr = st.temporary_stack(v)
        return ~moving

    def may_miss(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr:
        """Return whether rmap_walk of p may miss x in v, because a step there is half done."""
        missed: Expr = st.temporary_stack(v)
        return missed

    # Lemmas about the machine itself.

    @invariant
    def vma_sane(self, st: St) -> Expr:
        """Only an allocated VMA covers addresses, and its entries are at these addresses."""
        return forall(
            Vma,
            Address,
            Folio,
            Swap,
            lambda v, x, p, s: (
                (st.covers(v, x) >> st.vma(v))
                & ((st.pte(v, x, p) | st.swap_pte(v, x, s)) >> st.covers(v, x))
            ),
        )

    @invariant
    def vmas_disjoint(self, st: St) -> Expr:
        """VMAs of one process do not overlap."""
        return forall(
            Vma,
            Vma,
            Address,
            lambda v, w, x: (
                (st.covers(v, x) & st.covers(w, x) & (st.mm(v) == st.mm(w))) >> (v == w)
            ),
        )

    @invariant
    def pgoff_one_to_one(self, st: St) -> Expr:
        """Two addresses of a VMA have different page offsets."""
        return forall(
            Vma,
            Address,
            Address,
            lambda v, x, y: (
                (st.covers(v, x) & st.covers(v, y) & (st.pgoff(v, x) == st.pgoff(v, y)))
                >> (x == y)
            ),
        )

    @invariant
    def entry_holds_one(self, st: St) -> Expr:
        """An entry maps one folio, or holds one swap slot, or is none."""
        return forall(
            Vma,
            Address,
            Folio,
            Folio,
            Swap,
            Swap,
            lambda v, x, p, q, s, t: (
                ((st.pte(v, x, p) & st.pte(v, x, q)) >> (p == q))
                & ((st.swap_pte(v, x, s) & st.swap_pte(v, x, t)) >> (s == t))
                & ~(st.pte(v, x, p) & st.swap_pte(v, x, s))
            ),
        )

    @invariant
    def mapped_is_live(self, st: St) -> Expr:
        """No entry, swap cache or page cache refers to a freed folio or slot."""
        return forall(
            Vma,
            Address,
            Folio,
            Swap,
            lambda v, x, p, s: (
                ((st.pte(v, x, p) | st.swap_cache(s, p) | st.file(p) | st.anon(p)) >> st.folio(p))
                & ((st.swap_pte(v, x, s) | st.swap_cache(s, p)) >> st.swap(s))
                & (st.pte(v, x, p) >> (st.anon(p) | st.file(p)))
            ),
        )

    @invariant
    def swap_cache_one_to_one(self, st: St) -> Expr:
        """A slot has one swap-cache folio, a folio has one slot, and no file page is in it."""
        return forall(
            Swap,
            Swap,
            Folio,
            Folio,
            lambda s, t, p, q: (
                ((st.swap_cache(s, p) & st.swap_cache(s, q)) >> (p == q))
                & ((st.swap_cache(s, p) & st.swap_cache(t, p)) >> (s == t))
                & (st.swap_cache(s, p) >> ~st.file(p))
                & ~(st.anon(p) & st.file(p))
            ),
        )

    @invariant
    def i_mmap_exact(self, st: St) -> Expr:
        """A VMA is in the i_mmap of its file, and of no other file (files#members)."""
        return forall(
            Inode,
            Vma,
            lambda f, v: st.i_mmap(f, v) == (st.vma(v) & st.file_vma(v) & (st.vm_file(v) == f)),
        )

    @invariant
    def file_coverage(self, st: St) -> Expr:
        """A file page is mapped in VMAs of its file only, at its linear place where required.

        Rule files#linear.
        """
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & st.file(p))
                >> (
                    st.file_vma(v)
                    & (st.vm_file(v) == st.inode(p))
                    & (self.linear(st, v, p) >> (st.pgoff(v, x) == st.index(p)))
                )
            ),
        )

    @invariant
    def walk_complete(self, st: St) -> Expr:
        """The rmap walk of a page visits every page-table entry that maps it.

        Rule universal#walk-complete.
        """
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & ~self.may_miss(st, v, x, p)) >> self.finds(st, p, v, x)
            ),
        )

    @invariant
    def stack_known_by_origin(self, st: St) -> Expr:
        """A temporary stack is anonymous, and its offsets were correct before it began to move."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                st.temporary_stack(v)
                >> (
                    st.vma(v)
                    & ~st.file_vma(v)
                    & (st.pte(v, x, p) >> (st.anon(p) & (st.origin(v, x) == st.index(p))))
                )
            ),
        )
