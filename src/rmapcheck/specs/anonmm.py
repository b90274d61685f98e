"""anonmm: an object for each process, and pages that know their virtual address (2003 … 2004).

All processes forked from one exec are a bundle, whose head is the first one. A page's entries are
at the addresses that it knows, in processes of its bundle. The three versions (`anonmm_eras.py`)
differ in how mremap deals with that. Symbols in addition to those of `vocabulary.py`:

    AnonMm, Bundle
    anonmm(a)             the struct is allocated
    mm_live(m), of_mm(m)  the process exists, and its mm->anonmm                 if mm_live(m)
    bundle(a)             its bundle; kernels identify it by anonmm->head         if anonmm(a)
    is_head(a)            anonmm->head == anonmm
    mapping(p)            page->mapping                                              if anon(p)
    virtual(p, x)         p knows the address x: page->index, or in its chain

anon(p) is PG_anon, which the last unmapping clears. mremap works page by page here, because it may
fault in between: copy_vma() makes or grows a VMA, and move_one_page() is one step for each entry.
"""

from typing import Any

from rmapcheck.logic import (
    If,
    Predicate,
    Sort,
    counts,
    define,
    exists,
    forall,
    function,
    invariant,
    operation,
    relation,
)
from rmapcheck.logic.declare import Function
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import Expr, formula
from rmapcheck.specs.mapcount import Mapcounted
from rmapcheck.specs.vocabulary import Address, Folio, Mm, Pgoff, St, Swap, Vma


class AnonMm(Sort):
    """struct anonmm."""


class Bundle(Sort):
    """All processes forked from one exec."""


