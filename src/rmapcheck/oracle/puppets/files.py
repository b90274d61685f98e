"""The files that puppets map: memfds, and which of their pages are in the page cache.

A page is charged to the cgroup of the process that faults it in, so reclaim of our cgroup takes
it. It goes to swap, which plays the part of the file's disk: a fault brings it back. The driver
maps each file, never accesses it, and finds out with mincore() which pages are in the page cache.
After a reclaim, swap readahead (swap_cluster_readahead()) may bring back pages that no one has
accessed.
"""

import ctypes
import mmap
import os
from contextlib import ExitStack

from rmapcheck.host.errors import Unavailable
from rmapcheck.host.libc import checked, libc
from rmapcheck.oracle.puppets.processes import PAGE

FILES = 2
FILE_PAGES = 6
"""Pages of each file at the start of an episode, which is also the maximum."""
LENGTH = FILE_PAGES * PAGE
NAME = "rmapcheck-"
"""The start of the files' names in /proc/PID/maps; their number follows."""

Cached = frozenset[tuple[int, int]]
"""Pages of the page cache: (file, index)."""


class Files:
    """The files, open until `stack` ends; file 1 is the first. Raises Unavailable if it fails."""

    def __init__(self, stack: ExitStack) -> None:
        self.fds: list[int] = []
        self.areas: list[int] = []
        """Address at which each file is mapped."""
        self.buffer = ctypes.create_string_buffer(FILE_PAGES)
        try:
            for number in range(1, FILES + 1):
                fd = os.memfd_create(f"{NAME}{number}", os.MFD_CLOEXEC)
                stack.callback(os.close, fd)
                self.fds.append(fd)
                os.ftruncate(fd, LENGTH)
                self.areas.append(self._mapped(fd, stack))
        except OSError as error:
            raise Unavailable(f"no file can be made in memory ({error.strerror})") from None

    @staticmethod
    def _mapped(fd: int, stack: ExitStack) -> int:
        area = mmap.mmap(fd, LENGTH)
        stack.callback(area.close)
        return ctypes.addressof(ctypes.c_char.from_buffer(area))

    def reset(self) -> None:
        """Drop the content of all files, and give them their length at the start of an episode."""
        for fd in self.fds:
            os.ftruncate(fd, 0)
            os.ftruncate(fd, LENGTH)

    def cached(self) -> Cached:
        """Return which pages are in the page cache, or are being read into it from swap."""
        found = []
        for file, area in enumerate(self.areas, 1):
            where = ctypes.c_void_p(area)
            checked(libc().mincore(where, ctypes.c_size_t(LENGTH), self.buffer), "mincore")
            found += [(file, i) for i, word in enumerate(self.buffer.raw[:FILE_PAGES]) if word & 1]
        return frozenset(found)
