"""VMAs, and the chains and trees of anon_vma_chain: is each structure consistent in itself?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import anon_vmas_of, place
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.state import ptep_to_address, ptep_to_mm
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant("validate_mm()", universal=True)
def vma_sane(st: "Kernel") -> Iterator[Violation]:
    """VMAs are ordered, do not overlap, and cover every entry that is not empty."""
    for mm in st.mm.indices():
        end = 0
        vma = st.mm[mm].mmap
        count = 0
        while vma and count <= st.pages:
            v = st.vma[vma]
            if v.vm_mm != mm or v.vm_start < end or v.vm_end <= v.vm_start:
                yield Violation(
                    f"v be VMA {vma} of process {mm}, pages {v.vm_start} … {v.vm_end - 1}",
                    f"v must start at or above {end}, not be empty, and belong to process {mm}",
                    f"it belongs to process {v.vm_mm}",
                    (("vma", vma),),
                )
            end = v.vm_end
            vma = v.vm_next
            count += 1
    for ptep in range(1, st.pte.size + 1):
        p = st.pte[ptep]
        if p.folio or p.swap or p.flags:
            mm = ptep_to_mm(st, ptep)
            if not st.mm.is_live(mm) or vma_lookup(st, mm, ptep_to_address(st, ptep)) == 0:
                yield Violation(
                    f"e be the entry of {place(st, ptep)}, which is not empty",
                    "a VMA must cover e",
                    "none does",
                    (("pte", ptep),),
                )


@invariant(
    "avc#symmetry",
    relies=(
        "unlink_anon_vmas() removes what is in the VMA's list, and the walk visits what "
        "is in the anon_vma's"
    ),
)
def chain_symmetry(st: "Kernel") -> Iterator[Violation]:
    """An AVC is in the list of its VMA and in that of its anon_vma; a pair has at most one AVC."""
    tree_of = [0] * (st.anon_vma_chain.size + 2)
    for anon_vma in st.anon_vma.indices():
        avc = st.anon_vma[anon_vma].head
        while avc:
            if tree_of[avc]:
                yield _asymmetric(avc, "be in one anon_vma's list, once", "it is found twice")
                return
            tree_of[avc] = anon_vma
            avc = st.anon_vma_chain[avc].same_anon_vma
    for vma in st.vma.indices():
        pairs: list[int] = []
        avc = st.vma[vma].anon_vma_chain
        while avc:
            c = st.anon_vma_chain[avc]
            if c.vma != vma or tree_of[avc] != c.anon_vma:
                yield _asymmetric(
                    avc,
                    f"be in the list of anon_vma {c.anon_vma} and point to VMA {vma}",
                    "it does not",
                )
            if c.anon_vma in pairs:
                then = f"be the only one of VMA {vma} and anon_vma {c.anon_vma}"
                yield _asymmetric(avc, then, "there is another")
            pairs.append(c.anon_vma)
            tree_of[avc] = 0
            avc = c.same_vma
    for avc, tree in enumerate(tree_of):
        if tree:
            then = f"be in a VMA's list too, not only anon_vma {tree}'s"
            yield _asymmetric(avc, then, "it is not")


def _asymmetric(avc: int, then: str, but: str) -> Violation:
    let = f"c be anon_vma_chain {avc}"
    return Violation(let, f"c must {then}", but, (("anon_vma_chain", avc),))


@invariant(
    "avc#active",
    relies=("a new page gets vma->anon_vma, and the walk finds the VMA there only through an AVC"),
)
def active_in_chain(st: "Kernel") -> Iterator[Violation]:
    """A VMA's own anon_vma is in its chain."""
    for vma in st.vma.indices():
        own = st.vma[vma].anon_vma
        if own and own not in anon_vmas_of(st, vma):
            yield Violation(
                f"v be VMA {vma}, whose anon_vma is {own}",
                f"v's chain must contain {own}",
                f"it contains {', '.join(map(str, anon_vmas_of(st, vma))) or 'nothing'}",
                (("vma", vma), ("anon_vma", own)),
            )


@invariant(
    "avc#lineage",
    relies=(
        "page_add_anon_rmap() of v2.6.34 takes the anon_vma at the tail for the oldest "
        "(ea90002b0fa7)"
    ),
)
def chain_order(st: "Kernel") -> Iterator[Violation]:
    """The chains of all VMAs that share an anon_vma end with the same anon_vma, the oldest."""
    first = [0] * (st.anon_vma.size + 2)
    oldest = [0] * (st.anon_vma.size + 2)
    for vma in st.vma.indices():
        chain = anon_vmas_of(st, vma)
        for anon_vma in chain:
            if first[anon_vma] == 0:
                first[anon_vma] = vma
                oldest[anon_vma] = chain[-1]
            elif oldest[anon_vma] != chain[-1]:
                yield Violation(
                    f"v and w be VMAs {first[anon_vma]} and {vma}, both in anon_vma {anon_vma}",
                    "both chains must end with the same anon_vma, the oldest",
                    f"v's ends with {oldest[anon_vma]}, w's with {chain[-1]}",
                    (("vma", first[anon_vma]), ("vma", vma)),
                )


