"""Partial objrmap: file pages by i_mmap, anonymous ones by pte_chain (2.5.62-mm3).

remap_file_pages() can map a file page off its linear place, where i_mmap does not find it. So
page_convert_anon() first gives such a page a chain of all its entries. Symbols in addition to
those of `pte_chain.py`:

    pg_anon(p)            the file page has a chain: it counts as anonymous for rmap

The form that was merged for a day gave no chain to pages of files, but marked the VMA:

    nonlinear(v)          VM_NONLINEAR: pages of v's file are anywhere in it

Kernels had mapcount only for pages without a chain, in the same word; here each page has it.
"""

from typing import Any, ClassVar

from rmapcheck.logic import forall, invariant, operation, relation
from rmapcheck.logic.terms import Expr, If
from rmapcheck.specs.mapcount import Mapcounted
from rmapcheck.specs.pte_chain import PteChain
from rmapcheck.specs.vocabulary import Folio, St, Vma


class ObjrmapFamily(Mapcounted, PteChain):
    """What all forms share: chains for pages that have one, i_mmap for other pages of files."""

    def finds(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr:
        """page_referenced_obj(), try_to_unmap_obj(): the places of p in VMAs of its file."""
        there = self.linear(st, v, p) >> (st.pgoff(v, x) == st.index(p))
        by_file = st.file(p) & st.i_mmap(st.inode(p), v) & st.covers(v, x) & there
        return If(self.chained(st, p), st.pte_chain(p, v, x), by_file)


class PartialObjrmap(ObjrmapFamily):
    """McCracken's objrmap with page_convert_anon() (form 5c)."""

    name = "partial-objrmap"
    title = "partial objrmap: files by object, anonymous by chain"
    kernels = "v2.5.62-mm3 … v2.5.66-mm3"
    schemes: ClassVar[tuple[str, ...]] = (
        "objrmap-2.5.62-3",
        "objrmap-2.5.62-5",
        "objrmap-2.5.66-mm2",
        "objrmap-2.5.66-mm3",
        "objrmap-core-1",
    )

    pg_anon = relation(Folio)

    def chained(self, st: St, p: Expr) -> Expr | bool:
        return st.anon(p) | st.pg_anon(p)

    def converts(self) -> bool:
        """Return whether remap_file_pages() calls page_convert_anon()."""
        return True

    def linear(self, st: St, v: Expr, p: Expr) -> Expr:
        """Return whether it is found only at its linear place: it has no chain."""
        anon: Expr = ~st.pg_anon(p)
        return anon

    def may_remap(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr | bool:
        """Return whether it may be mapped anywhere: it has a chain."""
        return st.pg_anon(p) if self.converts() else True

    @operation
    def page_convert_anon(self, st: St, p: Folio) -> None:
        """Give p a chain of all entries that map it."""
        st.require(st.file(p))
        st.pte_chain[p] = lambda v, x: st.pte(v, x, p)
        st.pg_anon[p] = True

    @invariant
    def pg_anon_is_file(self, st: St) -> Expr:
        """Only a page of the page cache is converted."""
        return forall(Folio, lambda p: st.pg_anon(p) >> (st.file(p) & st.folio(p)))

    @operation
    def filemap_remove_folio(self, st: St, p: Folio) -> None:
        """p leaves the page cache: truncated or reclaimed; __remove_from_page_cache()."""
        super().filemap_remove_folio(st, p)
        st.pg_anon[p] = False


class SearchedObjrmap(ObjrmapFamily):
    """rmap 7 and 8: no page of a file gets a chain, but nonlinear VMAs are searched (form 5e)."""

    name = "objrmap-2.6.6"
    title = "partial objrmap, nonlinear VMAs searched"
    kernels = "v2.6.6, for a day of Linus's tree"
    schemes: ClassVar[tuple[str, ...]] = ("objrmap-2.6.6",)

    nonlinear = relation(Vma)

    def chained(self, st: St, p: Expr) -> Expr | bool:
        anon: Expr = st.anon(p)
        return anon

    def linear(self, st: St, v: Expr, p: Expr) -> Expr:
        """Return whether v is not marked; marked VMAs are searched entry by entry."""
        unmarked: Expr = ~st.nonlinear(v)
        return unmarked

    def may_remap(self, st: St, v: Expr, x: Expr, p: Expr) -> Expr | bool:
        """Return whether x is its linear place, or v is marked."""
        placed: Expr = st.nonlinear(v) | (st.pgoff(v, x) == st.index(p))
        return placed

    @operation
    def make_nonlinear(self, st: St, v: Vma) -> None:
        """Set VM_NONLINEAR of v, which stays set; sys_remap_file_pages()."""
        st.require(st.vma(v) & st.file_vma(v) & self.at_rest(st, v))
        st.nonlinear[v] = True

    def new_vma(self, st: St, v: Expr, m: Expr, C: Any, I: Any) -> None:  # noqa: ANN401
        super().new_vma(st, v, m, C, I)
        st.nonlinear[v] = False

    def copy_file(self, st: St, v: Expr, w: Expr) -> None:
        """Copy the mark, too: it is one of vm_flags."""
        super().copy_file(st, v, w)
        st.nonlinear[w] = st.nonlinear(v)

    def same_file(self, st: St, v: Expr, w: Expr) -> Expr:
        """Neighbours merge only if their vm_flags are the same."""
        return super().same_file(st, v, w) & (st.nonlinear(v) == st.nonlinear(w))
