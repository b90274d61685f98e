"""The eras of anon_vma_chain since v3.19, in which fork reuses an idle anon_vma."""

from typing import ClassVar

from rmapcheck.logic import Predicate, counts, forall, invariant, operation, relation
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.spec import Flaws
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.anon_vmas import AnonVma
from rmapcheck.specs.avc_eras import AvcTree
from rmapcheck.specs.vocabulary import Address, Mm, St, Vma


class AvcReuse(AvcTree):
    """Since v3.19 fork reuses an idle anon_vma; anon_vmas know their parents and count."""

    parent = relation(AnonVma, AnonVma)

    def may_reuse(self, st: St, a: Expr, own: Expr) -> Expr:
        """Return whether a forked VMA may reuse a as its own; `own` is its parent VMA's."""
        raise NotImplementedError

    def count_child(self, st: St, n: Expr, a: Expr) -> None:
        """Count n as a child of a."""

    def found_family(self, st: St, v: Expr, n: Expr) -> None:
        super().found_family(st, v, n)
        st.parent[n] = lambda b: b == n
        self.count_child(st, n, n)

    def join_family(self, st: St, v: Expr, c: Expr, n: Expr) -> None:
        super().join_family(st, v, c, n)
        st.parent[n] = lambda b: b == st.active(v)
        self.count_child(st, n, st.active(v))

    @operation
    def fork_reuse(self, st: St, v: Vma, c: Vma, m: Mm, a: AnonVma, K: Predicate[Address]) -> None:
        """Fork v: c gets the chain of v, and reuses an idle anon_vma of it; anon_vma_fork()."""
        st.require(st.faulted(v) & st.avc(v, a), "a is in the chain of v")
        st.require(self.may_reuse(st, a, st.active(v)), "reuse_anon_vma()")
        self.dup_vma(st, v, c, m)
        self.fork_chain(st, v, c)
        st.faulted[c] = True
        st.active[c] = a
        self.count_active(st, c)
        self.copy_entries(st, v, c, K)

    @invariant
    def chain_ancestors(self, st: St) -> Expr:
        """A VMA that has an anon_vma in its chain also has the anon_vma's parent."""
        return forall(
            Vma,
            AnonVma,
            AnonVma,
            lambda v, a, b: (st.avc(v, a) & st.parent(a, b)) >> st.avc(v, b),
        )

    @invariant
    def parent_is_one(self, st: St) -> Expr:
        """An anon_vma has one parent."""
        return forall(
            AnonVma,
            AnonVma,
            AnonVma,
            lambda a, b, d: (st.anon_vma(a) & st.parent(a, b) & st.parent(a, d)) >> (b == d),
        )

    @invariant
    def parent_alive(self, st: St) -> Expr:
        """The parent of an anon_vma has not been freed (avc#lifetime)."""
        return forall(
            AnonVma,
            AnonVma,
            lambda a, b: (st.anon_vma(a) & st.parent(a, b)) >> st.anon_vma(b),
        )


class AvcDegree(AvcReuse):
    """v3.19 … v6.0-rc3: one count, for children and VMAs together (7a3ef208e662)."""

    name = "avc-3.19"
    title = "anon_vma_chain with reuse by degree"
    kernels = "v3.19 … v6.0-rc3"
    flaws: ClassVar[Flaws] = {"B23": (("fork_reuse", "same_anon_vma_same_chain"),)}

    degree = counts(
        Vma,
        lambda st, v, a: st.faulted(v) & (st.active(v) == a),
        AnonVma,
        lambda st, b, a: st.anon_vma(b) & st.parent(b, a),
        per=AnonVma,
        alive="anon_vma",
        doc="anon_vma->degree: VMAs whose anon_vma it is, and its children; a root is its own",
    )

    def may_reuse(self, st: St, a: Expr, own: Expr) -> Expr:
        """At most one user is left, child or VMA."""
        return (a != own) & st.degree.at_most_one(a)

    def count_active(self, st: St, v: Expr) -> None:
        st.degree.add(Vma, lambda w, a: (w == v) & st.faulted(v) & (a == st.active(v)))

    def count_dup(self, st: St, v: Expr, w: Expr, gets: Expr) -> None:
        st.degree.add(Vma, lambda u, a: (u == v) & gets & (a == st.active(w)))

    def uncount_active(self, st: St, v: Expr) -> None:
        st.degree.sub(Vma, lambda w, a: (w == v) & st.faulted(v) & (a == st.active(v)))

    def count_child(self, st: St, n: Expr, a: Expr) -> None:
        st.degree.inc(a, n)

    def uncount_emptied(self, st: St, emptied: Macro) -> None:
        st.degree.sub(AnonVma, lambda b, a: emptied(b) & st.parent(b, a))


