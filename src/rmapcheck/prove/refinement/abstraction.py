"""The abstraction: turns a state of the model into a structure of a spec.

The symbols are those of rmapcheck.specs.vocabulary; elements are the numbers of objects in their
pools. A VMA that is in no process's list does not count as a VMA yet. A reference to a freed
object becomes the number one past the pool, which is never a live element. An anonymous page
counts as known to rmap (PageAnon) from its first mapping until it is freed, although some eras
clear folio->mapping when the last entry goes.
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

Tables = dict[str, Any]
Part = Callable[["Kernel", Tables, list[int]], None]
"""Fills tables from a state; the last argument is the list of all VMAs, in order."""


class Abstraction:
    """Turns states into structures of `spec`."""

    def __init__(self, spec: "Spec") -> None:
        self.spec = spec
        missing = [w for w in WORDS if w not in spec.symbols]
        if missing:
            raise SpecError(
                f"{spec.name} does not declare {', '.join(missing)}, which refinement needs: "
                "derive it from Machine (rmapcheck.specs.machine)"
            )
        self.parts = [part for words, part in PARTS if all(w in spec.symbols for w in words)]
        self.nothing: Tables = {
            s.name: set() if s.range is Bool else {} for s in spec.symbols.values()
        }
        self.universe: dict[str, Any] = {}

    def of(self, st: "Kernel") -> Structure:
        """Return the structure of the spec for state `st`."""
        if not self.universe:
            self.universe = universe(st)
        tables = self.nothing.copy()
        vmas = list(linked(st))
        for part in self.parts:
            part(st, tables, vmas)
        return Structure(self.universe, tables)


WORDS = ("vma", "covers", "mm", "pgoff", "folio", "pte", "swap", "swap_pte", "swap_cache")
"""Symbols that a spec must declare."""


def universe(st: "Kernel") -> dict[str, Any]:
    """Return the elements of each sort: the numbers of each pool, and one past them."""
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


def machine(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill the tables of virtual memory; see specs/vocabulary.py."""
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
    tables["vma"] = set(vmas)
    tables.update(covers=covers, pgoff=pgoff, pte=pte, swap_pte=swap_pte, mm=mm)
    tables["folio"] = set(st.folio.indices())
    tables["anon"] = set(tables["folio"])
    tables["swap"] = set(st.swap.indices())
    tables["swap_cache"] = {(s, st.swap[s].folio) for s in tables["swap"] if st.swap[s].folio}


def anon_pages(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in which folios rmap knows, and where, for schemes with folio->mapping."""
    known = [p for p in tables["folio"] if st.folio[p].mapping]
    tables["mapping"] = {p: st.folio[p].mapping for p in known}
    tables["index"] = {p: st.folio[p].index for p in known}


def files(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in the page cache, and the VMAs that map files, as the scheme lists them."""
    if not st.scope.files:
        return
    tables["anon"] = {p for p in tables["folio"] if st.folio[p].anon}
    cached = [p for p in tables["folio"] if st.folio[p].address_space]
    tables["file"] = set(cached)
    tables["inode"] = {p: st.folio[p].address_space for p in cached}
    tables["index"] = {**tables["index"], **{p: st.folio[p].index for p in cached}}
    tables["vm_file"] = {v: st.vma[v].vm_file for v in vmas if st.vma[v].vm_file}
    tables["file_vma"] = set(tables["vm_file"])
    tables["i_mmap"] = {
        (f, v)
        for f in st.address_space.indices()
        for v in st.scheme.i_mmap.foreach(st, f, 0, st.scope.file_pages - 1, RmapWalkControl())
    }


def converted(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in PG_anon of file pages, whose entries are in a chain."""
    tables["pg_anon"] = {p for p in tables["file"] if st.folio[p].pg_anon}


def anon_vmas(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in struct anon_vma, and the VMAs that have one."""
    tables["anon_vma"] = set(st.anon_vma.indices())
    tables["faulted"] = {v for v in vmas if st.vma[v].anon_vma}
    tables["active"] = {v: st.vma[v].anon_vma for v in tables["faulted"]}


def chains(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
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
    tables.update(avc=avc, head=head, tail=tail)


def roots(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in anon_vma->root, since v2.6.36."""
    tables["root"] = {(a, st.anon_vma[a].root) for a in st.anon_vma.indices()}


def parents(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in anon_vma->parent, since v3.19."""
    tables["parent"] = {(a, st.anon_vma[a].parent) for a in st.anon_vma.indices()}


def pte_chains(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in what the walk visits, for schemes whose walker trusts a chain of entries.

    An entry outside all VMAs is assigned to the VMA one past the pool, which does not exist.
    """
    at = {pte_offset(st, st.vma[vma].vm_mm, x): (vma, x) for vma, x in tables["covers"]}
    named = set()
    unchained = tables["file"] - tables["pg_anon"] if "pg_anon" in tables else ()
    for p in st.folio.indices():
        if p in unchained:
            continue
        rwc = RmapWalkControl()
        st.scheme.rmap_walk(st, p, rwc)
        named |= {(p, *at.get(ptep, (st.vma.size + 1, 0))) for ptep in rwc.visited}
    tables["pte_chain"] = named


def anonmms(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in struct anonmm. A bundle has the number of its head.

    An anonmm without a head does not count yet: exec has allocated it in advance.
    """
    live = [m for m in st.mm.indices() if st.mm[m].anonmm]
    tables["mm_live"] = set(live)
    tables["of_mm"] = {m: st.mm[m].anonmm for m in live}
    tables["anonmm"] = {a for a in st.anonmm.indices() if st.anonmm[a].head}
    tables["bundle"] = {a: st.anonmm[a].head for a in tables["anonmm"]}
    tables["is_head"] = {a for a, head in tables["bundle"].items() if a == head}


def addresses(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """Fill in addresses of anonymous pages, for schemes that keep an address and not an index.

    There, PG_anon ends with the last mapping.
    """
    tables["anon"] = set(tables["mapping"])
    tables["index"] = {p: st.folio[p].index for p in tables["file"]}
    tables["virtual"] = {(p, x) for p in tables["anon"] for x in addresses_of(st, p)}


def nonlinear(st: "Kernel", tables: Tables, vmas: list[int]) -> None:
    """VM_NONLINEAR."""
    tables["nonlinear"] = {v for v in vmas if st.scope.nonlinear and st.vma[v].vm_nonlinear}


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
"""Symbols → the function that fills their tables, used if a spec declares all of them."""
