"""The cache folder for compiled files, and how damaged files in it are detected.

A file of the cache ends with a digest of its content. Loaders of libraries and programs ignore the
digest. If a full disk or a crash has truncated a file, or if it was changed, the digest does not
match. Such a file is built again. It is never loaded, because reading a page after the end of the
file would end the process with SIGBUS.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = b"rmapcheck"
"""Stands before the digest."""
DIGEST = 32
ROOM = 1 << 22
"""Bytes that a compiler needs, including its temporary files."""


class BuildError(Exception):
    """Something cannot be built; the text is one sentence that says why."""


class CacheError(BuildError):
    """No folder of the cache can be used."""


def cache_folder() -> Path:
    """Return the first folder of the cache that can be used. Raise CacheError if none can."""
    reasons: list[str] = []
    for folder in folders(reasons):
        return folder
    raise unusable(reasons)


def folders(reasons: list[str]) -> Iterator[Path]:
    """Yield the folders of the cache that can be written to; create those that do not exist.

    For each folder that cannot be used, add the reason to `reasons`.
    """
    for folder in (_own_folder(), Path(tempfile.gettempdir()) / f"rmapcheck-{os.getuid()}"):
        if folder is None:
            continue
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
        except OSError as error:
            reasons.append(reason(folder, error))
            continue
        if found.st_uid != os.getuid() and not stat.S_ISLNK(found.st_mode):
            reasons.append(f"{folder} belongs to another user")
        elif not os.access(folder, os.W_OK | os.X_OK):
            reasons.append(f"{folder} cannot be written to")
        else:
            yield folder


def _own_folder() -> Path | None:
    """Return the cache folder of the user; None if the user has no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):
        return Path(base or Path.home() / ".cache") / "rmapcheck"
    return None


def reason(folder: Path, error: OSError) -> str:
    """Return why `folder` cannot be used, as a sentence."""
    return f"{folder} cannot be written to ({error.strerror or error})"


def unusable(reasons: list[str]) -> CacheError:
    """Return the error for a cache without a folder that can be used."""
    return CacheError(
        f"what is compiled can be kept nowhere: {'; '.join(reasons)}; make room there, or name "
        "another folder with the variable XDG_CACHE_HOME"
    )


def check_room(folder: Path) -> None:
    """Raise OSError if the disk is too full for a compiler."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))
        file.flush()
        os.fsync(file.fileno())


def seal(path: Path) -> None:
    """Append the digest to a file that was just built."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    with path.open("ab") as file:
        file.write(MARK + digest)
        file.flush()
        os.fsync(file.fileno())


def is_whole(path: Path) -> bool:
    """Return whether `path` is a file of the cache that ends with the digest of its content."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        data = path.read_bytes()
    except OSError:
        return False
    content = data[: -len(MARK) - DIGEST]
    return data[len(content) :] == MARK + hashlib.sha256(content).digest()
