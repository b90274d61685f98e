"""An example of a spec: pages lead to anon_vmas, and the members of an anon_vma are VMAs."""

from rmapcheck.logic import (
    If,
    Sort,
    Spec,
    counts,
    define,
    exists,
    forall,
    function,
    invariant,
    operation,
    relation,
)


class Vma(Sort):
    """struct vm_area_struct."""


class Page(Sort):
    """struct page."""


class AnonVma(Sort):
    """Leads from a page to the VMAs that may map it."""


class MyRmap(Spec):
    """Fork makes the child a member of its parent's anon_vmas, and of a new one of its own."""

    name = "my-rmap"

    vma = relation(Vma)
    alive = relation(AnonVma)
    member = relation(Vma, AnonVma)
    own = function(Vma, AnonVma, where=lambda st, v: st.vma(v))
    pte = relation(Vma, Page)
    mapping = function(Page, AnonVma)
    members = counts(Vma, lambda st, v, a: st.member(v, a), per=AnonVma, alive="alive")

    @operation
    def mmap(self, st, v: Vma, n: AnonVma):
        """Add a VMA with a new anon_vma."""
        st.require(~st.vma(v) & ~st.alive(n))
        st.vma[v] = True
        st.alive[n] = True
        st.own[v] = n
        st.member[v, n] = True
        st.members.inc(n, v)

    @operation
    def fault(self, st, v: Vma, p: Page):
        """Map a page that no VMA maps."""
        st.require(st.vma(v) & forall(Vma, lambda w: ~st.pte(w, p)))
        st.pte[v, p] = True
        st.mapping[p] = st.own(v)

    @operation
    def fork(self, st, v: Vma, c: Vma, n: AnonVma):
        """Add the child's VMA c, which maps the same pages as v."""
        st.require(st.vma(v) & ~st.vma(c) & ~st.alive(n))
        st.members.add(Vma, lambda w, a: (w == c) & (st.member(v, a) | (a == n)))
        st.vma[c] = True
        st.alive[n] = True
        st.own[c] = n
        st.member = lambda w, a: If(w == c, st.member(v, a) | (a == n), st.member(w, a))
        st.pte[c] = lambda p: st.pte(v, p)

    @operation
    def munmap(self, st, v: Vma):
        """Remove v, and the anon_vmas that have no other member."""
        st.require(st.vma(v))
        left = define(AnonVma, lambda a: exists(Vma, lambda w: st.member(w, a) & (w != v)))
        st.members.sub(Vma, lambda w, a: (w == v) & st.member(v, a))
        st.alive = lambda a: st.alive(a) & left(a)
        st.pte[v] = False
        st.member[v] = False
        st.vma[v] = False

    @invariant
    def coverage(self, st):
        """A VMA that maps a page is a member of the page's anon_vma."""
        return forall(Vma, Page, lambda v, p: st.pte(v, p) >> st.member(v, st.mapping(p)))

    @invariant
    def own_is_member(self, st):
        """A VMA is a member of its own anon_vma."""
        return forall(Vma, lambda v: st.vma(v) >> st.member(v, st.own(v)))

    @invariant
    def nothing_dangles(self, st):
        """Only allocated VMAs map pages or are members, and only of allocated anon_vmas."""
        return forall(
            Vma,
            AnonVma,
            Page,
            lambda v, a, p: (
                (st.member(v, a) >> (st.vma(v) & st.alive(a))) & (st.pte(v, p) >> st.vma(v))
            ),
        )

    def interesting(self, st):
        """A page is mapped twice."""
        return exists(Vma, Vma, Page, lambda v, w, p: st.pte(v, p) & st.pte(w, p) & (v != w))
