"""The operations on pages in the logic: faults, files, swap, exec.

Together with those of `address_spaces.py` they form a small MM; a scheme adds its hooks.
"""

from rmapcheck.logic import Function, Predicate, define, forall, operation
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.address_spaces import AddressSpaces
from rmapcheck.specs.vocabulary import Address, Folio, Inode, Pgoff, St, Swap, Vma


class Machine(AddressSpaces):
    """Virtual memory; without a scheme's hooks it has no rmap for anonymous pages."""

    # Faults.

    @operation
    def fault(self, st: St, v: Vma, x: Address, p: Folio) -> None:
        """Map a new folio at the first write; do_anonymous_page(), do_cow_fault()."""
        st.require(st.covers(v, x) & self.may_fault(st, v) & ~st.temporary_stack(v))
        st.require(self.no_entry(st, v, x), "the entry is none")
        self.fresh_folio(st, p)
        self.folio_add_new_anon_rmap(st, p, v, x)
        self.rmap_add(st, self.set_entry(st, v, x, p))

    @operation
    def cow(self, st: St, v: Vma, x: Address, p: Folio, q: Folio) -> None:
        """Copy p to the new folio q at a write; wp_page_copy()."""
        st.require(st.pte(v, x, p) & self.may_fault(st, v) & ~st.temporary_stack(v))
        self.fresh_folio(st, q)
        self.clear_entries(
            st, define(Vma, Address, Folio, lambda w, y, r: (w == v) & (y == x) & (r == p))
        )
        self.folio_add_new_anon_rmap(st, q, v, x)
        self.rmap_add(st, self.set_entry(st, v, x, q))

    @operation
    def wp_reuse(self, st: St, v: Vma, x: Address, p: Folio) -> None:
        """Reuse p at a write, if only this entry maps it or could; wp_can_reuse_anon_folio()."""
        st.require(st.pte(v, x, p) & st.anon(p) & self.at_rest(st, v))
        st.require(self.sole(st, v, x, p), "folio_ref_count(p) == 1 (swap cache aside)")
        self.folio_move_anon_rmap(st, p, v)

    def sole(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr:
        """Return whether no other entry maps p, and none would after swap-in."""
        return forall(
            Vma,
            Address,
            Swap,
            lambda w, y, s: (
                (st.pte(w, y, p) >> ((w == v) & (y == x)))
                & ~(st.swap_cache(s, p) & st.swap_pte(w, y, s))
            ),
        )

    @operation
    def free_folio(self, st: St, p: Folio) -> None:
        """Free p, whose last reference has been dropped; folio_put()."""
        st.require(st.folio(p) & st.refcount.is_zero(p), "folio_ref_count(p) == 0")
        st.folio[p] = False
        st.anon[p] = False

    # Files.

    @operation
    def page_cache_add(self, st: St, p: Folio, f: Inode, i: Pgoff) -> None:
        """Add a new folio to the page cache; filemap_add_folio()."""
        self.fresh_folio(st, p)
        st.file[p] = True
        st.inode[p] = f
        st.index[p] = i
        st.refcount.inc(p, f)

    @operation
    def file_fault(self, st: St, v: Vma, x: Address, p: Folio) -> None:
        """Map a page of the file at its linear place; filemap_fault(), do_fault()."""
        st.require(st.covers(v, x) & st.file_vma(v) & ~st.temporary_stack(v))
        st.require(self.no_entry(st, v, x), "the entry is none")
        st.require(
            st.file(p) & (st.inode(p) == st.vm_file(v)) & (st.index(p) == st.pgoff(v, x)),
            "p is the page of that place",
        )
        self.rmap_add(st, self.set_entry(st, v, x, p))

    @operation
    def unmap_file_page(self, st: St, p: Folio) -> None:
        """Unmap p wherever its rmap leads; unmap_mapping_range(), try_to_unmap_file()."""
        st.require(st.file(p))
        self.clear_entries(
            st,
            define(
                Vma,
                Address,
                Folio,
                lambda v, x, q: (q == p) & st.pte(v, x, q) & self.finds(st, q, v, x),
            ),
        )
        st.check(forall(Vma, Address, lambda v, x: ~st.pte(v, x, p)), "file_unmapped")

    @operation
    def filemap_remove_folio(self, st: St, p: Folio) -> None:
        """Remove p from the page cache: truncated or reclaimed; filemap_remove_folio()."""
        st.require(st.file(p))
        st.require(forall(Vma, Address, lambda v, x: ~st.pte(v, x, p)), "p has been unmapped")
        st.refcount.dec(p, st.inode(p))
        st.file[p] = False

    # Swap.

    @operation
    def add_to_swap(self, st: St, p: Folio, s: Swap) -> None:
        """Give p a free slot, and add it to the swap cache; add_to_swap()."""
        st.require(st.folio(p) & st.anon(p) & ~st.swap(s))
        st.require(forall(Swap, lambda t: ~st.swap_cache(t, p)), "p is in no slot yet")
        st.swap[s] = True
        st.swap_cache[s, p] = True
        st.refcount.inc(p, s)

    @operation
    def try_to_unmap(self, st: St, p: Folio, s: Swap) -> None:
        """Turn each entry of p that the rmap walk visits into a swap entry; try_to_unmap().

        The walk may miss an entry while another step is half done; then p stays mapped.
        """
        st.require(st.swap_cache(s, p) & st.anon(p))
        visited = define(
            Vma,
            Address,
            Folio,
            lambda v, x, q: (q == p) & st.pte(v, x, q) & self.finds(st, q, v, x),
        )
        self.clear_entries(st, visited)
        st.swap_pte = lambda v, x, t: st.swap_pte(v, x, t) | ((t == s) & visited(v, x, p))
        st.swap_map.add(Vma, Address, lambda v, x, t: (t == s) & visited(v, x, p))
        st.check(
            forall(Vma, Address, lambda v, x: st.pte(v, x, p) >> self.may_miss(st, v, x, p)),
            "all_unmapped",
        )

    @operation
    def swap_cache_delete(self, st: St, p: Folio, s: Swap) -> None:
        """Remove p from the swap cache: reclaimed, or no swap entry left; folio_free_swap()."""
        st.require(st.swap_cache(s, p))
        st.require(
            st.swap_map.is_zero(s) | forall(Vma, Address, lambda v, x: ~st.pte(v, x, p)),
            "p is not mapped, or no swap entry of it is left",
        )
        st.swap_cache[s, p] = False
        st.refcount.dec(p, s)

    @operation
    def swap_free(self, st: St, s: Swap) -> None:
        """Free the slot, to which no swap entry refers any more; swap_free()."""
        st.require(st.swap(s) & st.swap_map.is_zero(s), "swap_map[s] == 0")
        st.require(forall(Folio, lambda p: ~st.swap_cache(s, p)), "and no folio is cached")
        st.swap[s] = False

    @operation
    def swap_read(self, st: St, p: Folio, s: Swap) -> None:
        """Read a new folio from the slot; swapin_readahead(), do_swap_page()."""
        st.require(st.swap(s) & forall(Folio, lambda q: ~st.swap_cache(s, q)), "none is cached")
        self.fresh_folio(st, p)
        st.swap_cache[s, p] = True
        st.refcount.inc(p, s)

    @operation
    def do_swap_page(self, st: St, v: Vma, x: Address, p: Folio, s: Swap) -> None:
        """Map the swap-cache folio again; do_swap_page()."""
        self.swap_in(st, v, x, p, s)
        self.folio_add_anon_rmap(st, p, v, x)
        self.rmap_add(st, self.set_entry(st, v, x, p))

    def swap_in(self, st: St, v: Expr, x: Expr, p: Expr, s: Expr) -> None:
        """Clear the entry of x in v, which holds s, and map the folio p of s there."""
        st.require(st.swap_pte(v, x, s) & st.swap_cache(s, p) & ~st.temporary_stack(v))
        self.clear_swap(
            st, define(Vma, Address, Swap, lambda w, y, t: (w == v) & (y == x) & (t == s))
        )

    # exec

    @operation
    def exec_grow(
        self,
        st: St,
        v: Vma,
        C: Predicate[Address],
        I: Function[Address, Pgoff],
    ) -> None:
        """Grow the new stack to cover both places; all offsets shift; shift_arg_pages()."""
        st.require(st.vma(v) & ~st.file_vma(v) & ~st.temporary_stack(v))
        st.require(self.free_range(st, st.mm(v), C), "C is free")
        both = define(Address, lambda x: C(x) | st.covers(v, x))
        st.require(self.one_to_one(both, I), "page offsets are linear")  # type: ignore[arg-type]
        st.temporary_stack[v] = True
        st.origin[v] = lambda x: st.pgoff(v, x)
        st.covers[v] = lambda x: both(x)
        st.pgoff[v] = lambda x: I(x)

    @operation
    def exec_move(
        self, st: St, v: Vma, C: Predicate[Address], R: Predicate[Address, Address]
    ) -> None:
        """Move the pages to C, where their index is correct again; shift_arg_pages(), 2nd half."""
        st.require(st.vma(v) & st.temporary_stack(v))
        st.require(forall(Address, lambda x: C(x) >> st.covers(v, x)), "C is a part of v")
        st.require(self.bijection(st, v, C, R), "each entry moves to one place of C")
        st.require(
            forall(Address, Address, lambda x, y: R(x, y) >> (st.pgoff(v, y) == st.origin(v, x))),
            "the offsets have shifted as far as the pages",
        )
        left = define(Address, lambda x: forall(Address, lambda y: ~R(x, y)))
        self.clear_entries(
            st, define(Vma, Address, Folio, lambda w, x, p: (w == v) & st.pte(w, x, p) & left(x))
        )
        self.clear_swap(
            st,
            define(Vma, Address, Swap, lambda w, x, s: (w == v) & st.swap_pte(w, x, s) & left(x)),
        )
        self.move_entries(st, v, v, define(Address, Address, lambda x, y: R(x, y)))
        st.covers[v] = lambda x: C(x)
        st.temporary_stack[v] = False
