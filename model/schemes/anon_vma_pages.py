"""anon_vma_chain, its pages: what a page stores, and the walk; do_page_add_anon_rmap(), mm/rmap.c.

A page stores an anon_vma (`mapping`) and its offset (`index`). The walk visits the page's place in
each VMA that has an AVC to this anon_vma. anon_vma_chain.py says how the AVCs come to be. These
are methods of AvcBase, in a file of their own.
"""

from typing import TYPE_CHECKING, Protocol

from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, release
from rmapcheck.model.machine.state import linear_page_index, vma_address

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


class Eras(Protocol):
    """What the eras of anon_vma_chain decide about pages."""

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """Return the anon_vma whose lock protects the AVCs of `anon_vma`."""

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """Return the anon_vma for a page that may be shared already."""

    def set_anon(
        self, st: "State", folio: int, vma: int, address: int, *, exclusive: bool
    ) -> None:
        """Set anon_vma and index of a page."""

    @staticmethod
    def visit(st: "State", rwc: "RmapWalkControl", mm: int, address: int) -> None:
        """Visit page `address` of `mm`."""


def set_anon(
    self: "Eras", st: "State", folio: int, vma: int, address: int, *, exclusive: bool
) -> None:
    """Set anon_vma and index of a page; __page_set_anon_rmap(), __folio_set_anon()."""
    f = st.folio[folio]
    f.mapping = st.vma[vma].anon_vma if exclusive else self.shared_anon_vma(st, vma)
    f.index = linear_page_index(st, vma, address)


def folio_add_new_anon_rmap(
    self: "Eras", st: "State", folio: int, vma: int, address: int, ptep: int
) -> None:
    """Count the first entry of a new page, and store the own anon_vma of its VMA."""
    st.folio[folio].mapcount = 1
    self.set_anon(st, folio, vma, address, exclusive=True)


def folio_dup_anon_rmap(
    self: "Eras", st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
) -> None:
    """Count the entry that fork copies."""
    st.folio[folio].mapcount += 1


def folio_add_file_rmap(
    self: "Eras", st: "State", folio: int, vma: int, address: int, ptep: int
) -> None:
    """Count the entry; the page is found by its file."""
    st.folio[folio].mapcount += 1


def folio_dup_file_rmap(
    self: "Eras", st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
) -> None:
    """Count the entry that fork copies; the page is found by its file."""
    st.folio[folio].mapcount += 1


def folio_remove_rmap(
    self: "Eras", st: "State", folio: int, vma: int, address: int, ptep: int
) -> None:
    """Stop counting the entry; `mapping` stays."""
    st.folio[folio].mapcount -= 1


def folio_move_anon_rmap(self: "Eras", st: "State", folio: int, vma: int) -> None:
    """Move a page that only the writer maps to the writer's own anon_vma (c44b674323f4)."""
    st.folio[folio].mapping = st.vma[vma].anon_vma


def walk_lock(self: "Eras", st: "State", folio: int) -> int:
    """Return the anon_vma whose lock a walk of the page needs."""
    return self.lock_of(st, st.folio[folio].mapping)


def rmap_lock(self: "Eras", st: "State", folio: int) -> int:
    """Lock the page's anon_vma; page_lock_anon_vma(), folio_lock_anon_vma_read()."""
    lock = self.lock_of(st, st.folio[folio].mapping)
    acquire(st, ANON_VMA_LOCK, lock, write=False)
    return lock


def rmap_unlock(self: "Eras", st: "State", lock: int) -> None:
    """Release the lock that `rmap_lock` took."""
    release(st, ANON_VMA_LOCK, lock)


def rmap_walk(self: "Eras", st: "State", folio: int, rwc: "RmapWalkControl") -> None:
    """Visit the page's place in each VMA of its anon_vma; rmap_walk_anon()."""
    index = st.folio[folio].index
    avc = st.anon_vma[st.folio[folio].mapping].head
    while avc:
        rwc.nodes += 1
        vma = st.anon_vma_chain[avc].vma
        address = vma_address(st, vma, index)
        if address >= 0:
            self.visit(st, rwc, st.vma[vma].vm_mm, address)
        avc = st.anon_vma_chain[avc].same_anon_vma
