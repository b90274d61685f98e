"""i_mmap: the container in which a file keeps the VMAs that map it, by offset.

Exchangeable under any scheme: a class here is a mixin, the first base of a scheme, and whatever
comes first in the scheme's MRO is its container. The MM core and the schemes use nothing but::

    i_mmap_insert(st, mapping, vma, beside)      `beside`: the parent's VMA in fork, else 0
    i_mmap_remove(st, mapping, vma)
    i_mmap_foreach(st, mapping, first, last, rwc)    VMAs that overlap first … last, in its order
    i_mmap_nonlinear(st, mapping, rwc)               VMAs that may hold pages anywhere
    i_mmap_members(st, mapping)                      all of them, for invariants

All under the lock of i_mmap: i_shared_lock (spinlock, v2.4 … v2.5.5x), i_shared_sem (semaphore,
to v2.6.6), i_mmap_lock (spinlock, v2.6.7), i_mmap_mutex (v3.0), i_mmap_rwsem (v3.19). Where
`i_mmap_keyed` is true, the core takes a VMA out before its range changes and puts it back after
(vma_adjust(), vma_prepare()); a plain list does not care.

Here are the lists. Two until v2.6.6: i_mmap for private mappings, i_mmap_shared for VM_SHARED; a
nonlinear VMA is in the second, among the others. One, and one apart for nonlinear VMAs, since
v2.6.7; there the first was a prio_tree to v3.6 (i_mmap_prio_tree.py) and an interval tree since
v3.7 (interval_tree.py), of which a list has the members but neither the order nor the cost.

Sources: mm/mmap.c, kernel/fork.c of v2.6.0, v2.6.7 and v3.7, recalled.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from rmapcheck.model.machine.heap import ref, refs
from rmapcheck.model.machine.locks import I_MMAP_LOCK, assert_held_write
from rmapcheck.model.machine.structs import VM_SHARED

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


class IMmapList:
    """i_mmap, and i_mmap_nonlinear beside it (v2.6.7 …), as plain lists."""

    i_mmap_fields: ClassVar[dict[str, dict[str, Any]]] = {
        "address_space": {"i_mmap": refs("vma", 2)},
        "vma": {"shared": ref("vma")},
    }
    """By pool: the fields that the container needs, declared as in `extra_fields`."""
    i_mmap_invariants: ClassVar[tuple[str, ...]] = ("i_mmap_query",)
    """Names of what must hold of the container, where there are files."""
    i_mmap_keyed: ClassVar[bool] = False
    """A VMA's place depends on its range."""
    i_mmap_linear: ClassVar[int] = 1
    """How many of the lists, from the first, hold linear VMAs."""

    def size_mask(self, st: "State", mapping: int) -> int:
        """Return the first bit of a size that decides in a prio_tree, where there is one."""
        return 0

    def i_mmap_lock_adjust(self) -> bool:
        """Tell whether the lock is held while a VMA's range changes (069e01553a, v2.6.0-test9)."""
        return True

    def i_mmap_which(self, st: "State", vma: int) -> int:
        """Return which list `vma` belongs to."""
        return st.vma[vma].vm_nonlinear

    def i_mmap_insert(self, st: "State", mapping: int, vma: int, beside: int) -> None:
        """Put `vma` behind `beside`, or at the tail."""
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA enters i_mmap")
        which = self.i_mmap_which(st, vma)
        st.vma[vma].shared = 0
        last = beside or st.address_space[mapping].i_mmap[which]
        if last == 0:
            st.address_space[mapping].i_mmap[which] = vma
            return
        while beside == 0 and st.vma[last].shared:
            last = st.vma[last].shared
        st.vma[vma].shared = st.vma[last].shared
        st.vma[last].shared = vma

    def i_mmap_remove(self, st: "State", mapping: int, vma: int) -> None:
        """Take `vma` out."""
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA leaves i_mmap")
        which = self.i_mmap_which(st, vma)
        at = st.address_space[mapping].i_mmap[which]
        if at == vma:
            st.address_space[mapping].i_mmap[which] = st.vma[vma].shared
        else:
            while st.vma[at].shared != vma:
                at = st.vma[at].shared
            st.vma[at].shared = st.vma[vma].shared
        st.vma[vma].shared = 0

    def i_mmap_foreach(
        self, st: "State", mapping: int, first: int, last: int, rwc: "RmapWalkControl"
    ) -> list[int]:
        """Return the linear VMAs that overlap offsets `first` … `last`; all are looked at."""
        found: list[int] = []
        for which in range(self.i_mmap_linear):
            vma = st.address_space[mapping].i_mmap[which]
            while vma and rwc.nodes < rwc.limit:
                rwc.nodes += 1
                v = st.vma[vma]
                if v.vm_pgoff <= last and first < v.vm_pgoff + v.vm_end - v.vm_start:
                    found.append(vma)
                vma = v.shared
        return found

    def i_mmap_nonlinear(self, st: "State", mapping: int, rwc: "RmapWalkControl") -> list[int]:
        """Return the VMAs in which any page of the file may be anywhere."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap[1]
        while vma and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            if st.vma[vma].vm_nonlinear:
                found.append(vma)
            vma = st.vma[vma].shared
        return found

    def i_mmap_members(self, st: "State", mapping: int) -> list[int]:
        """Return all VMAs, as often as they are there; a list in a circle is cut."""
        found: list[int] = []
        for which in range(2):
            vma = st.address_space[mapping].i_mmap[which]
            while vma and found.count(vma) < 2:
                found.append(vma)
                vma = st.vma[vma].shared if st.vma.is_live(vma) else 0
        return found


class IMmapLists(IMmapList):
    """i_mmap and i_mmap_shared (v2.4 … v2.6.6)."""

    i_mmap_linear = 2

    def i_mmap_which(self, st: "State", vma: int) -> int:
        """Shared mappings have a list of their own, nonlinear ones too."""
        return 1 if st.vma[vma].vm_flags & VM_SHARED else 0
