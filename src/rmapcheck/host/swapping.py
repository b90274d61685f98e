"""Swap, and a cgroup whose pages can be reclaimed on demand: what forces a walk of the rmap.

Reclaim of a cgroup unmaps its pages from all processes through their rmap, shared pages too, which
MADV_PAGEOUT passes over. v2 has memory.reclaim, v1 memory.force_empty.
"""

import mmap
import os
import struct
from contextlib import ExitStack, suppress
from pathlib import Path

from rmapcheck.host.compile import cache_folder
from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.host.footprint import PREFIX, Footprint, swaps
from rmapcheck.host.libc import swapon

SWAP_PAGES = 8192
"""Size of the swap file. The puppets need a few hundred pages of it: swap that is half full is
given back at once (mem_cgroup_swap_full()), which the model does not have."""
TRIES = 20
"""How often a cgroup is reclaimed before what is left counts as lost."""
RECLAIM = "64M"


def write_swap_file(path: Path) -> None:
    """Write an empty swap file: zeros, and the header of mkswap(8); union swap_header."""
    size = mmap.PAGESIZE
    header = bytearray(size)
    header[1024:1036] = struct.pack("=III", 1, SWAP_PAGES - 1, 0)
    header[-10:] = b"SWAPSPACE2"
    path.touch(0o600)
    with path.open("wb") as file:
        file.write(header)
        for _ in range(SWAP_PAGES - 1):
            file.write(bytes(size))
        os.fsync(file.fileno())


def own_swap(stack: ExitStack, footprint: Footprint) -> Path:
    """Swap to a file of our own until `stack` ends; return it. Raise Unavailable if impossible."""
    path = cache_folder() / f"{PREFIX}{os.getpid()}.swap"
    footprint.note("swap", path)
    stack.callback(footprint.undo, "swap")
    try:
        write_swap_file(path)
        swapon(path)
    except OSError as error:
        raise Unavailable(f"there is no swapping to {path} ({error.strerror})") from None
    return path


def check_swap(*, allowed: bool) -> bool:
    """Tell whether the machine swaps already. Raise OracleError if it does and may not."""
    used = swaps()
    if used and not allowed:
        raise OracleError(
            f"this machine swaps to {used[0]} already, and pages of its own processes would go "
            "there beside the puppets'; say --shared-swap to use it all the same"
        )
    return bool(used)


class Memcg:
    """A cgroup of our own, for the puppets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.empty = path / f"{PREFIX}empty"
        """A cgroup without processes: reclaiming it only empties all CPUs' batches of pages."""
        self.v2 = (path / "memory.reclaim").exists()

    def drain(self) -> None:
        """Have all CPUs put the pages in their batches to the lists; lru_add_drain_all().

        A page written to swap is put into a batch of the CPU that was interrupted
        (folio_rotate_reclaimable()), which holds a reference to it until then.
        """
        self._reclaim(self.empty)

    def add(self, pid: int) -> None:
        """Move a process into the cgroup; those that it forks are born there."""
        (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def reclaim(self) -> None:
        """Reclaim whatever the cgroup's processes use, once.

        Reading memory.stat first has its counters summed up, if they have changed enough.
        """
        (self.path / "memory.stat").read_bytes()
        self._reclaim(self.path)

    def _reclaim(self, path: Path) -> None:
        if not self.v2:
            (path / "memory.force_empty").write_text("0", encoding="ascii")
            return
        for wish in (f"{RECLAIM} swappiness=200", RECLAIM):
            try:
                (path / "memory.reclaim").write_text(wish, encoding="ascii")
            except BlockingIOError:  # less than 64M were there
                return
            except OSError:  # a kernel that has no swappiness= (before v6.10)
                continue
            return


def memory_cgroups() -> list[Path]:
    """Return the folders in which a memory cgroup may be made, the best first."""
    mounts = [line.split() for line in _lines("/proc/self/mounts")]
    own = {
        parts[1]: parts[2] for line in _lines("/proc/self/cgroup") if (parts := line.split(":"))
    }
    found = []
    for _source, where, kind, options, *_ in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            mine = next((p for names, p in own.items() if "memory" in names.split(",")), "/")
            found += [Path(where + mine), Path(where)]
        elif kind == "cgroup2":
            # A cgroup that has processes cannot have children with controllers.
            mine = own.get("", "/")
            found += [Path(where + mine).parent if mine != "/" else Path(where), Path(where)]
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def own_memcg(stack: ExitStack, footprint: Footprint) -> Memcg:
    """Make a cgroup of our own until `stack` ends. Raise Unavailable where none can be made."""
    folders = memory_cgroups()
    why = "no memory cgroup hierarchy is mounted"
    for folder in folders:
        path = folder / f"{PREFIX}{os.getpid()}"
        footprint.note("cgroup", path)
        try:
            path.mkdir()
        except OSError as error:
            why = f"no cgroup can be made in {folder} ({error.strerror})"
            continue
        if any((path / name).exists() for name in ("memory.reclaim", "memory.force_empty")):
            stack.callback(footprint.undo, "cgroup")
            memcg = Memcg(path)
            memcg.empty.mkdir()
            return memcg
        why = f"cgroups in {folder} have no memory controller"
        with suppress(OSError):
            path.rmdir()
    footprint.forget("cgroup")
    raise Unavailable(why)
