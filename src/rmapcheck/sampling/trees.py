"""A walk that does little else than insert VMAs of a file into its i_mmap, and remove them.

A fault in a tree may need many VMAs at offsets far apart. Walks of all operations hardly ever have
that, and enumerating all that mmap() could do with 16 pages takes too long. So this walk draws the
arguments of one call.
"""

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import MmapFile, Munmap, Operation
from rmapcheck.sampling.walk import Walk

TREES = Scope(
    mms=1,
    pages=16,
    vmas=16,
    folios=1,
    swaps=0,
    objects=4,
    files=1,
    file_pages=32,
    ops=("munmap", "file"),
)
"""One process with room for 16 VMAs, and one file of 32 pages."""
MORE = 0.7
"""Probability that a step maps something, as long as there is room."""
LONGER = 0.6
"""Probability that a VMA gets one page more, as long as there is room."""


class TreeWalk(Walk):
    """Maps ranges of files and unmaps whole VMAs."""

    def draw(self) -> Operation | None:
        """Return an mmap of a free range, or an munmap of a VMA."""
        mapped = self.machine.maps(1)
        taken = {page for vma in mapped for page in range(vma.start, vma.end)}
        free = [page for page in range(self.scope.pages) if page not in taken]
        if free and (not mapped or self.rng.random() < MORE):
            return self._mmap(free)
        if not mapped:
            return None
        vma = self.rng.choice(mapped)
        return Munmap(mm=1, start=vma.start, length=vma.end - vma.start)

    def _mmap(self, free: list[int]) -> Operation:
        start = self.rng.choice(free)
        length = 1
        longest = self.scope.file_pages
        while start + length in free and length < longest and self.rng.random() < LONGER:
            length += 1
        return MmapFile(
            mm=1,
            start=start,
            length=length,
            file=self.rng.randint(1, self.scope.files),
            pgoff=self.rng.randint(0, longest - length),
            shared=self.rng.random() < 1 / 2,
        )
