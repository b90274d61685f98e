"""Puppets: processes that do to their memory what they are told (puppet.c says how).

Slot 0 is the nursery, an empty process; slot n is process n of the model. Everything happens one
after another: a command is answered before the next is given, so no concurrency is tested.

All puppets run on one CPU. Pages just made lie in a batch of the CPU that made them until it is
drained, and hold a reference there: a write fault on another CPU would then copy a page that is
not shared (wp_can_reuse_anon_folio() drains its own CPU only).
"""

import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import attrs

from rmapcheck.host.errors import OracleError
from rmapcheck.model.operations import OPERATIONS
from rmapcheck.oracle.puppets import build

ARENA = 0x100000
"""Where the arena of each puppet starts; puppet.c has the same number."""
PAGE = 4096
FIRST_FD = 100
"""The puppets' own sockets have the descriptors from here on, one a slot."""
FIRST_FILE = 91
"""The files that they may map have those from here on; puppet.c has the number before."""
PATIENCE = 20
"""Seconds in which a command must be answered; each takes microseconds."""

COMMANDS = ("BALLAST", *dict.fromkeys(k.syscall.puppet for k in OPERATIONS if k.syscall.puppet))
"""What a puppet can be told: to perform operations, and to use memory for a moment."""
NUMBERS = {command: number for number, command in enumerate(COMMANDS, 1)}
FLAGS = (*build.FLAGS, f"-DCOMMANDS={', '.join(COMMANDS)}")
"""How puppet.c is compiled, so that both have the same numbers."""
COMMAND = struct.Struct("6q")
ANSWER = struct.Struct("q")


@attrs.define
class Puppet:
    """One process, and what is kept open of it."""

    pid: int
    pidfd: int
    maps: int
    pagemap: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Open what is needed of a process that is known to live."""
        opened = [os.pidfd_open(pid)]
        try:
            for name in ("maps", "pagemap"):
                opened.append(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        return cls(pid, *opened)

    def gone(self, seconds: float) -> bool:
        """Wait until the process has no memory any more; tell whether that is so."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Close what is open of it."""
        for fd in (self.pidfd, self.maps, self.pagemap):
            os.close(fd)


class Puppets:
    """The nursery and its descendants. Use it in a `with`: at the end nothing is left of them."""

    def __init__(
        self, program: Path, processes: int, pages: int, files: Sequence[int] = ()
    ) -> None:
        self.program = program
        self.files = files
        """Descriptors of the files that they may map."""
        self.pages = pages
        self.slots = processes + 1
        self.alive: dict[int, Puppet] = {}
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def nursery(self) -> Puppet:
        """The process from which all others descend."""
        return self.alive[0]

    def _start(self) -> None:
        theirs = []
        for _ in range(self.slots):
            mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
            self.sockets.append(mine)
            theirs.append(other)
        try:
            self.alive[0] = Puppet.of(self._spawn(theirs))
        finally:
            for other in theirs:
                other.close()
        os.sched_setaffinity(self.nursery.pid, {min(os.sched_getaffinity(0))})

    def _spawn(self, theirs: list[socket.socket]) -> int:
        numbers = [FIRST_FD + i for i in range(self.slots)]
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)
        ]
        actions += [
            (os.POSIX_SPAWN_DUP2, other.fileno(), number)
            for other, number in zip(theirs, numbers, strict=True)
        ]
        actions += [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate(self.files, FIRST_FILE)]
        words = [str(self.program), str(self.pages), *map(str, numbers)]
        try:
            return os.posix_spawn(words[0], words, {}, file_actions=actions)
        except OSError as error:
            raise OracleError(f"{words[0]} cannot be run ({error.strerror})") from None

    def call(self, slot: int, command: str, *arguments: int) -> int:
        """Let a puppet perform a command; return what it answers: its result or -errno.

        Raise OracleError if it does not answer, because it died or hangs.
        """
        filled = (*arguments, 0, 0, 0, 0, 0)[:5]
        try:
            self.sockets[slot].send(COMMAND.pack(NUMBERS[command], *filled))
            answer = self.sockets[slot].recv(ANSWER.size)
        except OSError as error:
            raise OracleError(self._silence(slot, error)) from None
        if len(answer) != ANSWER.size:
            raise OracleError(self._silence(slot, None))
        result: int = ANSWER.unpack(answer)[0]
        return result

    def _silence(self, slot: int, error: OSError | None) -> str:
        puppet = self.alive.get(slot)
        if puppet is None or puppet.gone(0):
            return f"the puppet of process {slot} has died"
        why = "closed its socket" if error is None else f"did not answer in {PATIENCE} seconds"
        return f"the puppet of process {slot} {why}"

    def fork(self, slot: int, child: int) -> int:
        """Fork a puppet into a free slot; return 0 or -errno."""
        pid = self.call(slot, "FORK", child)
        if pid < 0:
            return pid
        self.alive[child] = Puppet.of(pid)
        return 0

    def exit(self, slot: int) -> None:
        """Let a puppet exit, and wait until it has."""
        self.sockets[slot].send(COMMAND.pack(NUMBERS["EXIT"], 0, 0, 0, 0, 0))
        self._bury(slot)

    def _bury(self, slot: int) -> None:
        puppet = self.alive.pop(slot)
        gone = puppet.gone(PATIENCE)
        puppet.close()
        if not gone:
            raise OracleError(f"the puppet of process {slot} did not end in {PATIENCE} seconds")

    def exit_all(self) -> None:
        """Let all but the nursery exit."""
        for slot in sorted(self.alive, reverse=True):
            if slot:
                self.exit(slot)

    def close(self) -> None:
        """End all puppets, those that hang too, the nursery last: it is who reaps the others."""
        for slot in sorted({*range(len(self.sockets)), *self.alive}, reverse=True):
            if slot < len(self.sockets):
                self.sockets[slot].close()
            puppet = self.alive.pop(slot, None)
            if puppet is not None:
                self._end(puppet, nursery=slot == 0)
        self.sockets = []

    @staticmethod
    def _end(puppet: Puppet, *, nursery: bool) -> None:
        if not puppet.gone(1):
            with suppress(OSError):
                signal.pidfd_send_signal(puppet.pidfd, signal.SIGKILL)
            puppet.gone(PATIENCE)
        if nursery:
            with suppress(ChildProcessError):
                os.waitpid(puppet.pid, 0)
        puppet.close()