@invariant(
    "avc#lineage",
    relies="unlink_anon_vmas() holds one lock, the root's, for all AVCs of a VMA",
)
def one_root(st: "Kernel") -> Iterator[Violation]:
    """All anon_vmas of a VMA have the same root, and the root is one of them."""
    for vma in st.vma.indices():
        chain = anon_vmas_of(st, vma)
        roots = {st.anon_vma[a].root for a in chain}
        if len(roots) > 1 or not all(root in chain for root in roots):
            yield Violation(
                f"v be VMA {vma} with anon_vmas {', '.join(map(str, chain))}",
                "all must have one root, which is one of them",
                f"their roots are {', '.join(map(str, sorted(roots)))}",
                (("vma", vma),),
            )


@invariant(
    "avc#ancestors",
    relies=("a page of the parent's anon_vma may be mapped in every VMA that was forked from it"),
)
def chain_ancestors(st: "Kernel") -> Iterator[Violation]:
    """A VMA that is in an anon_vma is also in the parent of that anon_vma."""
    for vma in st.vma.indices():
        chain = anon_vmas_of(st, vma)
        for anon_vma in chain:
            parent = st.anon_vma[anon_vma].parent
            if parent not in chain:
                yield Violation(
                    f"v be VMA {vma}, in anon_vma {anon_vma}",
                    f"v must be in its parent, {parent}, too",
                    f"v is in {', '.join(map(str, chain))}",
                    (("vma", vma), ("anon_vma", anon_vma)),
                )


@invariant(
    "avc#same-chain, d0e9fe1758f2",
    relies="is_mergeable_anon_vma() compares vma->anon_vma alone",
)
def same_anon_vma_same_chain(st: "Kernel") -> Iterator[Violation]:
    """VMAs of one process with the same anon_vma have the same chain, so that they can merge."""
    for vma in st.vma.indices():
        own = st.vma[vma].anon_vma
        other = first_like(st, vma)
        if own == 0 or other == vma:
            continue
        a, b = anon_vmas_of(st, other), anon_vmas_of(st, vma)
        if sorted(a) != sorted(b):
            yield Violation(
                f"v and w be VMAs {other} and {vma} of one process, both with anon_vma {own}",
                "their chains must contain the same anon_vmas, because a merge drops one chain",
                f"v's contains {', '.join(map(str, a))}, w's {', '.join(map(str, b))}",
                (("vma", other), ("vma", vma), ("anon_vma", own)),
            )


def first_like(st: "Kernel", vma: int) -> int:
    """Return the first VMA of the same process with the same anon_vma; it may be `vma` itself."""
    v = st.vma[vma]
    for other in st.vma.indices():
        if st.vma[other].vm_mm == v.vm_mm and st.vma[other].anon_vma == v.anon_vma:
            return other
    return vma


@invariant(
    "avc#one-process, 2555283eb40d",
    relies="anon_vma_clone() reuses no anon_vma that is the own one of a VMA (2555283eb40d)",
)
def active_in_one_process(st: "Kernel") -> Iterator[Violation]:
    """VMAs whose own anon_vma is the same belong to one process.

    Fork reuses only an idle anon_vma, so a walk never looks for a page in siblings of its process.
    """
    for vma in st.vma.indices():
        own = st.vma[vma].anon_vma
        for other in st.vma.indices():
            if own and other > vma and st.vma[other].anon_vma == own:
                if st.vma[other].vm_mm != st.vma[vma].vm_mm:
                    yield Violation(
                        f"v and w be VMAs {vma} and {other}, both with anon_vma {own}",
                        "they must belong to one process, because fork reuses only an idle one",
                        f"v is of process {st.vma[vma].vm_mm}, w of {st.vma[other].vm_mm}",
                        (("vma", vma), ("vma", other), ("anon_vma", own)),
                    )


@invariant(
    "avc#keys",
    relies="the walk skips subtrees by vm_pgoff",
)
def interval_tree_keys(st: "Kernel") -> Iterator[Violation]:
    """The tree of each anon_vma is ordered by the current vm_pgoff of its VMAs."""
    for anon_vma in st.anon_vma.indices():
        avc = st.anon_vma[anon_vma].head
        before = 0
        while avc:
            c = st.anon_vma_chain[avc]
            if st.vma[c.vma].vm_pgoff < before:
                yield Violation(
                    f"v be VMA {c.vma} in the tree of anon_vma {anon_vma}",
                    f"its vm_pgoff must be at least {before}, as of the VMA before it",
                    f"it is {st.vma[c.vma].vm_pgoff}",
                    (("vma", c.vma), ("anon_vma", anon_vma)),
                )
            before = st.vma[c.vma].vm_pgoff
            avc = c.same_anon_vma


@invariant(
    "avc#symmetric-merge, 879bca0a2c4f",
    relies="no code; 879bca0a2c4f made the rule one for both sides",
)
def merge_symmetric(st: "Kernel") -> Iterator[Violation]:
    """If one of two neighbours may grow over the other, the other may grow over it too."""
    for vma in st.vma.indices():
        other = st.vma[vma].vm_next
        if other == 0:
            continue
        a, b = st.vma[vma].anon_vma, st.vma[other].anon_vma
        up = st.scheme.is_mergeable_anon_vma(st, vma, b, other, 0)
        down = st.scheme.is_mergeable_anon_vma(st, other, a, vma, 0)
        if up != down:
            can, cannot = (vma, other) if up else (other, vma)
            yield Violation(
                f"v and w be the neighbouring VMAs {can} and {cannot}",
                "if v may take over w's pages, w may take over v's pages",
                "v may and w may not",
                (("vma", can), ("vma", cannot)),
            )
