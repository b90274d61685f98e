"""Sets up swap and a memory cgroup whose pages can be reclaimed, which forces a walk of the rmap.

Reclaim of a cgroup uses the rmap to unmap its pages from all processes, including shared pages,
which MADV_PAGEOUT leaves alone. cgroup v2 has memory.reclaim, v1 has memory.force_empty.
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
"""Size of the swap file. The puppets need only a few hundred pages of it. It is larger because the
kernel frees swap slots early when swap is half full (mem_cgroup_swap_full()), and the model does
not."""
TRIES = 20
"""How often a cgroup is reclaimed before the pages that are left count as lost."""
RECLAIM = "64M"


def write_swap_file(path: Path) -> None:
    """Write an empty swap file: zeros, and the header of mkswap(8), union swap_header."""
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
    """Swap to our own file until `stack` ends; return its path. Raise Unavailable if it fails."""
    path = cache_folder() / f"{PREFIX}{os.getpid()}.swap"
    footprint.note("swap", path)
    stack.callback(footprint.undo, "swap")
    try:
        write_swap_file(path)
        swapon(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be used as swap ({error.strerror})") from None
    return path


def check_swap(*, allowed: bool) -> bool:
    """Return whether the machine already swaps. Raise OracleError if so and not `allowed`."""
    used = swaps()
    if used and not allowed:
        raise OracleError(
            f"this machine already swaps to {used[0]}, and pages of its other processes may go "
            "there too; use --shared-swap to run all the same"
        )
    return bool(used)


class Memcg:
    """A memory cgroup for the puppets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.empty = path / f"{PREFIX}empty"
        """A cgroup without processes. Reclaiming it only drains the per-CPU batches of pages."""
        self.v2 = (path / "memory.reclaim").exists()

    def drain(self) -> None:
        """Drain the per-CPU batches of pages on all CPUs, as lru_add_drain_all() does.

        After writeback to swap, a page is in a batch of the CPU that handled the interrupt
        (folio_rotate_reclaimable()). The batch holds a reference to the page until it is drained.
        """
        self._reclaim(self.empty)

    def add(self, pid: int) -> None:
        """Move a process into the cgroup; the processes that it forks start there."""
        (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def reclaim(self) -> None:
        """Reclaim the pages of the cgroup's processes once.

        memory.stat is read first, so that the kernel adds up its counters if they have changed
        enough.
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
            except BlockingIOError:  # the cgroup had less than 64M to reclaim
                return
            except OSError:  # before v6.10 there is no swappiness=
                continue
            return


def memory_cgroups() -> list[Path]:
    """Return the folders in which a memory cgroup could be made, the best one first."""
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
    """Make a memory cgroup until `stack` ends. Raise Unavailable if none can be made."""
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
