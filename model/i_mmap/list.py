"""i_mmap as lists of VMAs (v2.4 … v2.6.6), and what every container of a file's VMAs offers.

Two lists until v2.6.6: i_mmap for private mappings, i_mmap_shared for VM_SHARED; a nonlinear VMA
is in the second, among the others. One, and one apart for nonlinear VMAs, since v2.6.7; there the
first was a prio_tree to v3.6 (prio_tree.py) and an interval tree since v3.7 (interval_tree.py), of
which a list has the members but neither the order nor the cost.

All under the lock of i_mmap: i_shared_lock (spinlock, v2.4 … v2.5.5x), i_shared_sem (semaphore,
to v2.6.6), i_mmap_lock (spinlock, v2.6.7), i_mmap_mutex (v3.0), i_mmap_rwsem (v3.19).

Sources: mm/mmap.c, kernel/fork.c of v2.6.0, v2.6.7 and v3.7, recalled.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.heap import ref, refs
from rmapcheck.model.machine.locks import I_MMAP_LOCK, assert_held_write
from rmapcheck.model.machine.structs import VM_SHARED

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


class IMmap:
    """The container in which a file keeps the VMAs that map it, by offset.

    An object of a class below this one is the `i_mmap` of a scheme, whichever it is. It holds
    nothing but constants: all state is in fields of `address_space` and `vma`.
    """

    fields: ClassVar[dict[str, dict[str, Any]]] = {}
    """By pool: the fields that the container needs, declared as in `Scheme.extra_fields`."""
    invariants: ClassVar[tuple[str, ...]] = ()
    """Names of what must hold of the container, where there are files."""
    keyed: ClassVar[bool] = False
    """A VMA's place depends on its range: the MM core takes it out before that changes, and puts
    it back after (vma_adjust(), vma_prepare())."""

    def __setattr__(self, name: str, value: object) -> None:
        raise SchemeError(
            f"container {type(self).__name__} keeps something in self.{name}, which is not part "
            "of the state that is saved and restored: declare a field in `fields`"
        )

    def insert(self, st: "State", mapping: int, vma: int, beside: int) -> None:
        """Put `vma` in; `beside` is the parent's VMA in fork, else 0. The lock is held."""
        raise NotImplementedError

    def remove(self, st: "State", mapping: int, vma: int) -> None:
        """Take `vma` out. The lock is held."""
        raise NotImplementedError

    def foreach(
        self, st: "State", mapping: int, first: int, last: int, rwc: "RmapWalkControl"
    ) -> list[int]:
        """Return the linear VMAs that overlap offsets `first` … `last`, in the order met."""
        raise NotImplementedError

    def nonlinear(self, st: "State", mapping: int, rwc: "RmapWalkControl") -> list[int]:
        """Return the VMAs in which any page of the file may be anywhere."""
        raise NotImplementedError

    def members(self, st: "State", mapping: int) -> list[int]:
        """Return all VMAs, as often as they are there, for invariants; a circle is cut."""
        raise NotImplementedError

    def size_mask(self, st: "State", mapping: int) -> int:
        """Return the first bit of a size that decides in a prio_tree, where there is one."""
        return 0


class IMmapList(IMmap):
    """i_mmap, and nonlinear beside it (v2.6.7 …), as plain lists."""

    fields: ClassVar[dict[str, dict[str, Any]]] = {
        "address_space": {"i_mmap": refs("vma", 2)},
        "vma": {"shared": ref("vma")},
    }
    invariants: ClassVar[tuple[str, ...]] = ("i_mmap_query",)
    linear_lists: ClassVar[int] = 1
    """How many of the lists, from the first, hold linear VMAs."""

    def which(self, st: "State", vma: int) -> int:
        """Return which list `vma` belongs to."""
        return st.vma[vma].vm_nonlinear

    def insert(self, st: "State", mapping: int, vma: int, beside: int) -> None:
        """Put `vma` behind `beside`, or at the tail."""
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA enters i_mmap")
        which = self.which(st, vma)
        st.vma[vma].shared = 0
        last = beside or st.address_space[mapping].i_mmap[which]
        if last == 0:
            st.address_space[mapping].i_mmap[which] = vma
            return
        while beside == 0 and st.vma[last].shared:
            last = st.vma[last].shared
        st.vma[vma].shared = st.vma[last].shared
        st.vma[last].shared = vma

    def remove(self, st: "State", mapping: int, vma: int) -> None:
        """Take `vma` out."""
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA leaves i_mmap")
        which = self.which(st, vma)
        at = st.address_space[mapping].i_mmap[which]
        if at == vma:
            st.address_space[mapping].i_mmap[which] = st.vma[vma].shared
        else:
            while st.vma[at].shared != vma:
                at = st.vma[at].shared
            st.vma[at].shared = st.vma[vma].shared
        st.vma[vma].shared = 0

    def foreach(
        self, st: "State", mapping: int, first: int, last: int, rwc: "RmapWalkControl"
    ) -> list[int]:
        """Return the linear VMAs that overlap offsets `first` … `last`; all are looked at."""
        found: list[int] = []
        for which in range(self.linear_lists):
            vma = st.address_space[mapping].i_mmap[which]
            while vma and rwc.nodes < rwc.limit:
                rwc.nodes += 1
                v = st.vma[vma]
                if v.vm_pgoff <= last and first < v.vm_pgoff + v.vm_end - v.vm_start:
                    found.append(vma)
                vma = v.shared
        return found

    def nonlinear(self, st: "State", mapping: int, rwc: "RmapWalkControl") -> list[int]:
        """Return the VMAs in which any page of the file may be anywhere."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap[1]
        while vma and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            if st.vma[vma].vm_nonlinear:
                found.append(vma)
            vma = st.vma[vma].shared
        return found

    def members(self, st: "State", mapping: int) -> list[int]:
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

    linear_lists = 2

    def which(self, st: "State", vma: int) -> int:
        """Shared mappings have a list of their own, nonlinear ones too."""
        return 1 if st.vma[vma].vm_flags & VM_SHARED else 0
