"""The i_mmap of one file, to which VMAs are added and from which they are removed."""

from bisect import bisect_right

from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree
from rmapcheck.model.i_mmap.radix import heap_index
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import I_MMAP_LOCK, acquire
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.scheme import Scheme

LARGE = Scope(mms=1, pages=32, vmas=14, files=1, file_pages=32)
CONTAINERS = (IMmapPrioTree, IMmapIntervalTree)


def scheme_with(container):
    body = {"name": f"boxed-{container.__name__}", "maps_files": True, "i_mmap": container()}
    return type("Boxed", (Scheme,), body)


class Box:
    """One file's i_mmap, and its VMAs in the order of their starts."""

    def __init__(self, container, scope=LARGE):
        self.container = container
        self.scheme = scheme_with(container)()
        self.st = Kernel(scope, self.scheme)
        acquire(self.st, I_MMAP_LOCK, 1)
        self.order = []

    def insert(self, first, last, beside=0):
        st = self.st
        vma = kmem_cache_alloc(st, st.vma)
        v = st.vma[vma]
        v.vm_file = 1
        v.vm_pgoff = first
        v.vm_end = last - first + 1
        self.scheme.i_mmap.insert(st, 1, vma, beside)
        if beside:
            self.order.insert(self.order.index(beside) + 1, vma)
        else:
            self.order.insert(bisect_right(self.order, first, key=self.start), vma)
        return vma

    def start(self, vma):
        return self.st.vma[vma].vm_pgoff

    def remove(self, vma):
        self.order.remove(vma)
        self.scheme.i_mmap.remove(self.st, 1, vma)
        kmem_cache_free(self.st, self.st.vma, vma)
        self.st.freed.clear()

    def query(self, first, last):
        return self.scheme.i_mmap.foreach(self.st, 1, first, last, RmapWalkControl())

    def overlapping(self, first, last):
        """Return the VMAs that a query must find, by start, and equal ones as they were added."""
        return [v for v in self.order if self.start(v) <= last and heap_index(self.st, v) >= first]

    def broken(self):
        """Return the violations of the container's invariants, by name."""
        names = ("i_mmap_members", *self.scheme.i_mmap.invariants)
        found = ((name, next(INVARIANTS[name].state(self.st), None)) for name in names)
        return {name: str(violation) for name, violation in found if violation}
