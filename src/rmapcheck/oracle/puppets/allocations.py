"""Records which rmap objects the kernel allocates and frees, with the kmem tracepoints.

A private trace instance follows the nursery and all that it forks (set_event_pid, event-fork), and
records three slab caches only. Processes also have VMAs outside the arena (program, stack). An
object belongs to the arena if an operation on the arena allocated it. In a fork, the first VMAs
are the arena's, because dup_mmap() goes by address and the arena has the lowest addresses.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from rmapcheck.host.errors import Unavailable
from rmapcheck.host.footprint import PREFIX, Footprint
from rmapcheck.host.libc import detached_mount

STRUCTS = {
    b"anon_vma": "anon_vma",
    b"anon_vma_chain": "anon_vma_chain",
    b"vm_area_struct": "vma",
}
"""Name of a slab cache → pool of the model."""
FOREIGN = (b"copy_fs_struct", b"free_fs_struct", b"alloc_fs_context")
"""Call sites of other objects, whose slab cache may be merged with that of anon_vma_chain."""
BUFFER_KB = "512"

_EVENT = re.compile(rb"kmem_cache_(alloc|free): call_site=([^ +]+)\S* ptr=(\S+)(?: name=(\w+))?")


@attrs.frozen
class Event:
    """One allocation or one free."""

    alloc: bool
    site: str
    pointer: bytes
    pool: str


class Recorder:
    """A trace instance of our own."""

    def __init__(self, stack: ExitStack, footprint: Footprint) -> None:
        """Set up the instance until `stack` ends. Raise Unavailable if that fails."""
        self.pipe = -1
        self.ours: dict[bytes, str] = {}
        """Pointer of each live object of the arena → its pool."""
        self.waiting: list[Event] = []
        self.sites: Counter[str] = Counter()
        try:
            fd = detached_mount("tracefs")
        except OSError as error:
            raise Unavailable(f"tracefs cannot be mounted ({error.strerror})") from None
        stack.callback(os.close, fd)
        self.path = Path(f"/proc/self/fd/{fd}/instances/{PREFIX}{os.getpid()}")
        footprint.note("instance", self.path)
        stack.callback(footprint.undo, "instance")
        try:
            self.path.mkdir()
            self._configure()
            self.pipe = os.open(self.path / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
            stack.callback(os.close, self.pipe)
        except OSError as error:
            raise Unavailable(
                f"no trace instance can be set up ({error.filename}: {error.strerror})"
            ) from None

    def _configure(self) -> None:
        self._set("buffer_size_kb", BUFFER_KB)
        self._set("options/event-fork", "1")
        wanted = "||".join(f'name=="{name.decode()}"' for name in STRUCTS)
        for event in ("kmem_cache_alloc", "kmem_cache_free"):
            self._set(f"events/kmem/{event}/filter", wanted)

    def _set(self, name: str, value: str) -> None:
        (self.path / name).write_text(value, encoding="ascii")

    def follow(self, pid: int) -> None:
        """Start recording what a process does, and all processes that it forks."""
        self._set("set_event_pid", str(pid))
        for event in ("kmem_cache_alloc", "kmem_cache_free"):
            self._set(f"events/kmem/{event}/enable", "1")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Ignore allocations and frees for the length of a `with`."""
        self.waiting += self.events()
        yield
        self.events()

    def events(self) -> list[Event]:
        """Return the allocations and frees since the last call."""
        data = b""
        with suppress(BlockingIOError):
            while chunk := os.read(self.pipe, 65536):
                data += chunk
        found = []
        for what, site, pointer, name in _EVENT.findall(data):
            if site not in FOREIGN and (name in STRUCTS or not name):
                pool = STRUCTS.get(name, "")
                found.append(Event(what == b"alloc", site.decode(), pointer, pool))
        return found

    def take(self, forked_vmas: int | None) -> "Tally | None":
        """Return what the arena's VMAs allocated and freed since the last call.

        `forked_vmas` is the number of VMAs in the arena of a child that was forked since then, or
        None if the step was not a fork.
        """
        allocated: Counter[str] = Counter()
        freed: Counter[str] = Counter()
        segment = 0
        events = self.waiting + self.events()
        self.waiting = []
        for event in events:
            if event.alloc:
                segment += event.site == "vm_area_dup"
                if forked_vmas is None or 0 < segment <= forked_vmas:
                    self.ours[event.pointer] = event.pool
                    allocated[event.pool] += 1
                    self.sites[event.site] += 1
            elif (pool := self.ours.pop(event.pointer, None)) is not None:
                freed[pool] += 1
                self.sites[event.site] += 1
        return Tally(allocated, freed)


@attrs.frozen
class Tally:
    """How many objects of each pool were allocated and freed."""

    allocated: dict[str, int]
    freed: dict[str, int]

    def __str__(self) -> str:
        counts = [
            f"{pool} +{self.allocated.get(pool, 0)} -{self.freed.get(pool, 0)}"
            for pool in STRUCTS.values()
            if self.allocated.get(pool, 0) or self.freed.get(pool, 0)
        ]
        return ", ".join(counts) or "none"

    def same(self, other: "Tally") -> bool:
        """Return whether both tallies have the same counts."""
        return all(
            self.allocated.get(p, 0) == other.allocated.get(p, 0)
            and self.freed.get(p, 0) == other.freed.get(p, 0)
            for p in STRUCTS.values()
        )
