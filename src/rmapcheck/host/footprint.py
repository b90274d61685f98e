"""What a run leaves in the system outside its own processes, written down before it is made.

There are three such things: a swap file that is in use, a cgroup, a trace instance. Each is undone
by whoever made it; if the driver is killed, the next run finds the note and undoes it first. The
note is locked as long as its run lives, so that a note which can be locked is a dead run's; and so
only one run is under way on a machine.
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
"""What the names of all things of ours begin with; nothing else is ever undone."""
PATIENCE = 5
"""Seconds in which a killed puppet must be gone."""


def note_path() -> Path:
    """Return where the note is: /run, or the cache folder where that is not ours to write to."""
    run = Path("/run")
    return (run if os.access(run, os.W_OK) else cache_folder()) / NAME


ENDS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run in order, as an interrupt from the keyboard does."""


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


class Footprint:
    """The note of this run. Entering undoes what a killed run has left."""

    def __init__(self, path: Path | None = None, *, wait: float = 0.0) -> None:
        self.path = path or note_path()
        self.wait = wait
        """Seconds to wait for another run to end."""
        self.fd = -1
        self.held: dict[str, str] = {}
        self.undone: list[str] = []
        """What a killed run had left and this one has undone."""
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._lock()
        try:
            self._undo_leftovers()
            self._mind_signals()
        except BaseException:
            os.close(self.fd)
            raise
        return self

    def _mind_signals(self) -> None:
        """Let signals that would end the process at once end the run first."""
        if threading.current_thread() is threading.main_thread():
            ours = [s for s in ENDS if signal.getsignal(s) is signal.SIG_DFL]
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
        """Tell whether the file that was locked is still the one of that name."""
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
        """Write down what is about to be made: ``swap``, ``cgroup`` or ``instance``."""
        self.held[kind] = str(value)
        self._write()

    def forget(self, kind: str) -> None:
        """Strike out what has been undone, or could not be made."""
        self.held.pop(kind, None)
        self._write()

    def undo(self, kind: str) -> None:
        """Undo what was written down. If that fails, the next run will try again."""
        UNDO[kind](Path(self.held[kind]))
        self.forget(kind)

    def _write(self) -> None:
        data = json.dumps(self.held).encode()
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, data, 0)


def _read(fd: int) -> dict[str, str]:
    """Return what a note says; one that is damaged says nothing."""
    try:
        value: Any = json.loads(os.pread(fd, 100_000, 0) or b"{}")
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}


def swaps() -> list[str]:
    """Return what the machine swaps to."""
    lines = Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    return [line.split()[0] for line in lines]


def undo_swap(path: Path) -> None:
    """Stop swapping to the file, and remove it."""
    if str(path) in swaps():
        swapoff(path)
    path.unlink(missing_ok=True)


def undo_cgroup(path: Path) -> None:
    """Kill the puppets that are still in the cgroup, and remove it."""
    end = time.monotonic() + PATIENCE
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
    """Remove a trace instance, known by its name alone: tracefs is mounted anew each time."""
    end = time.monotonic() + PATIENCE
    fd = detached_mount("tracefs")
    instance = Path(f"/proc/self/fd/{fd}/instances/{path.name}")
    try:
        while instance.exists() and not _removed(instance, end):
            time.sleep(0.01)
    finally:
        os.close(fd)


def _removed(folder: Path, end: float) -> bool:
    """Remove a folder of the kernel's; False if it is busy, and it is not yet `end`."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY or time.monotonic() > end:
            raise
        return False
    return True


UNDO = {"swap": undo_swap, "cgroup": undo_cgroup, "instance": undo_instance}
