"""Notes what a run sets up outside its own processes, so that all of it is removed again.

There are three such things: a swap file that is in use, a cgroup, a trace instance. Each is noted
before it is set up, and normally the same run removes it. If the run is killed, the next run finds
the note and removes the things first. A run holds a lock on its note as long as it lives. So a
note that can be locked belongs to a dead run, and only one run at a time is possible on a machine.
"""

import errno
import fcntl
import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from rmapcheck.host.compile import cache_folder
from rmapcheck.host.errors import Unavailable
from rmapcheck.host.libc import detached_mount, swapoff

NAME = "rmapcheck-kernel.json"
PREFIX = "rmapcheck-"
"""All names that we create begin with it; nothing else is ever removed."""
REMOVE_SECONDS = 5
"""How long to wait until killed puppets are gone and a folder can be removed."""


def note_path() -> Path:
    """Return the path of the note: in /run, or in the cache folder if we may not write to /run."""
    run = Path("/run")
    return (run if os.access(run, os.W_OK) else cache_folder()) / NAME


END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run in the same way as an interrupt from the keyboard."""


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


class Footprint:
    """The note of this run. Use it in a `with`, which first removes what a killed run has left."""

    def __init__(self, path: Path | None = None, *, wait: float = 0.0) -> None:
        self.path = path or note_path()
        self.wait = wait
        """Seconds to wait for another run to end."""
        self.fd = -1
        self.held: dict[str, str] = {}
        self.undone: list[str] = []
        """What a killed run had left and this one has removed."""
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._lock()
        try:
            self._undo_leftovers()
            self._handle_signals()
        except BaseException:
            os.close(self.fd)
            raise
        return self

    def _handle_signals(self) -> None:
        """Turn signals that would kill the process into KeyboardInterrupt."""
        if threading.current_thread() is threading.main_thread():
            ours = [s for s in END_SIGNALS if signal.getsignal(s) is signal.SIG_DFL]
            self.handlers = {s: signal.signal(s, _interrupt) for s in ours}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if not self.held:
            self.path.unlink(missing_ok=True)
        os.close(self.fd)

    def _lock(self) -> None:
        end = time.monotonic() + self.wait
        while True:
            try:
                self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise Unavailable(f"{self.path} cannot be written ({error.strerror})") from None
            with suppress(BlockingIOError):
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current():
                    return
            os.close(self.fd)
            if time.monotonic() >= end:
                raise Unavailable(f"another run is under way (it holds {self.path}); wait for it")
            time.sleep(0.05)

    def _is_current(self) -> bool:
        """Return whether the locked file is still the one with this name."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_ino == os.fstat(self.fd).st_ino
        return False

    def _undo_leftovers(self) -> None:
        left = _read(self.fd)
        for kind, value in left.items():
            undo = UNDO.get(kind)
            if undo is not None and Path(value).name.startswith(PREFIX):
                undo(Path(value))
                self.undone.append(f"{kind} {value}")
        self._write()

    def note(self, kind: str, value: Path) -> None:
        """Note what is about to be set up: a ``swap``, a ``cgroup`` or an ``instance``."""
        self.held[kind] = str(value)
        self._write()

    def forget(self, kind: str) -> None:
        """Remove from the note what has been removed, or could not be set up."""
        self.held.pop(kind, None)
        self._write()

    def undo(self, kind: str) -> None:
        """Remove what was noted. If that fails, the next run will try again."""
        UNDO[kind](Path(self.held[kind]))
        self.forget(kind)

    def _write(self) -> None:
        data = json.dumps(self.held).encode()
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, data, 0)


def _read(fd: int) -> dict[str, str]:
    """Return the content of a note; nothing if it is damaged."""
    try:
        value: Any = json.loads(os.pread(fd, 100_000, 0) or b"{}")
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}


def swaps() -> list[str]:
    """Return the devices and files that the machine swaps to."""
    lines = Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    return [line.split()[0] for line in lines]


def undo_swap(path: Path) -> None:
    """Stop swapping to the file, and remove it."""
    if str(path) in swaps():
        swapoff(path)
    path.unlink(missing_ok=True)


def undo_cgroup(path: Path) -> None:
    """Kill the puppets that are still in the cgroup, and remove it."""
    end = time.monotonic() + REMOVE_SECONDS
    while path.exists():
        for pid in _members(path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        inner = path.glob(f"{PREFIX}*")
        if not all(_removed(folder, end) for folder in (*inner, path)):
            time.sleep(0.01)


def _members(cgroup: Path) -> list[int]:
    """Return the processes of a cgroup that run a puppet, by the name of their program."""
    found = []
    with suppress(OSError):
        for word in (cgroup / "cgroup.procs").read_text(encoding="utf-8").split():
            with suppress(OSError):
                if Path(f"/proc/{word}/exe").readlink().name.startswith("puppet-"):
                    found.append(int(word))
    return found


def undo_instance(path: Path) -> None:
    """Remove a trace instance, found by its name, because tracefs is mounted again each time."""
    end = time.monotonic() + REMOVE_SECONDS
    fd = detached_mount("tracefs")
    instance = Path(f"/proc/self/fd/{fd}/instances/{path.name}")
    try:
        while instance.exists() and not _removed(instance, end):
            time.sleep(0.01)
    finally:
        os.close(fd)


def _removed(folder: Path, end: float) -> bool:
    """Remove a folder of the kernel; return False if it is busy and time is not yet `end`."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY or time.monotonic() > end:
            raise
        return False
    return True


UNDO = {"swap": undo_swap, "cgroup": undo_cgroup, "instance": undo_instance}
