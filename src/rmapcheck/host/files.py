"""Writes files completely or not at all: a save that fails leaves the old file, or none.

The new content is written to a temporary file in the same folder, which then replaces the old one.
So a full disk, a crash or a second process never leaves an empty or incomplete file.
"""

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEW_FILE = 0o666
"""Permissions of a new file, before the umask."""
NAME_BYTES = 200
"""Bytes of a name that the temporary file's name keeps; most file systems allow 255 in all."""


def write_whole(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Write `content` to `path`, which has the old content or the new one at any moment.

    Links are followed. A pipe, /dev/stdout or the like is written to directly. Raise OSError, and
    leave `path` as it was, if it cannot be written.
    """
    target = Path(os.path.realpath(path))
    old = _mode(path)
    if old is not None and not stat.S_ISREG(old):
        with path.open("wb") as file:
            file.writelines(_pieces(content))
        return
    with written_beside(target, content) as new:
        if old is not None:
            new.chmod(stat.S_IMODE(old))
        new.replace(target)
    _sync(target.parent)


@contextmanager
def written_beside(target: Path, content: str | bytes | Iterable[bytes]) -> Iterator[Path]:
    """Write `content` to a new file in the folder of `target`, and yield its path.

    By then the content is on the disk. At the end of the block the file is removed, unless the
    block has renamed it.
    """
    new = target.with_name(f".{target.name[:NAME_BYTES]}.{secrets.token_hex(4)}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_FILE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(_pieces(content))
            file.flush()
            os.fsync(handle)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _pieces(content: str | bytes | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(content, str):
        return [content.encode()]
    return [content] if isinstance(content, bytes) else content


def _mode(path: Path) -> int | None:
    """Return the type and the permissions of a file; None if there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _sync(folder: Path) -> None:
    """Write the folder's entries to the disk, so that a crash cannot undo the replacement."""
    with suppress(OSError):  # some file systems cannot do this
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
