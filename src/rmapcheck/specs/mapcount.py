"""mapcount: for schemes that count in struct page how many entries map it."""

from rmapcheck.logic import counts
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.machine import Machine
from rmapcheck.specs.vocabulary import Address, Folio, St, Vma


class Mapcounted(Machine):
    """page->mapcount, folio->_mapcount: changes with each entry, not when an entry moves."""

    mapcount = counts(
        Vma,
        Address,
        lambda st, v, x, p: st.pte(v, x, p),
        per=Folio,
        alive="folio",
        doc="folio->_mapcount: entries that map it",
    )

    def rmap_add(self, st: St, new: Macro) -> None:
        super().rmap_add(st, new)
        st.mapcount.add(Vma, Address, new)

    def rmap_remove(self, st: St, gone: Macro) -> None:
        super().rmap_remove(st, gone)
        st.mapcount.sub(Vma, Address, gone)

    def rmap_move(self, st: St, v: Expr, w: Expr, moves: Macro) -> None:
        super().rmap_move(st, v, w, moves)
        st.mapcount.moved(
            Vma,
            Address,
            lambda a, x, b, y, p: (a == v) & (b == w) & moves(x, y) & st.pte(a, x, p),
        )