class AnonMmFamily(Mapcounted):
    """What all three versions share: add_rmap(), dup_rmap(), exit_rmap(), the walk."""

    immediate = ("free_anonmm", "free_head")
    live = {**Mapcounted.live, AnonMm: "anonmm", Mm: "mm_live"}  # noqa: RUF012 - never changed

    anonmm = relation(AnonMm)
    mm_live = relation(Mm)
    of_mm = function(Mm, AnonMm, where=lambda st, m: st.mm_live(m))
    bundle = function(AnonMm, Bundle, where=lambda st, a: st.anonmm(a))
    is_head = relation(AnonMm)
    mapping = function(Folio, AnonMm, where=lambda st, p: st.anon(p))
    virtual = relation(Folio, Address)
    anonmm_count = counts(
        Mm,
        lambda st, m, a: st.mm_live(m) & (st.of_mm(m) == a),
        Folio,
        lambda st, p, a: st.anon(p) & (st.mapping(p) == a),
        AnonMm,
        lambda st, b, a: st.anonmm(b) & st.is_head(a) & (st.bundle(b) == st.bundle(a)),
        per=AnonMm,
        alive="anonmm",
        doc="anonmm->count: its process, its mapped pages, and of a head its members and itself",
    )

    exec_grow: Any = None  # since v2.6.23
    exec_move: Any = None
    stack_known_by_origin: Any = None
    mremap: Any = None  # copy_vma() and move_one_page() instead
    mremap_merge: Any = None

    # Decisions.

    def copies_in_bundle(self) -> bool:
        """Return whether a forked process is in its parent's bundle; dup_rmap()."""
        return True

    def may_move(self, st: St, v: Expr, x: Expr) -> Expr | bool:
        """Return whether mremap may move the page at x in v without copying it first."""
        return True

    def move_rmap(self, st: St, v: Expr, x: Expr, y: Expr) -> None:
        """mremap moves the entry of x in v to y, if it maps an anonymous page."""

    # Hooks.

    def new_vma(self, st: St, v: Expr, m: Expr, C: Any, I: Any) -> None:  # noqa: ANN401
        st.require(st.mm_live(m), "the process exists")
        super().new_vma(st, v, m, C, I)

    def dup_vma(self, st: St, v: Expr, c: Expr, m: Expr) -> None:
        super().dup_vma(st, v, c, m)
        if self.copies_in_bundle():
            st.require(self.one_bundle(st, st.of_mm(m), st.of_mm(st.mm(v))), "m was forked")

    def one_bundle(self, st: St, a: Expr, b: Expr) -> Expr:
        """Return whether a and b have the same head."""
        same: Expr = st.bundle(a) == st.bundle(b)
        return same

    def folio_add_new_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """page_add_anon_rmap() of a page that is not mapped yet: mapping, index and a count."""
        self.set_anon(st, p, v, x)

    def set_anon(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """If p is not mapped yet, make it belong to v's process, at x."""
        st.anonmm_count.add(Folio, lambda q, a: (q == p) & ~st.anon(p) & (a == st.of_mm(st.mm(v))))
        st.mapping[p] = If(st.anon(p), st.mapping(p), st.of_mm(st.mm(v)))
        st.virtual[p] = lambda y: If(st.anon(p), st.virtual(p, y), y == x)
        st.anon[p] = True

    def turn_page(self, st: St, p: Expr, v: Expr) -> None:
        """Make p belong to v's process; page_turn_rmap(), page_update_anon_rmap()."""
        st.anonmm_count.sub(Folio, lambda q, a: (q == p) & (a == st.mapping(p)))
        st.anonmm_count.add(Folio, lambda q, a: (q == p) & (a == st.of_mm(st.mm(v))))
        st.mapping[p] = st.of_mm(st.mm(v))

    def folio_add_anon_rmap(self, st: St, p: Expr, v: Expr, x: Expr) -> None:
        """page_add_anon_rmap() in do_swap_page()."""
        self.set_anon(st, p, v, x)

    def rmap_remove(self, st: St, gone: Macro) -> None:
        """The last unmapping clears PG_anon and drops the count; clear_page_anon()."""
        super().rmap_remove(st, gone)
        last = define(
            Folio,
            lambda p: (
                st.anon(p)
                & exists(Vma, Address, lambda v, x: gone(v, x, p))
                & forall(Vma, Address, lambda v, x: ~st.pte(v, x, p))
            ),
        )
        st.anonmm_count.sub(Folio, lambda p, a: last(p) & (a == st.mapping(p)))
        st.virtual = lambda p, x: st.virtual(p, x) & ~last(p)
        st.anon = lambda p: st.anon(p) & ~last(p)

    def anon_found(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr | bool:
        """try_to_unmap_anon(): at the page's addresses in each process of the bundle."""
        member = self.one_bundle(st, st.of_mm(st.mm(v)), st.mapping(p))
        return st.covers(v, x) & st.virtual(p, x) & member

    def may_miss(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr:
        """The walk misses nothing: before v2.6.23, exec does not move the stack."""
        return formula(False)

    def shares_swap(self, st: St, v: Expr, x: Expr, w: Expr, y: Expr, p: Expr, s: Expr) -> Expr:
        """Return whether x in v holds swap entry s, and y in w holds it too or maps its page p."""
        other = st.swap_pte(w, y, s) | (st.swap_cache(s, p) & st.pte(w, y, p))
        both: Expr = st.swap_pte(v, x, s) & other
        return both

    # mremap

    @operation
    def copy_vma(
        self, st: St, v: Vma, w: Vma, C: Predicate[Address], I: Function[Address, Pgoff]
    ) -> None:
        """Copy a part of v to w, over C, without entries yet; copy_vma()."""
        st.require(st.vma(v) & self.at_rest(st, v))
        self.new_vma(st, w, st.mm(v), C, I)
        self.copy_file(st, v, w)

    @operation
    def move_one_page(self, st: St, v: Vma, w: Vma, x: Address, y: Address) -> None:
        """Move the entry of x in v to y in w, or back; move_one_page(), mm/mremap.c."""
        st.require(st.covers(v, x) & st.covers(w, y) & (st.mm(v) == st.mm(w)))
        st.require(self.at_rest(st, v) & self.at_rest(st, w))
        st.require(self.no_entry(st, w, y), "the new place is empty")
        st.require(self.same_file(st, v, w), "both map the same file, or none")
        st.require(
            st.file_vma(v) >> (st.pgoff(w, y) == st.pgoff(v, x)), "copy_vma() keeps vm_pgoff"
        )
        st.require(self.may_move(st, v, x), "what is shared is copied first")
        self.move_rmap(st, v, x, y)
        self.move_entries(st, v, w, define(Address, Address, lambda a, b: (a == x) & (b == y)))

    # Processes.

    @operation
    def exec_mmap(self, st: St, m: Mm, a: AnonMm, b: Bundle) -> None:
        """Create a process with a new bundle; exec_rmap()."""
        st.require(~st.mm_live(m) & ~st.anonmm(a), "m and a are free")
        st.require(forall(AnonMm, lambda c: st.anonmm(c) >> (st.bundle(c) != b)), "b is new")
        st.anonmm[a] = True
        st.mm_live[m] = True
        st.of_mm[m] = a
        st.bundle[a] = b
        st.is_head[a] = True
        st.anonmm_count.inc(a, m)
        st.anonmm_count.inc(a, a)

    @operation
    def dup_mm(self, st: St, m: Mm, c: Mm, a: AnonMm) -> None:
        """Create the child's process c, without VMAs yet; dup_rmap()."""
        st.require(st.mm_live(m) & ~st.mm_live(c) & ~st.anonmm(a), "c and a are free")
        st.anonmm_count.inc(a, c)
        st.anonmm_count.add(
            AnonMm,
            lambda b, h: (
                (b == a) & st.anonmm(h) & st.is_head(h) & (st.bundle(h) == st.bundle(st.of_mm(m)))
            ),
        )
        st.bundle[a] = st.bundle(st.of_mm(m))
        st.is_head[a] = False
        st.anonmm[a] = True
        st.mm_live[c] = True
        st.of_mm[c] = a

    @operation
    def exit_mm(self, st: St, m: Mm) -> None:
        """End a process, which has no VMAs any more; exit_rmap()."""
        st.require(st.mm_live(m))
        st.require(forall(Vma, lambda v: st.vma(v) >> (st.mm(v) != m)), "no VMA is left")
        st.anonmm_count.dec(st.of_mm(m), m)
        st.mm_live[m] = False

    @operation
    def free_anonmm(self, st: St, a: AnonMm) -> None:
        """Free a member whose process and pages are gone; it drops its head; free_anonmm()."""
        st.require(st.anonmm(a) & ~st.is_head(a) & st.anonmm_count.is_zero(a), "count == 0")
        st.anonmm_count.sub(
            AnonMm,
            lambda b, h: (b == a) & st.anonmm(h) & st.is_head(h) & (st.bundle(h) == st.bundle(a)),
        )
        st.anonmm[a] = False

    @operation
    def free_head(self, st: St, a: AnonMm) -> None:
        """Free a head without members, process and pages; only its own count is left."""
        st.require(st.anonmm(a) & st.is_head(a))
        st.require(
            forall(AnonMm, lambda b: (st.anonmm(b) & (st.bundle(b) == st.bundle(a))) >> (b == a)),
            "no member is left",
        )
        st.require(forall(Mm, lambda m: st.mm_live(m) >> (st.of_mm(m) != a)))
        st.require(forall(Folio, lambda p: st.anon(p) >> (st.mapping(p) != a)), "count == 1")
        st.anonmm[a] = False
        st.is_head[a] = False

    # Invariants.

    @invariant
    def at_virtual(self, st: St) -> Expr:
        """A page knows the address of each entry that maps it (anonmm#address)."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & st.anon(p) & ~self.may_miss(st, v, x, p)) >> st.virtual(p, x)
            ),
        )

    @invariant
    def in_bundle(self, st: St) -> Expr:
        """A page is mapped by processes of its bundle only (anonmm#address)."""
        return forall(
            Vma,
            Address,
            Folio,
            lambda v, x, p: (
                (st.pte(v, x, p) & st.anon(p))
                >> self.one_bundle(st, st.of_mm(st.mm(v)), st.mapping(p))
            ),
        )

    @invariant
    def swap_in_bundle(self, st: St) -> Expr:
        """Processes that hold the same swap entry, or map its page, are in one bundle."""
        return forall(
            Vma,
            Address,
            Vma,
            Address,
            Folio,
            Swap,
            lambda v, x, w, y, p, s: (
                self.shares_swap(st, v, x, w, y, p, s)
                >> self.one_bundle(st, st.of_mm(st.mm(v)), st.of_mm(st.mm(w)))
            ),
        )

    @invariant
    def only_mapped_is_known(self, st: St) -> Expr:
        """A page that is not mapped knows no address."""
        return forall(Folio, Address, lambda p, x: st.virtual(p, x) >> st.anon(p))

    @invariant
    def anon_is_mapped_live(self, st: St) -> Expr:
        """The anonmm of a process, and of a page's mapping, has not been freed.

        Rule anonmm#lifetime.
        """
        return forall(
            Folio,
            Mm,
            lambda p, m: (
                (st.anon(p) >> st.anonmm(st.mapping(p)))
                & (st.mm_live(m) >> st.anonmm(st.of_mm(m)))
            ),
        )

    @invariant
    def vma_of_live_mm(self, st: St) -> Expr:
        """A VMA belongs to a process that exists."""
        return forall(Vma, lambda v: st.vma(v) >> st.mm_live(st.mm(v)))

    @invariant
    def one_mm(self, st: St) -> Expr:
        """Two processes do not share an anonmm."""
        return forall(
            Mm,
            Mm,
            lambda m, n: (
                (st.mm_live(m) & st.mm_live(n) & (st.of_mm(m) == st.of_mm(n))) >> (m == n)
            ),
        )

    @invariant
    def one_head(self, st: St) -> Expr:
        """A bundle has one head (anonmm#lifetime)."""
        return forall(
            AnonMm,
            AnonMm,
            lambda a, b: (
                (st.is_head(a) & st.is_head(b) & (st.bundle(a) == st.bundle(b))) >> (a == b)
            ),
        )

    @invariant
    def head_is_live(self, st: St) -> Expr:
        """A head has not been freed."""
        return forall(AnonMm, lambda a: st.is_head(a) >> st.anonmm(a))

    @invariant
    def head_exists(self, st: St) -> Expr:
        """Each bundle has its head, which is freed last (anonmm#lifetime)."""
        return forall(
            AnonMm,
            lambda a: (
                st.anonmm(a)
                >> exists(AnonMm, lambda h: st.is_head(h) & (st.bundle(h) == st.bundle(a)))
            ),
        )

    @invariant
    def anon_is_mapped(self, st: St) -> Expr:
        """PG_anon is set only as long as the page is mapped."""
        return forall(
            Folio,
            lambda p: st.anon(p) >> exists(Vma, Address, lambda v, x: st.pte(v, x, p)),
        )

    def interesting(self, st: St) -> Expr:
        """A page is mapped by two processes."""
        return exists(
            Vma,
            Vma,
            Address,
            Address,
            Folio,
            lambda v, w, x, y, p: st.pte(v, x, p) & st.pte(w, y, p) & (st.mm(v) != st.mm(w)),
        )
