"""Two sorts, three symbols, and a small spec of them, for tests of the logic."""

from rmapcheck.logic import Sort, Spec, counts, define, forall, invariant, operation, relation
from rmapcheck.logic.terms import FALSE, Symbol


class Vma(Sort):
    """A VMA."""


class Av(Sort):
    """An anon_vma."""


LIVE = Symbol("live", (Vma,), FALSE.sort)
IN = Symbol("in", (Vma, Av), FALSE.sort)
OWN = Symbol("own", (Vma,), Av)
SYMBOLS = (LIVE, IN, OWN)


class Tiny(Spec):
    """Two relations and a counter."""

    live = relation(Vma)
    inside = relation(Vma, Av)
    alive = relation(Av)
    used = counts(Vma, lambda st, v, a: st.inside(v, a), per=Av, alive="alive")

    @operation
    def birth(self, st, v: Vma, a: Av):
        """Create a VMA and its anon_vma."""
        st.require(~st.live(v) & ~st.alive(a))
        st.live[v] = True
        st.alive[a] = True
        st.inside[v, a] = True
        st.used.inc(a, v)

    @operation
    def death(self, st, v: Vma):
        """Free a VMA, and the anon_vmas that no other VMA has."""
        lonely = define(
            Av, lambda a: st.inside(v, a) & forall(Vma, lambda w: st.inside(w, a) >> (w == v))
        )
        st.used.sub(Vma, lambda w, a: (w == v) & st.inside(v, a))
        st.alive = lambda a: st.alive(a) & ~lonely(a)
        st.inside[v] = False
        st.live[v] = False

    @invariant
    def inside_live(self, st):
        """Only live VMAs and anon_vmas are inside."""
        return forall(Vma, Av, lambda v, a: st.inside(v, a) >> (st.live(v) & st.alive(a)))
