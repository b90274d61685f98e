"""pte_chain: each page has a chain of the entries that map it (v2.5.27 … v2.6.6).

Symbols in addition to those of `vocabulary.py`:

    pte_chain(p, v, x)    the chain of p, or PG_direct, names the entry of x in v

The walker trusts the chain and does not check whether the entry maps the page. So the chain must
be exact, not just contain all entries. How it is stored (nodes, arrays, direct) is left to the
executable model.
"""

from typing import Any, ClassVar

from rmapcheck.logic import exists, forall, invariant, operation, relation
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import FALSE, Expr
from rmapcheck.specs.machine import Machine
from rmapcheck.specs.vocabulary import Address, Folio, St, Vma


class PteChain(Machine):
    """page_add_rmap(), page_remove_rmap() of v2.5.27 … v2.6.6."""

    name = "pte_chain"
    title = "pte_chain"
    kernels = "v2.5.27 … v2.6.6"
    schemes: ClassVar[tuple[str, ...]] = (
        "pte_chain-minimal",
        "pte_chain-2.5.27",
        "rmap-speedup",
        "pte_chain-2.5.35",
        "pte_chain-2.5.55",
        "pte_chain-2.6.0",
        "rmap15",
    )

    pte_chain = relation(Folio, Vma, Address)

    exec_grow: Any = None  # since v2.6.23
    exec_move: Any = None
    stack_known_by_origin: Any = None

    def chained(self, st: St, p: Expr) -> Expr | bool:
        """Return whether p has a chain; here each page has one."""
        return True

    def keeps_pgoff(self, st: St, v: Expr) -> Expr | bool:
        """Nothing uses the offset of anonymous memory; do_mremap() sets it by the new place."""
        return st.file_vma(v)

    def rmap_add(self, st: St, new: Macro) -> None:
        """page_add_rmap()."""
        st.pte_chain = lambda p, v, x: st.pte_chain(p, v, x) | (new(v, x, p) & self.chained(st, p))

    def rmap_remove(self, st: St, gone: Macro) -> None:
        """page_remove_rmap()."""
        st.pte_chain = lambda p, v, x: st.pte_chain(p, v, x) & ~gone(v, x, p)

    def rmap_move(self, st: St, v: Expr, w: Expr, moves: Macro) -> None:
        """move_one_page(): page_remove_rmap() of the old entry, page_add_rmap() of the new."""
        st.pte_chain = lambda p, u, y: (
            (st.pte_chain(p, u, y) & ~((u == v) & exists(Address, lambda z: moves(y, z))))
            | ((u == w) & exists(Address, lambda x: moves(x, y) & st.pte_chain(p, v, x)))
        )

    def finds(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr:
        """Only the entries that the chain names."""
        named: Expr = st.pte_chain(p, v, x)
        return named

    def linear(self, st: St, v: Expr, p: Expr) -> Expr:
        """Not limited to the linear place: a chain names entries wherever they are."""
        return FALSE

    def may_remap(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr | bool:
        """Return whether p may be mapped at x, perhaps off its linear place."""
        return True

    @operation
    def remap_file_pages(self, st: St, v: Vma, x: Address, p: Folio) -> None:
        """Map p, any page of v's file, at x, which was cleared first; install_page()."""
        st.require(st.covers(v, x) & st.file_vma(v) & ~st.temporary_stack(v))
        st.require(self.no_entry(st, v, x), "the entry has been zapped")
        st.require(st.file(p) & (st.inode(p) == st.vm_file(v)), "p is a page of the file")
        st.require(self.may_remap(st, v, x, p), "rmap will find p there")
        self.rmap_add(st, self.set_entry(st, v, x, p))

    @invariant
    def chain_equals_ptes(self, st: St) -> Expr:
        """A page's chain names the entries that map it, each once, and nothing else.

        Rule pte_chain#exact.
        """
        return forall(
            Folio,
            Vma,
            Address,
            lambda p, v, x: st.pte_chain(p, v, x) == (st.pte(v, x, p) & self.chained(st, p)),
        )

    def interesting(self, st: St) -> Expr:
        """A page is mapped by two VMAs."""
        return exists(
            Vma,
            Vma,
            Address,
            Address,
            Folio,
            lambda v, w, x, y, p: st.pte(v, x, p) & st.pte(w, y, p) & (v != w),
        )
