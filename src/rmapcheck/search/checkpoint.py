r"""Checkpoint files: a search as it stood, to go on from.

::

    rmapcheck checkpoint 1\n           format
    {"depth": …}\n                     JSON on one line: what is searched, and the counters
    <length><digest><bytes>            pieces: of each digest the input is the one before it and
    …                                  the bytes, the first one's that of the JSON line
    <0><digest>                        the end

A file is written beside its place and moved there once it is on the disk: a crash leaves the one
before. Nothing in it is used before its digest has been checked.
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
    """A checkpoint that cannot be written, or from which this search cannot go on."""


@attrs.frozen(kw_only=True)
class Checkpoints:
    """Where a search is saved, how often, and whence it goes on."""

    path: Path | None = None
    every: float = EVERY
    """Seconds."""
    resume: Path | None = None


def _digest(before: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(before + data, digest_size=DIGEST).digest()


def check_place(path: Path) -> None:
    """Raise CheckpointError if a checkpoint at `path` would overwrite anything else."""
    if path.is_dir():
        raise _no_place(path, "is a folder")
    if not path.exists():
        return
    if not path.is_file():
        raise _no_place(path, "is no file that can be replaced")
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        raise _no_place(path, f"cannot be read ({error.strerror or error})") from None
    if head and head != MAGIC:
        raise _no_place(path, "is no checkpoint, and is not overwritten")


def _no_place(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} {what}; name another file with --checkpoint")


def write(path: Path, header: dict[str, Any], pieces: Iterable[bytes]) -> None:
    """Write a checkpoint; the file at `path` is the old one or the new one at any moment."""
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
    """A checkpoint that is read: first `header`, then `pieces`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {path} cannot be read ({error.strerror or error}); "
                "without --resume the search begins anew"
            ) from None
        self._check_format(self.file.readline(64))
        self.line = self.file.readline(HEADER_MOST)

    def refuse(self, what: str) -> CheckpointError:
        """Return the error that says what is wrong, and what to do."""
        return CheckpointError(
            f"the checkpoint {self.path} {what}; without --resume the search begins anew"
        )

    def _check_format(self, line: bytes) -> None:
        number = line.removeprefix(MAGIC).rstrip(b"\n")
        if not line.startswith(MAGIC) or not line.endswith(b"\n") or not number.isdigit():
            raise self.refuse("is damaged, or no checkpoint at all")
        if int(number) != FORMAT:
            raise CheckpointError(
                f"the checkpoint {self.path} has format {int(number)}, and this rmapcheck knows "
                f"{FORMAT} only; go on with the version that wrote it"
            )

    def header(self) -> dict[str, Any]:
        """Return the JSON line, once the digest of the first piece has vouched for it."""
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
        """Yield the pieces, each checked; raise CheckpointError for the first that is damaged."""
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
