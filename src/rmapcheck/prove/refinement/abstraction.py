"""From a state of the model to what a spec says of it: the abstraction.

The words are those of rmapcheck.specs.vocabulary; elements are the numbers that objects have
in their pools. What is in no process's list of VMAs is no VMA yet. A reference to an object that
has been freed is the number one past the pool, which is no live element. An anonymous page counts
as known to rmap (PageAnon) from its first mapping until it is freed, though some eras clear
folio->mapping when the last entry goes.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rmapcheck.invariants.families import addresses_of
from rmapcheck.logic.finite import Structure
from rmapcheck.logic.terms import Bool, SpecError
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import RmapWalkControl

if TYPE_CHECKING:
    from rmapcheck.logic.spec import Spec
    from rmapcheck.model.kernel import Kernel

Says = dict[str, Any]
Part = Callable[["Kernel", Says, list[int]], None]
"""Adds to what is said; is given the VMAs, in order."""


class Abstraction:
    """Makes structures of `spec` from states."""

    def __init__(self, spec: "Spec") -> None:
        self.spec = spec
        missing = [w for w in WORDS if w not in spec.symbols]
        if missing:
            raise SpecError(
                f"{spec.name} says nothing of {', '.join(missing)}, which a state of the model is "
                "compared by: derive it from Machine (rmapcheck.specs.machine)"
            )
        self.parts = [part for words, part in PARTS if all(w in spec.symbols for w in words)]
        self.nothing: Says = {
            s.name: set() if s.range is Bool else {} for s in spec.symbols.values()
        }
        self.universe: dict[str, Any] = {}

    def of(self, st: "Kernel") -> Structure:
        """Return what the spec says of `st`."""
        if not self.universe:
            self.universe = universe(st)
        says = self.nothing.copy()
        vmas = list(linked(st))
        for part in self.parts:
            part(st, says, vmas)
        return Structure(self.universe, says)


WORDS = ("vma", "covers", "mm", "pgoff", "folio", "pte", "swap", "swap_pte", "swap_cache")
"""What a spec must speak of."""


def universe(st: "Kernel") -> dict[str, Any]:
    """Return the elements of each sort: all that the pools can hold, and one past each."""
    found = {
        "Mm": range(1, st.mm.size + 1),
        "Address": range(st.pages),
        "Pgoff": range(-st.pages, 2 * st.pages + st.scope.file_pages + 1),
        "Vma": range(1, st.vma.size + 2),
        "Folio": range(1, st.folio.size + 2),
        "Swap": range(1, st.swap.size + 2),
        "Inode": range(1, max(st.scope.files, 1) + 1),
        "Pte": range(1, st.pte.size + 1),
    }
    if "anon_vma" in st.layout.structs:
        found["AnonVma"] = range(1, st.anon_vma.size + 2)
    if "anonmm" in st.layout.structs:
        found["AnonMm"] = range(1, st.anonmm.size + 2)
        found["Bundle"] = range(1, st.anonmm.size + 2)
    return found


def linked(st: "Kernel") -> Iterator[int]:
    """Yield the VMAs of all processes."""
    for mm in st.mm.indices():
        vma = st.mm[mm].mmap
        while vma:
            yield vma
            vma = st.vma[vma].vm_next


def machine(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """Virtual memory: vocabulary.py."""
    covers, pgoff, pte, swap_pte, mm = set(), {}, set(), set(), {}
    for vma in vmas:
        v = st.vma[vma]
        mm[vma] = v.vm_mm
        for address in range(v.vm_start, v.vm_end):
            covers.add((vma, address))
            pgoff[vma, address] = v.vm_pgoff + address - v.vm_start
            p = st.pte[pte_offset(st, v.vm_mm, address)]
            if p.folio:
                pte.add((vma, address, p.folio))
            elif p.swap:
                swap_pte.add((vma, address, p.swap))
    says["vma"] = set(vmas)
    says.update(covers=covers, pgoff=pgoff, pte=pte, swap_pte=swap_pte, mm=mm)
    says["folio"] = set(st.folio.indices())
    says["anon"] = set(says["folio"])
    says["swap"] = set(st.swap.indices())
    says["swap_cache"] = {(s, st.swap[s].folio) for s in says["swap"] if st.swap[s].folio}


def anon_pages(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """Which folios are known to rmap, and where: schemes with folio->mapping."""
    known = [p for p in says["folio"] if st.folio[p].mapping]
    says["mapping"] = {p: st.folio[p].mapping for p in known}
    says["index"] = {p: st.folio[p].index for p in known}


def files(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """The page cache, and the VMAs that map files, as the scheme lists them."""
    if not st.scope.files:
        return
    says["anon"] = {p for p in says["folio"] if st.folio[p].anon}
    cached = [p for p in says["folio"] if st.folio[p].address_space]
    says["file"] = set(cached)
    says["inode"] = {p: st.folio[p].address_space for p in cached}
    says["index"] = {**says["index"], **{p: st.folio[p].index for p in cached}}
    says["vm_file"] = {v: st.vma[v].vm_file for v in vmas if st.vma[v].vm_file}
    says["file_vma"] = set(says["vm_file"])
    says["i_mmap"] = {
        (f, v)
        for f in st.address_space.indices()
        for v in st.scheme.i_mmap.foreach(st, f, 0, st.scope.file_pages - 1, RmapWalkControl())
    }


def converted(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """PG_anon of file pages, whose entries are in a chain."""
    says["pg_anon"] = {p for p in says["file"] if st.folio[p].pg_anon}


def anon_vmas(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """struct anon_vma, and the VMAs that have one."""
    says["anon_vma"] = set(st.anon_vma.indices())
    says["faulted"] = {v for v in vmas if st.vma[v].anon_vma}
    says["active"] = {v: st.vma[v].anon_vma for v in says["faulted"]}


def chains(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """struct anon_vma_chain."""
    avc = set()
    head, tail = {}, {}
    for vma in vmas:
        c = st.vma[vma].anon_vma_chain
        if c:
            head[vma] = st.anon_vma_chain[c].anon_vma
        while c:
            tail[vma] = st.anon_vma_chain[c].anon_vma
            avc.add((vma, tail[vma]))
            c = st.anon_vma_chain[c].same_vma
    says.update(avc=avc, head=head, tail=tail)


def roots(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """anon_vma->root, since v2.6.36."""
    says["root"] = {(a, st.anon_vma[a].root) for a in st.anon_vma.indices()}


def parents(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """anon_vma->parent, since v3.19."""
    says["parent"] = {(a, st.anon_vma[a].parent) for a in st.anon_vma.indices()}


def pte_chains(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """What the walk visits, by schemes whose walker trusts a chain of entries.

    An entry in no VMA is said to be in the VMA one past the pool, which is none.
    """
    at = {pte_offset(st, st.vma[vma].vm_mm, x): (vma, x) for vma, x in says["covers"]}
    named = set()
    unchained = says["file"] - says["pg_anon"] if "pg_anon" in says else ()
    for p in st.folio.indices():
        if p in unchained:
            continue
        rwc = RmapWalkControl()
        st.scheme.rmap_walk(st, p, rwc)
        named |= {(p, *at.get(ptep, (st.vma.size + 1, 0))) for ptep in rwc.visited}
    says["pte_chain"] = named


def anonmms(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """struct anonmm; a bundle is called by the number of its head.

    One without a head is not yet an anonmm: exec has set it aside.
    """
    live = [m for m in st.mm.indices() if st.mm[m].anonmm]
    says["mm_live"] = set(live)
    says["of_mm"] = {m: st.mm[m].anonmm for m in live}
    says["anonmm"] = {a for a in st.anonmm.indices() if st.anonmm[a].head}
    says["bundle"] = {a: st.anonmm[a].head for a in says["anonmm"]}
    says["is_head"] = {a for a, head in says["bundle"].items() if a == head}


def addresses(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """PG_anon is the last mapping's, and an anonymous page knows addresses, not an index."""
    says["anon"] = set(says["mapping"])
    says["index"] = {p: st.folio[p].index for p in says["file"]}
    says["virtual"] = {(p, x) for p in says["anon"] for x in addresses_of(st, p)}


def nonlinear(st: "Kernel", says: Says, vmas: list[int]) -> None:
    """VM_NONLINEAR."""
    says["nonlinear"] = {v for v in vmas if st.scope.nonlinear and st.vma[v].vm_nonlinear}


PARTS: tuple[tuple[tuple[str, ...], Part], ...] = (
    (("covers",), machine),
    (("mapping", "index"), anon_pages),
    (("file", "i_mmap"), files),
    (("pg_anon",), converted),
    (("anon_vma",), anon_vmas),
    (("avc",), chains),
    (("root",), roots),
    (("parent",), parents),
    (("pte_chain",), pte_chains),
    (("nonlinear",), nonlinear),
    (("anonmm", "of_mm", "bundle"), anonmms),
    (("mapping", "virtual"), addresses),
)
"""What makes the words of a spec, if it has them."""
