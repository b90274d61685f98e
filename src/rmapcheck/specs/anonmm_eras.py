"""The three versions of anonmm and how each handles mremap; `anonmm.py` has what they share.

They follow model/schemes/anonmm.py and anonmm_chains.py, which name the sources. The third adds

    copying(v, x, p)      do_swap_page() has mapped p off its address, and copies it next

which holds only between two steps of one fault.

Assumption: `wp_reuse` requires at_rest, so no process reuses a page while it is `copying`. In rmap
11 that could happen. Between do_swap_page()'s page_add_anon_rmap() and do_wp_page() of the same
fault, the last other process that maps the page may zap its entry, under its own page_table_lock.
Then the page is exclusive, do_wp_page() reuses it, and nothing sets page->index: the page is lost,
without any -ENOMEM. The model runs one operation at a time and never reaches this, so refinement
does not detect it. Found by reading rmap 11's hunks (0c35710493), about 85 % sure; no report is
known.
"""

from typing import ClassVar

from rmapcheck.logic import If, define, exists, forall, invariant, operation, relation
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.spec import Flaws
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.anonmm import AnonMmFamily
from rmapcheck.specs.vocabulary import Address, Folio, Mm, St, Swap, Vma


class AnonMmChains(AnonMmFamily):
    """2003-03-20: a page that mremap moves while it is shared gets an additional address."""

    name = "anonmm-2003-03"
    title = "anonmm with chains of addresses"
    kernels = "patches for 2.5.65, not merged"

    def move_rmap(self, st: St, v: Expr, x: Expr, y: Expr) -> None:
        """page_move_rmap(): a page with a chain keeps it, even if one entry is left."""
        keeps = define(Folio, lambda p: self.chained(st, p) | self.elsewhere(st, v, x, p))
        moved = define(Folio, lambda p: st.pte(v, x, p) & st.anon(p))
        st.virtual = lambda p, z: If(
            moved(p), (z == y) | (st.virtual(p, z) & keeps(p)), st.virtual(p, z)
        )

    def chained(self, st: St, p: Expr) -> Expr:
        """Return whether p knows more than one address; PG_chained."""
        return exists(
            Address, Address, lambda a, b: st.virtual(p, a) & st.virtual(p, b) & (a != b)
        )

    def elsewhere(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr:
        """Return whether another entry maps p."""
        return exists(Vma, Address, lambda u, z: st.pte(u, z, p) & ((u != v) | (z != x)))

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """A swap-in at another address adds that address."""
        self.set_anon(st, p, v, x)
        st.virtual[p, x] = True

    def folio_move_anon_rmap(self, st: St, p: Expr, v: Expr) -> None:
        """page_turn_rmap() in do_wp_page()."""
        self.turn_page(st, p, v)


class AnonMmOneAddress(AnonMmFamily):
    """Later versions: a page is at one address, and mremap copies pages that it may not move."""

    def alone(self, st: St, v: Expr, x: Expr) -> Expr:
        """Return whether no other entry maps the anonymous page of x in v."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda u, z, p: (
                (st.pte(v, x, p) & st.anon(p) & st.pte(u, z, p)) >> ((u == v) & (z == x))
            ),
        )

    def may_move(self, st: St, v: Expr, x: Expr) -> Expr | bool:
        return self.alone(st, v, x)

    def move_rmap(self, st: St, v: Expr, x: Expr, y: Expr) -> None:
        """Set page->index of the moved page to its new address."""
        moved = define(Folio, lambda p: st.pte(v, x, p) & st.anon(p))
        st.virtual = lambda p, z: If(moved(p), z == y, st.virtual(p, z))

    @invariant
    def one_address(self, st: St) -> Expr:
        """A page is known at one address."""
        return forall(
            Folio,
            Address,
            Address,
            lambda p, x, y: (st.virtual(p, x) & st.virtual(p, y)) >> (x == y),
        )


class AnonMmSwapIn(AnonMmOneAddress):
    """2004-03-22: mremap copies shared pages, whether they are in memory or in swap."""

    name = "anonmm-2004-03"
    title = "anonmm; mremap copies, from swap too"
    kernels = "patches for 2.6.5-rc1, not merged"

    def may_move(self, st: St, v: Expr, x: Expr) -> Expr | bool:
        """rmap_needs_broken_cow(): all entries of the page count, mapped or swapped."""
        return self.alone(st, v, x) & forall(
            Vma,
            Address,
            Folio,
            Swap,
            lambda u, z, p, s: (
                ((st.pte(v, x, p) & st.anon(p) & st.swap_cache(s, p)) >> ~st.swap_pte(u, z, s))
                & (
                    st.swap_pte(v, x, s)
                    >> (
                        (st.swap_pte(u, z, s) >> ((u == v) & (z == x)))
                        & ~(st.swap_cache(s, p) & st.pte(u, z, p))
                    )
                )
            ),
        )

    def move_rmap(self, st: St, v: Expr, x: Expr, y: Expr) -> None:
        """page_update_anon_rmap(): the page also names the process that moves it."""
        moved = define(Folio, lambda p: st.pte(v, x, p) & st.anon(p))
        super().move_rmap(st, v, x, y)
        st.anonmm_count.sub(Folio, lambda p, a: moved(p) & (a == st.mapping(p)))
        st.anonmm_count.add(Folio, lambda p, a: moved(p) & (a == st.of_mm(st.mm(v))))
        st.mapping = lambda p: If(moved(p), st.of_mm(st.mm(v)), st.mapping(p))

    def folio_move_anon_rmap(self, st: St, p: Expr, v: Expr) -> None:
        """page_update_anon_rmap() in do_wp_page()."""
        self.turn_page(st, p, v)

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """A page that another process maps already is at the same address there."""
        st.check(st.anon(p) >> st.virtual(p, x), "same_address")
        self.set_anon(st, p, v, x)

    @invariant
    def swap_at_one_address(self, st: St) -> Expr:
        """VMAs that hold the same swap entry, or map its page, have it at the same address."""
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Folio,
            Swap,
            lambda v, x, w, y, p, s: self.shares_swap(st, v, x, w, y, p, s) >> (x == y),
        )


class AnonMmCopies(AnonMmOneAddress):
    """rmap 10 and 11, 2004-05-22: swap-in maps the page, and copies it if it was moved."""

    name = "anonmm-2.6.7-rc1"
    title = "anonmm; swap-in copies what was moved"
    kernels = "v2.6.6 … v2.6.7-rc1, between rmap 10 and rmap 38"
    flaws: ClassVar[Flaws] = {
        "E33": (
            ("do_wp_page_enomem", "walk_complete"),
            ("do_wp_page_enomem", "at_virtual"),
        )
    }
    transient = ("copying",)

    copying = relation(Vma, Address, Folio)

    def at_rest(self, st: St, v: Expr) -> Expr:
        """mmap_sem is held until the copy has been made."""
        done = forall(Address, Folio, lambda x, p: ~st.copying(v, x, p))
        return super().at_rest(st, v) & done

    def may_miss(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr:
        """Reclaim may come in between, since page_table_lock is dropped."""
        missed: Expr = st.copying(v, x, p)
        return missed

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """do_swap_page() maps the page even if it is known at another address."""
        st.copying[v, x, p] = st.anon(p) & ~st.virtual(p, x)
        self.set_anon(st, p, v, x)

    def rmap_remove(self, st: St, gone: Macro) -> None:
        super().rmap_remove(st, gone)
        st.copying = lambda v, x, p: st.copying(v, x, p) & ~gone(v, x, p)

    @operation
    def do_wp_page_enomem(self, st: St, v: Vma, x: Address, p: Folio) -> None:
        """Without memory for the copy, do_swap_page() leaves the page where it is (E33)."""
        st.require(st.copying(v, x, p))
        st.copying[v, x, p] = False

    @operation
    def page_referenced_anon(self, st: St, v: Vma, x: Address, p: Folio) -> None:
        """Find a page of a dead process in another process; page_referenced_anon()."""
        st.require(st.pte(v, x, p) & st.anon(p))
        st.require(
            forall(Mm, lambda m: st.mm_live(m) >> (st.of_mm(m) != st.mapping(p))),
            "the page's process is gone",
        )
        st.require(
            forall(Vma, Address, lambda u, y: st.pte(u, y, p) >> self.anon_found(st, p, u, y)),
            "the walk has found all entries",
        )
        self.turn_page(st, p, v)

    @invariant
    def copying_is_mapped(self, st: St) -> Expr:
        """A page that is about to be copied is anonymous, and mapped there."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: st.copying(v, x, p) >> (st.pte(v, x, p) & st.anon(p)),
        )
