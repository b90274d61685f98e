"""The operations on VMAs in the logic; `vocabulary.py` explains the symbols.

Parameters that are sets, functions or relations::

    C         the addresses concerned
    I         their page offsets
    R(x, y)   the entry of x moves to y
    K         the addresses whose entries are copied

The operations follow model/mm: each stands for the end of the function that it names.
"""

from rmapcheck.logic import Function, If, Predicate, define, exists, forall, operation
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.vocabulary import (
    Address,
    Folio,
    Inode,
    Mm,
    Pgoff,
    St,
    Swap,
    Vma,
    Vocabulary,
)


class AddressSpaces(Vocabulary):
    """VMAs and their entries: mmap, munmap, split, merge, fork, mremap."""

    # Page-table entries.

    def set_entries(self, st: St, new: Macro) -> None:
        """Set entries that were none: they map folios now."""
        st.pte = lambda v, x, p: st.pte(v, x, p) | new(v, x, p)
        st.refcount.add(Vma, Address, lambda v, x, p: new(v, x, p))

    def set_entry(self, st: St, v: Expr, x: Expr, p: Expr) -> Macro:
        """Set one entry, which maps p now; return it as a set."""
        new = define(Vma, Address, Folio, lambda w, y, q: (w == v) & (y == x) & (q == p))
        self.set_entries(st, new)
        return new

    def clear_entries(self, st: St, gone: Macro, *, zap: bool = False) -> None:
        """Clear entries; folio_remove_rmap() and folio_put() of each."""
        st.pte = lambda v, x, p: st.pte(v, x, p) & ~gone(v, x, p)
        if zap:
            self.rmap_zap(st, gone)
        else:
            self.rmap_remove(st, gone)
        st.refcount.sub(Vma, Address, lambda v, x, p: gone(v, x, p))

    def clear_swap(self, st: St, gone: Macro) -> None:
        """Clear swap entries; swap_free() of each."""
        st.swap_pte = lambda v, x, s: st.swap_pte(v, x, s) & ~gone(v, x, s)
        st.swap_map.sub(Vma, Address, lambda v, x, s: gone(v, x, s))

    def no_entry(self, st: St, v: Expr, x: Expr) -> Expr:
        """Return whether the entry is none (or the zero page)."""
        return forall(Folio, Swap, lambda p, s: ~st.pte(v, x, p) & ~st.swap_pte(v, x, s))

    def empty(self, st: St, v: Expr) -> Expr:
        """Return whether v has no entries."""
        return forall(Address, lambda x: self.no_entry(st, v, x))

    def fresh_folio(self, st: St, p: Expr) -> None:
        """Allocate p, which is in no rmap yet; alloc_folio()."""
        st.require(~st.folio(p), "p is a free folio")
        st.folio[p] = True

    def free_range(self, st: St, m: Expr, C: Predicate[Address]) -> Expr:
        """Return whether no VMA of process m covers any of C."""
        return forall(Vma, Address, lambda v, x: ~(st.covers(v, x) & C(x) & (st.mm(v) == m)))

    def one_to_one(self, C: Predicate[Address], I: Function[Address, Pgoff]) -> Expr:
        """Return whether I has different values for different addresses of C."""
        return forall(Address, Address, lambda x, y: (C(x) & C(y) & (I(x) == I(y))) >> (x == y))

    # VMAs.

    def new_vma(
        self,
        st: St,
        v: Expr,
        m: Expr,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> None:
        """Link v into process m. It covers C, which must be free there."""
        st.require(~st.vma(v), "v is a free VMA")
        st.require(self.free_range(st, m, C), "C is free in m")
        st.require(self.one_to_one(C, I), "page offsets are linear")
        st.vma[v] = True
        st.mm[v] = m
        st.covers[v] = lambda x: C(x)
        st.pgoff[v] = lambda x: I(x)
        st.temporary_stack[v] = False

    def copy_file(self, st: St, v: Expr, w: Expr) -> None:
        """Make w map the same file as v, and put it into its i_mmap; vma_link_file()."""
        st.file_vma[w] = st.file_vma(v)
        st.vm_file[w] = st.vm_file(v)
        st.i_mmap = lambda f, u: (
            st.i_mmap(f, u) | ((u == w) & st.file_vma(v) & (f == st.vm_file(v)))
        )

    @operation
    def mmap(
        self,
        st: St,
        v: Vma,
        m: Mm,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> None:
        """Map a never-faulted anonymous VMA; __mmap_new_vma(), do_brk_flags(), setup_stack()."""
        self.new_vma(st, v, m, C, I)
        st.file_vma[v] = False

    @operation
    def mmap_file(
        self,
        st: St,
        v: Vma,
        m: Mm,
        f: Inode,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> None:
        """Map a VMA of a file."""
        self.new_vma(st, v, m, C, I)
        st.file_vma[v] = True
        st.vm_file[v] = f
        st.i_mmap[f, v] = True

    @operation
    def expand(
        self,
        st: St,
        v: Vma,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> None:
        """Grow v over C, which is free; vma_expand(), expand_stack(). pgoff stays linear."""
        st.require(st.vma(v) & self.free_range(st, st.mm(v), C), "C is free")
        st.require(self.one_to_one(C, I), "page offsets are linear")
        st.require(self.apart(st, v, C, I), "page offsets are linear")
        self.cover_too(st, v, C, I)

    def apart(
        self,
        st: St,
        v: Expr,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> Expr:
        """Return whether the offsets of C are different from those that v has already."""
        return forall(
            Address,
            Address,
            lambda x, y: (st.covers(v, x) & C(y)) >> (st.pgoff(v, x) != I(y)),
        )

    def cover_too(
        self,
        st: St,
        v: Expr,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> None:
        """Make v cover C, too, with offsets I there."""
        st.covers[v] = lambda x: st.covers(v, x) | C(x)
        st.pgoff[v] = lambda x: If(C(x), I(x), st.pgoff(v, x))

    @operation
    def zap(self, st: St, v: Vma, C: Predicate[Address]) -> None:
        """Clear the entries of v at C; zap_page_range(): munmap, exit, MADV_DONTNEED."""
        st.require(st.vma(v))
        self.clear_entries(
            st,
            define(Vma, Address, Folio, lambda w, x, p: (w == v) & C(x) & st.pte(w, x, p)),
            zap=True,
        )
        self.clear_swap(
            st, define(Vma, Address, Swap, lambda w, x, s: (w == v) & C(x) & st.swap_pte(w, x, s))
        )

    @operation
    def remove_vma(self, st: St, v: Vma) -> None:
        """Remove v, which has no entries, from the rmap and free it; unlink_anon_vmas()."""
        st.require(st.vma(v) & self.empty(st, v), "v has no entries left")
        self.vma_remove(st, v)
        st.i_mmap = lambda f, u: st.i_mmap(f, u) & (u != v)
        st.vma[v] = False
        st.covers[v] = False
        st.temporary_stack[v] = False

    @operation
    def split(self, st: St, v: Vma, w: Vma, C: Predicate[Address]) -> None:
        """Split v: the new VMA w takes over C; __split_vma()."""
        st.require(st.vma(v) & ~st.vma(w) & self.at_rest(st, v))
        st.require(forall(Address, lambda x: C(x) >> st.covers(v, x)), "C is a part of v")
        self.vma_split(st, v, w)
        st.vma[w] = True
        st.mm[w] = st.mm(v)
        st.temporary_stack[w] = False
        self.copy_file(st, v, w)
        st.pgoff[w] = lambda x: st.pgoff(v, x)
        self.give(st, v, w, C)

    def give(self, st: St, v: Expr, w: Expr, C: Predicate[Address]) -> None:
        """Move C and its entries from v to w."""
        here = define(Address, Address, lambda x, y: (x == y) & C(x))
        st.covers = lambda u, x: If(C(x) & ((u == v) | (u == w)), u == w, st.covers(u, x))
        self.move_entries(st, v, w, here)

    def move_entries(self, st: St, v: Expr, w: Expr, moves: Macro) -> None:
        """Move the entries of v at x to w at y, where moves(x, y)."""
        st.refcount.moved(
            Vma,
            Address,
            lambda a, x, b, y, p: (a == v) & (b == w) & moves(x, y) & st.pte(a, x, p),
        )
        st.swap_map.moved(
            Vma,
            Address,
            lambda a, x, b, y, s: (a == v) & (b == w) & moves(x, y) & st.swap_pte(a, x, s),
        )
        self.rmap_move(st, v, w, moves)
        out = define(Vma, Address, lambda u, x: (u == v) & exists(Address, lambda y: moves(x, y)))
        st.pte = lambda u, y, p: (
            (st.pte(u, y, p) & ~out(u, y))
            | ((u == w) & exists(Address, lambda x: moves(x, y) & st.pte(v, x, p)))
        )
        st.swap_pte = lambda u, y, s: (
            (st.swap_pte(u, y, s) & ~out(u, y))
            | ((u == w) & exists(Address, lambda x: moves(x, y) & st.swap_pte(v, x, s)))
        )

    @operation
    def merge(self, st: St, v: Vma, w: Vma, C: Predicate[Address]) -> None:
        """v takes over C from its neighbour w; vma_merge_existing_range(), commit_merge()."""
        st.require(st.vma(v) & st.vma(w) & (v != w) & (st.mm(v) == st.mm(w)), "neighbours")
        st.require(self.at_rest(st, v) & self.at_rest(st, w))
        st.require(forall(Address, lambda x: C(x) >> st.covers(w, x)), "C is a part of w")
        st.require(self.same_file(st, v, w), "both map the same file, or none")
        st.require(
            forall(
                Address,
                Address,
                lambda x, y: (st.covers(v, x) & C(y)) >> (st.pgoff(v, x) != st.pgoff(w, y)),
            ),
            "page offsets are linear",
        )
        st.require(self.is_mergeable(st, v, w), "is_mergeable_anon_vma(v, w)")
        whole = forall(Address, lambda x: st.covers(w, x) >> C(x))
        self.vma_merge(st, v, w, whole)
        st.pgoff[v] = lambda x: If(C(x), st.pgoff(w, x), st.pgoff(v, x))
        self.give(st, w, v, C)

    def same_file(self, st: St, v: Expr, w: Expr) -> Expr:
        """Return whether v and w map the same file, or no file."""
        return (st.file_vma(v) == st.file_vma(w)) & (
            st.file_vma(v) >> (st.vm_file(v) == st.vm_file(w))
        )

    # fork

    @operation
    def fork_wipe(self, st: St, v: Vma, c: Vma, m: Mm) -> None:
        """Copy v to the child's c without entries: VM_WIPEONFORK, or v was never faulted."""
        self.dup_vma(st, v, c, m)

    def dup_vma(self, st: St, v: Expr, c: Expr, m: Expr) -> None:
        """Link c into process m as a copy of v; dup_mmap()."""
        st.require(st.vma(v) & (st.mm(v) != m) & self.at_rest(st, v))
        covered = define(Address, lambda x: st.covers(v, x))
        offset = define(Address, lambda x: st.pgoff(v, x))
        self.new_vma(st, c, m, covered, offset)  # type: ignore[arg-type] # a set, a function
        self.copy_file(st, v, c)

    @operation
    def fork(self, st: St, v: Vma, c: Vma, m: Mm, K: Predicate[Address]) -> None:
        """Copy v to the child's c with the entries at K; dup_mmap(), copy_page_range()."""
        self.dup_vma(st, v, c, m)
        self.copy_entries(st, v, c, K)

    def copy_entries(self, st: St, v: Expr, c: Expr, K: Predicate[Address]) -> None:
        """Copy the entries of v at K to c; copy_page_range()."""
        new = define(Vma, Address, Folio, lambda u, x, p: (u == c) & K(x) & st.pte(v, x, p))
        swapped = define(
            Vma, Address, Swap, lambda u, x, s: (u == c) & K(x) & st.swap_pte(v, x, s)
        )
        self.set_entries(st, new)
        self.rmap_add(st, new)
        st.swap_pte = lambda u, x, s: st.swap_pte(u, x, s) | swapped(u, x, s)
        st.swap_map.add(Vma, Address, lambda u, x, s: swapped(u, x, s))

    # mremap

    @operation
    def mremap(
        self,
        st: St,
        v: Vma,
        w: Vma,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
        R: Predicate[Address, Address],
    ) -> None:
        """Copy a part of v to w, over C, and move entries there; copy_vma(), move_page_tables().

        If memory runs out, some entries move back. The old range is unmapped later.
        """
        st.require(st.vma(v) & ~st.temporary_stack(v))
        self.vma_split(st, v, w)
        self.new_vma(st, w, st.mm(v), C, I)
        self.copy_file(st, v, w)
        self.move_range(st, v, w, C, I, R)

    @operation
    def mremap_merge(
        self,
        st: St,
        v: Vma,
        w: Vma,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
        R: Predicate[Address, Address],
    ) -> None:
        """Move into a neighbour: w grows over C instead of a new copy; vma_merge_new_range()."""
        st.require(st.vma(v) & st.vma(w) & (v != w) & (st.mm(v) == st.mm(w)))
        st.require(~st.temporary_stack(v) & ~st.temporary_stack(w))
        st.require(self.same_file(st, v, w), "both map the same file, or none")
        st.require(self.free_range(st, st.mm(v), C), "C is free")
        st.require(self.one_to_one(C, I), "page offsets are linear")
        st.require(self.apart(st, w, C, I), "page offsets are linear")
        st.require(self.may_merge_copy(st, w, v), "is_mergeable_anon_vma(w, v)")
        self.vma_merge_copy(st, w, v)
        self.cover_too(st, w, C, I)
        self.move_range(st, v, w, C, I, R)

    def move_range(
        self,
        st: St,
        v: Expr,
        w: Expr,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
        R: Predicate[Address, Address],
    ) -> None:
        """Move the entries of v by R into C of w; the index of each page stays correct."""
        st.require(self.bijection(st, v, C, R), "each entry moves to one place of C")
        st.require(
            forall(
                Address,
                Address,
                lambda x, y: (R(x, y) & self.keeps_pgoff(st, v)) >> (I(y) == st.pgoff(v, x)),
            ),
            "copy_vma() keeps vm_pgoff",
        )
        self.move_entries(st, v, w, define(Address, Address, lambda x, y: R(x, y)))

    def bijection(
        self, st: St, v: Expr, C: Predicate[Address], R: Predicate[Address, Address]
    ) -> Expr:
        """Return whether R is one to one from addresses of v to C."""
        return forall(
            Address,
            Address,
            Address,
            lambda x, y, z: (
                (R(x, y) >> (st.covers(v, x) & C(y)))
                & ((R(x, y) & R(x, z)) >> (y == z))
                & ((R(y, x) & R(z, x)) >> (y == z))
            ),
        )
