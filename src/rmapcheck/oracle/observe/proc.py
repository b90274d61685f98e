"""Reads in /proc what the kernel shows of the puppets: VMAs, page tables, and the pages.

/proc/PID/maps     VMAs and protections; for ranges of files also the file and vm_pgoff,
which is shown as 0 for anonymous memory
/proc/PID/pagemap  the frame or swap slot of each page
/proc/kpagecount   the mapcount of each frame
/proc/kpageflags   its flags; bit 34, KPF_OWNER_2, is PG_anon_exclusive for an anonymous page
(stable_page_flags(), fs/proc/page.c, v6.1, v6.12, v6.18)
"""

import os
import re
import struct
import time
from typing import TYPE_CHECKING

import attrs

from rmapcheck.host.errors import Unavailable
from rmapcheck.oracle.puppets.files import NAME, Cached
from rmapcheck.oracle.puppets.processes import ARENA, PAGE

if TYPE_CHECKING:
    from rmapcheck.oracle.puppets.files import Files
    from rmapcheck.oracle.puppets.processes import Puppet, Puppets

PM_PRESENT = 1 << 63
PM_SWAP = 1 << 62
PFN_MASK = (1 << 55) - 1

KPF_WRITEBACK = 8
KPF_ANON = 12
KPF_SWAPCACHE = 13
KPF_ZERO_PAGE = 24
KPF_ANON_EXCLUSIVE = 34

ZERO = -1
"""An entry that maps the zero page. Entry 0 is none, > 0 a frame, < -1 a swap slot."""

WRITEBACK_SECONDS = 10
"""How long to wait until a page has been written to swap."""

LONGEST_LINE = 120
_LINE = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) "
    rb"[0-9a-f:]+ \d+ *(?:/memfd:%s(\d+))?" % NAME.encode(),
    re.MULTILINE,
)
_WORD = struct.Struct("Q")

Range = tuple[int, ...]
"""A VMA: first page, page after the last, protection (PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4).
If it maps a file, also the number of the file, vm_pgoff, and 1 for a shared mapping or 0."""


def slot_number(entry: int) -> int:
    """Return the entry of a swap slot, or the swap slot of such an entry."""
    return -2 - entry


@attrs.frozen
class Process:
    """The VMAs of one process, and the entry of each page of its arena."""

    vmas: tuple[Range, ...]
    entries: tuple[int, ...]


@attrs.frozen
class Frame:
    """What the kernel shows of a page that some process maps."""

    mapcount: int
    exclusive: bool
    swapcache: bool
    anon: bool = True


@attrs.frozen
class Observation:
    """All processes and the frames that they map, by number, and the pages in the page cache."""

    processes: dict[int, Process]
    frames: dict[int, Frame]
    cached: Cached = frozenset()


class Observer:
    """Reads /proc. Raises Unavailable if it does not show pages to root."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.files: Files | None = None
        self.words = struct.Struct(f"{pages}Q")
        self.zero: set[int] = set()
        self.opened: list[int] = []
        for name in ("kpagecount", "kpageflags"):
            try:
                self.opened.append(os.open(f"/proc/{name}", os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                self.close()
                raise Unavailable(f"/proc/{name} cannot be read ({error.strerror})") from None
            if len(os.pread(self.opened[-1], _WORD.size, 0)) != _WORD.size:
                self.close()
                raise Unavailable(f"/proc/{name} is empty here")

    def close(self) -> None:
        """Close the open files."""
        for fd in self.opened:
            os.close(fd)
        self.opened = []

    def vmas(self, puppet: "Puppet") -> tuple[Range, ...]:
        """Return the VMAs in the arena of a puppet; they are the first in its maps."""
        found = []
        text = os.pread(puppet.maps, LONGEST_LINE * (self.pages + 2), 0)
        for match in _LINE.finditer(text):
            start, end, r, w, x, share, offset, file = match.groups()
            first = (int(start, 16) - ARENA) // PAGE
            if first >= self.pages:
                break
            prot = (r != b"-") + 2 * (w != b"-") + 4 * (x != b"-")
            vma: Range = (first, (int(end, 16) - ARENA) // PAGE, prot)
            if file:
                vma += (int(file), int(offset, 16) // PAGE, int(share == b"s"))
            found.append(vma)
        return tuple(found)

    def entries(self, puppet: "Puppet") -> list[int]:
        """Return the entry of each page of the arena."""
        data = os.pread(puppet.pagemap, self.words.size, ARENA // PAGE * 8)
        return [
            self._entry(word) if word & (PM_PRESENT | PM_SWAP) else 0
            for word in self.words.unpack(data)
        ]

    def _entry(self, word: int) -> int:
        value = word & PFN_MASK
        if word & PM_SWAP:
            return slot_number(value)
        return ZERO if value in self.zero else value

    def observe(self, puppets: "Puppets") -> Observation:
        """Return what the kernel shows of all processes except the nursery."""
        processes = {}
        frames: dict[int, Frame] = {}
        for slot, puppet in puppets.alive.items():
            if slot:
                entries = self.entries(puppet)
                for i, entry in enumerate(entries):
                    if entry > 0 and entry not in frames:
                        frame = self.frame(entry)
                        if frame is None:
                            entries[i] = ZERO
                        else:
                            frames[entry] = frame
                processes[slot] = Process(self.vmas(puppet), tuple(entries))
        return Observation(processes, frames, self.files.cached() if self.files else frozenset())

    def settle(self, frames: list[int]) -> None:
        """Wait until none of the frames is being written to swap, at most WRITEBACK_SECONDS.

        During writeback a page stays in the swap cache although no page table maps it, even if a
        write fault needs it exclusively (folio_free_swap(), mm/swapfile.c).
        """
        end = time.monotonic() + WRITEBACK_SECONDS
        while any(self.flags(pfn) >> KPF_WRITEBACK & 1 for pfn in frames):
            if time.monotonic() > end:
                return
            time.sleep(0.0001)

    def flags(self, pfn: int) -> int:
        """Return the word of a frame in /proc/kpageflags."""
        data = os.pread(self.opened[1], 8, pfn * 8)
        return int(_WORD.unpack(data)[0]) if len(data) == 8 else 1 << KPF_ZERO_PAGE

    def frame(self, pfn: int) -> Frame | None:
        """Return what the kernel shows of a frame; None for the zero page, which has no rmap."""
        bits = self.flags(pfn)
        if bits >> KPF_ZERO_PAGE & 1:
            self.zero.add(pfn)
            return None
        return Frame(
            mapcount=_WORD.unpack(os.pread(self.opened[0], 8, pfn * 8))[0],
            exclusive=bool(bits >> KPF_ANON_EXCLUSIVE & 1),
            swapcache=bool(bits >> KPF_SWAPCACHE & 1),
            anon=bool(bits >> KPF_ANON & 1),
        )
