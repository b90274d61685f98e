"""The files that puppets map: memfds of ours, and what the page cache has of them.

Their pages are charged to the cgroup of whoever faults them in, so that reclaim takes them, and go
to swap, which for a page of a file is the disk: a fault brings them back. The driver maps each
file, never touches it, and asks mincore() which pages are in the page cache. After a reclaim, a
page that is read ahead from swap shows there before it is wanted (swap_cluster_readahead()).
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
"""Length of each file at the start of an episode, and the most that it can have."""
LENGTH = FILE_PAGES * PAGE
NAME = "rmapcheck-"
"""What the files are called in /proc/PID/maps, with their number behind."""

Cached = frozenset[tuple[int, int]]
"""Pages of the page cache: (file, index)."""


class Files:
    """The files, number 1 being the first, until `stack` ends. Raise Unavailable."""

    def __init__(self, stack: ExitStack) -> None:
        self.fds: list[int] = []
        self.areas: list[int] = []
        """Where each is mapped."""
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
        """Make all files empty, and as long as they are at the start of an episode."""
        for fd in self.fds:
            os.ftruncate(fd, 0)
            os.ftruncate(fd, LENGTH)

    def cached(self) -> Cached:
        """Return which pages are in the page cache, or on the way there from swap."""
        found = []
        for file, area in enumerate(self.areas, 1):
            where = ctypes.c_void_p(area)
            checked(libc().mincore(where, ctypes.c_size_t(LENGTH), self.buffer), "mincore")
            found += [(file, i) for i, word in enumerate(self.buffer.raw[:FILE_PAGES]) if word & 1]
        return frozenset(found)
