"""i_mmap as lists of VMAs (v2.4 … v2.6.6), and the interface of every container of a file's VMAs.

Until v2.6.6 there were two lists: i_mmap for private mappings, i_mmap_shared for VM_SHARED. A
nonlinear VMA was in the second, among the others. Since v2.6.7 there is one container for linear
VMAs, and a separate list for nonlinear ones. That container was a prio_tree until v3.6
(prio_tree.py) and is an interval tree since v3.7 (interval_tree.py). A list has the same members,
but in another order and at another cost.

All functions run under the lock of i_mmap: i_shared_lock (spinlock, v2.4 … v2.5.5x), i_shared_sem
(semaphore, until v2.6.6), i_mmap_lock (spinlock, v2.6.7), i_mmap_mutex (v3.0), i_mmap_rwsem
(v3.19).

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

    The `i_mmap` of a scheme is an instance of a subclass. It has only constants: all state is in
    fields of `address_space` and `vma`. Any scheme may use any container.
    """

    fields: ClassVar[dict[str, dict[str, Any]]] = {}
    """The fields that the container needs, by pool, declared as in `Scheme.extra_fields`."""
    invariants: ClassVar[tuple[str, ...]] = ()
    """Names of invariants that the container must keep, if there are files."""
    keyed: ClassVar[bool] = False
    """A VMA's place depends on its range: the MM core removes the VMA before the range changes,
    and inserts it again after that (vma_adjust(), vma_prepare())."""

    def __setattr__(self, name: str, value: object) -> None:
        raise SchemeError(
            f"container {type(self).__name__} keeps something in self.{name}, which is not part "
            "of the state that is saved and restored: declare a field in `fields`"
        )

    def insert(self, st: "State", mapping: int, vma: int, beside: int) -> None:
        """Insert `vma`. In fork, `beside` is the parent's VMA, else 0.

        The caller holds the lock.
        """
        raise NotImplementedError

    def remove(self, st: "State", mapping: int, vma: int) -> None:
        """Remove `vma`. The caller holds the lock."""
        raise NotImplementedError

    def foreach(
        self, st: "State", mapping: int, first: int, last: int, rwc: "RmapWalkControl"
    ) -> list[int]:
        """Return the linear VMAs that overlap offsets `first` … `last`, in order of the walk."""
        raise NotImplementedError

    def nonlinear(self, st: "State", mapping: int, rwc: "RmapWalkControl") -> list[int]:
        """Return the nonlinear VMAs, which may map any page of the file at any address."""
        raise NotImplementedError

    def members(self, st: "State", mapping: int) -> list[int]:
        """Return all VMAs, each as often as it is contained, for invariants; stop at a circle."""
        raise NotImplementedError

    def size_mask(self, st: "State", mapping: int) -> int:
        """Return the first bit of a size that a prio_tree compares; 0 for another container."""
        return 0


class IMmapList(IMmap):
    """i_mmap and a list of nonlinear VMAs (v2.6.7 …), both as plain lists."""

    fields: ClassVar[dict[str, dict[str, Any]]] = {
        "address_space": {"i_mmap": refs("vma", 2)},
        "vma": {"shared": ref("vma")},
    }
    invariants: ClassVar[tuple[str, ...]] = ("i_mmap_query",)
    linear_lists: ClassVar[int] = 1
    """How many of the lists, counted from the first, contain linear VMAs."""

    def which(self, st: "State", vma: int) -> int:
        """Return the index of the list that `vma` belongs to."""
        return st.vma[vma].vm_nonlinear

    def insert(self, st: "State", mapping: int, vma: int, beside: int) -> None:
        """Insert `vma` behind `beside`, or at the tail."""
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
        """Remove `vma`."""
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
        """Return the linear VMAs that overlap offsets `first` … `last`; this visits all VMAs."""
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
        """Return the nonlinear VMAs, which may map any page of the file at any address."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap[1]
        while vma and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            if st.vma[vma].vm_nonlinear:
                found.append(vma)
            vma = st.vma[vma].shared
        return found

    def members(self, st: "State", mapping: int) -> list[int]:
        """Return all VMAs, each as often as it is contained; stop at a circle in a list."""
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
        """Return 1 for shared mappings, which include all nonlinear ones, else 0."""
        return 1 if st.vma[vma].vm_flags & VM_SHARED else 0
