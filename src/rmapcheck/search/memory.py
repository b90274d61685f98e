"""How much memory a search may take, so that the kernel's OOM killer does not end it."""

import resource
from collections.abc import Iterator
from pathlib import Path

MEGABYTE = 1 << 20
SHARE = 0.8
"""Proportion of the available memory that a search may take, even if its own limit is higher."""
MARGIN = 4 * MEGABYTE
"""Bytes that the interpreter may need while the search runs, and for its report."""
PLENTY = 1 << 50


def used() -> int:
    """Return the largest memory use of this process so far in bytes (ru_maxrss)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def budget(limit_mb: int | None) -> int:
    """Return how many bytes a search may take; 0 if the limit is already used up.

    `limit_mb` is the search's own limit in MB.
    """
    left = int(available() * SHARE)
    if limit_mb is not None:
        left = min(left, limit_mb * MEGABYTE - used() - MARGIN)
    return max(left, 0)


def available() -> int:
    """Return the bytes that are left of the machine's memory, and of the limits on us."""
    return min((*_available(), PLENTY))


def _available() -> Iterator[int]:
    """Yield the bytes that are left of each limit: the machine's, and those of our cgroups."""
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for line in _lines(Path("/proc/self/cgroup")):
        _, kinds, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup") / ("memory" if kinds else "")
        if kinds and "memory" not in kinds.split(","):
            continue
        names = ("limit_in_bytes", "usage_in_bytes") if kinds else ("max", "current")
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == root.parent:
                break
            most, now = (_number(folder / f"memory.{name}") for name in names)
            if most is not None and now is not None:
                yield max(most - now, 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """Return the number in a file; None if there is no such file, or no number in it."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
