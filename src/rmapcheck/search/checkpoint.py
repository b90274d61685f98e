r"""Checkpoint files: an interrupted search that can be continued.

::

    rmapcheck checkpoint 1\n           format
    {"depth": …}\n                     JSON on one line: what is searched, and the counters
    <length><digest><bytes>            a piece of the states, and more pieces
    …
    <0><digest>                        the end

A digest is computed from the digest before it and the bytes of its piece; the first one from the
digest of the JSON line. So each digest also covers everything before it, and nothing is used
before it has been checked. The new file is written under another name, and renamed when all of it
is on the disk. So a crash leaves the old file.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.errors import ModelError

FORMAT = 1
MAGIC = b"rmapcheck checkpoint "
EVERY = 60.0
"""Seconds between two checkpoints."""
PIECE = 1 << 22
DIGEST = 16
HEADER_MOST = 1 << 20
_HEAD = struct.Struct(f"<I{DIGEST}s")


class CheckpointError(ModelError):
    """A checkpoint cannot be written, or this search cannot continue from it."""


@attrs.frozen(kw_only=True)
class Checkpoints:
    """Where and how often a search is saved, and from which file it continues."""

    path: Path | None = None
    """The file to write; None: write none."""
    every: float = EVERY
    """Seconds between two checkpoints."""
    resume: Path | None = None
    """The file to continue from; None: begin a new search."""


def _digest(before: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(before + data, digest_size=DIGEST).digest()


def check_place(path: Path) -> None:
    """Raise CheckpointError if a checkpoint at `path` would overwrite anything else."""
    if path.is_dir():
        raise _no_place(path, "is a folder")
    if not path.exists():
        return
    if not path.is_file():
        raise _no_place(path, "is not a regular file")
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        raise _no_place(path, f"cannot be read ({error.strerror or error})") from None
    if head and head != MAGIC:
        raise _no_place(path, "is not a checkpoint, and is not overwritten")


def _no_place(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} {what}; name another file with --checkpoint")


def write(path: Path, header: dict[str, Any], pieces: Iterable[bytes]) -> None:
    """Write a checkpoint. At any moment `path` is the whole old file or the whole new one."""
    check_place(path)
    try:
        write_whole(path, _content(header, pieces))
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be written ({error.strerror or error}); "
            "name another file with --checkpoint"
        ) from None


def _content(header: dict[str, Any], pieces: Iterable[bytes]) -> Iterator[bytes]:
    line = json.dumps(header, sort_keys=True).encode("ascii") + b"\n"
    yield MAGIC + b"%d\n" % FORMAT + line
    digest = _digest(b"", line)
    for piece in pieces:
        digest = _digest(digest, piece)
        yield _HEAD.pack(len(piece), digest) + piece
    yield _HEAD.pack(0, _digest(digest, b"end"))


class Reader:
    """Reads a checkpoint: first its `header`, then its `pieces`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {path} cannot be read ({error.strerror or error}); "
                "without --resume the search starts again"
            ) from None
        self._check_format(self.file.readline(64))
        self.line = self.file.readline(HEADER_MOST)

    def refuse(self, what: str) -> CheckpointError:
        """Return the error that says what is wrong, and what to do."""
        return CheckpointError(
            f"the checkpoint {self.path} {what}; without --resume the search starts again"
        )

    def _check_format(self, line: bytes) -> None:
        number = line.removeprefix(MAGIC).rstrip(b"\n")
        if not line.startswith(MAGIC) or not line.endswith(b"\n") or not number.isdigit():
            raise self.refuse("is damaged, or is not a checkpoint")
        if int(number) != FORMAT:
            raise CheckpointError(
                f"the checkpoint {self.path} has format {int(number)}, and this version of "
                f"rmapcheck reads only format {FORMAT}; use the version that wrote it"
            )

    def header(self) -> dict[str, Any]:
        """Return the JSON line. The digest of the first piece covers it, and is checked first."""
        place = self.file.tell()
        next(self.pieces(), None)
        self.file.seek(place)
        try:
            header = json.loads(self.line)
        except ValueError:
            raise self.refuse("is damaged") from None
        if not isinstance(header, dict):
            raise self.refuse("is damaged")
        return header

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces, each after its check; raise CheckpointError for a damaged one."""
        digest = _digest(b"", self.line)
        while True:
            head = self.file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                raise self.refuse("is cut off")
            length, claimed = _HEAD.unpack(head)
            if length > PIECE:
                raise self.refuse("is damaged")
            piece = self.file.read(length)
            digest = _digest(digest, piece or b"end")
            if len(piece) < length:
                raise self.refuse("is cut off")
            if digest != claimed:
                raise self.refuse("is damaged")
            if not length:
                if self.file.read(1):
                    raise self.refuse("is damaged: something follows its end")
                return
            yield piece

    def close(self) -> None:
        """Close the file."""
        self.file.close()
