"""Partial objrmap: file pages by i_mmap, anonymous ones by pte_chain (2.5.62-mm3).

A file page can be mapped off its linear place by remap_file_pages(), where i_mmap does not
find it. page_convert_anon() therefore gives such a page a chain, of all its entries, first. The
words that this adds to those of `pte_chain.py`:

    pg_anon(p)            the file page has been given a chain: it counts as anonymous for rmap

Kernels kept mapcount for pages without a chain only, in the same word; here each page has it.
"""

from typing import ClassVar

from invariants.logic import forall, invariant, operation, relation
from invariants.logic.terms import Expr, If
from rmapcheck.prove.specs.mapcount import Mapcounted
from rmapcheck.prove.specs.pte_chain import PteChain
from rmapcheck.prove.specs.vocabulary import Folio, St


class PartialObjrmap(Mapcounted, PteChain):
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
        "objrmap-2.6.6",
    )

    pg_anon = relation(Folio)

    def chained(self, st: St, p: Expr) -> Expr | bool:
        return st.anon(p) | st.pg_anon(p)

    def converts(self) -> bool:
        """Return whether remap_file_pages() calls page_convert_anon()."""
        return True

    def finds(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr:
        """page_referenced_obj(), try_to_unmap_obj(): by chain, or by i_mmap."""
        there = st.covers(v, x) & (st.pgoff(v, x) == st.index(p))
        by_file = st.file(p) & st.i_mmap(st.inode(p), v) & there
        return If(self.chained(st, p), st.pte_chain(p, v, x), by_file)

    def linear(self, st: St, p: Expr) -> Expr:
        """It does unless it has been given a chain."""
        anon: Expr = ~st.pg_anon(p)
        return anon

    def may_remap(self, st: St, p: Expr) -> Expr | bool:
        """Return whether p may be mapped off its linear place: it has been given a chain."""
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