class AvcCounters(AvcReuse):
    """v6.0-rc4 … v6.15: children and active VMAs are counted separately (2555283eb40d)."""

    name = "avc-6.0"
    title = "anon_vma_chain with two counters"
    schemes: ClassVar[tuple[str, ...]] = ("avc-6.1", "avc-6.12")
    kernels = "v6.0-rc4 … v6.15"

    num_active_vmas = counts(
        Vma,
        lambda st, v, a: st.faulted(v) & (st.active(v) == a),
        per=AnonVma,
        alive="anon_vma",
        doc="anon_vma->num_active_vmas: VMAs whose anon_vma it is",
    )
    num_children = counts(
        AnonVma,
        lambda st, b, a: st.anon_vma(b) & st.parent(b, a),
        per=AnonVma,
        alive="anon_vma",
        doc="anon_vma->num_children: anon_vmas whose parent it is; a root counts itself",
    )

    def may_reuse(self, st: St, a: Expr, own: Expr) -> Expr:
        """No VMA has it as its own anon_vma, and it has at most one child."""
        return st.num_active_vmas.is_zero(a) & st.num_children.at_most_one(a)

    def count_active(self, st: St, v: Expr) -> None:
        st.num_active_vmas.add(Vma, lambda w, a: (w == v) & st.faulted(v) & (a == st.active(v)))

    def count_dup(self, st: St, v: Expr, w: Expr, gets: Expr) -> None:
        st.num_active_vmas.add(Vma, lambda u, a: (u == v) & gets & (a == st.active(w)))

    def uncount_active(self, st: St, v: Expr) -> None:
        st.num_active_vmas.sub(Vma, lambda w, a: (w == v) & st.faulted(v) & (a == st.active(v)))

    def count_child(self, st: St, n: Expr, a: Expr) -> None:
        st.num_children.inc(a, n)

    def uncount_emptied(self, st: St, emptied: Macro) -> None:
        st.num_children.sub(AnonVma, lambda b, a: emptied(b) & st.parent(b, a))

    @operation(changes=False)
    def merge_enomem(self, st: St, v: Vma, w: Vma) -> None:
        """A merge runs out of memory after dup_anon_vma(), and undoes it (824135c46b00)."""
        st.require(st.vma(v) & st.vma(w) & (v != w) & (st.mm(v) == st.mm(w)), "neighbours")
        st.require(~st.temporary_stack(v) & ~st.temporary_stack(w))
        st.require(self.is_mergeable(st, v, w), "is_mergeable_anon_vma(v, w)")
        st.require(st.faulted(w) & ~st.faulted(v), "v gets the anon_vma of w")
        self.dup_anon_vma(st, v, w)
        self.undo_dup(st, v)

    def undo_dup(self, st: St, v: Expr) -> None:
        """unlink_anon_vmas(anon_dup) in the error paths of vma_merge() and vma_expand()."""
        self.unlink_anon_vmas(st, v)


class AvcMerge(AvcCounters):
    """v6.16 … v6.19: a never-faulted VMA may take over faulted neighbours (879bca0a2c4f)."""

    name = "avc-6.16"
    title = "anon_vma_chain with symmetric merging"
    kernels = "v6.16 … v6.19"

    def inherits_copied_from(self) -> bool:
        """Since 61f67c230a5e (v6.19, v6.18.8)."""
        return True

    def may_take_over(self, st: St, v: Expr, w: Expr) -> Expr:
        """The one that is faulted must not be a fork child."""
        return (st.faulted(v) >> self.chain_is_singular(st, v)) & (
            st.faulted(w) >> self.chain_is_singular(st, w)
        )

    def may_take_copy(self, st: St, v: Expr, w: Expr) -> Expr:
        return self.may_take_over(st, v, w)


class AvcPublish(AvcMerge):
    """v7.0 …: a clone is built where no one sees it, then published under the lock."""

    name = "avc-7.0"
    title = "anon_vma_chain, assign then publish"
    kernels = "v7.0 …"

    def undo_clone(self, st: St, c: Expr) -> None:
        """cleanup_partial_anon_vmas(): the AVCs are in no list yet, so they are only freed."""
        st.avc[c] = False
        st.faulted[c] = False

    def undo_fork(self, st: St, c: Expr) -> None:
        """Both allocations come before the clone, so only the clone has to be undone."""
        self.undo_clone(st, c)
