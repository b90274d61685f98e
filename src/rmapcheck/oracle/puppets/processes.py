"""Puppets: processes that carry out commands on their own memory (see puppet.c).

Slot 0 is the nursery, an empty process; slot n is process n of the model. Each command is answered
before the next one is sent, so concurrency is not tested.

All puppets run on one CPU. A new page stays in a per-CPU batch until that is drained, and the
batch holds a reference to it. A write fault on another CPU would therefore copy a page that is not
shared, because wp_can_reuse_anon_folio() drains only the batch of its own CPU.
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
"""Address at which the arena of each puppet starts; puppet.c has the same number."""
PAGE = 4096
FIRST_FD = 100
"""First descriptor of the puppets' sockets; there is one socket for each slot."""
FIRST_FILE = 91
"""First descriptor of the files that puppets may map; FILES in puppet.c is one less."""
ANSWER_SECONDS = 20
"""Time limit for the answer to a command; it normally takes microseconds."""

COMMANDS = ("BALLAST", *dict.fromkeys(k.syscall.puppet for k in OPERATIONS if k.syscall.puppet))
"""The commands of a puppet: those of operations, and BALLAST, which maps and unmaps pages."""
NUMBERS = {command: number for number, command in enumerate(COMMANDS, 1)}
FLAGS = (*build.FLAGS, f"-DCOMMANDS={', '.join(COMMANDS)}")
"""Compiler flags that give puppet.c the same numbers."""
COMMAND = struct.Struct("6q")
ANSWER = struct.Struct("q")


@attrs.define
class Puppet:
    """One process, and the files of /proc that are open for it."""

    pid: int
    pidfd: int
    maps: int
    pagemap: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Open the files of a process, which must be alive."""
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
        """Wait until the process has given up its memory; return whether it has."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Close the open files."""
        for fd in (self.pidfd, self.maps, self.pagemap):
            os.close(fd)


class Puppets:
    """The nursery and its descendants. Use it in a `with`, which ends all of them."""

    def __init__(
        self, program: Path, processes: int, pages: int, files: Sequence[int] = ()
    ) -> None:
        self.program = program
        self.files = files
        """Descriptors of the files that puppets may map."""
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
        far_ends = []
        for _ in range(self.slots):
            mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            limit = struct.pack("ll", ANSWER_SECONDS, 0)
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.sockets.append(mine)
            far_ends.append(other)
        try:
            self.alive[0] = Puppet.of(self._spawn(far_ends))
        finally:
            for other in far_ends:
                other.close()
        os.sched_setaffinity(self.nursery.pid, {min(os.sched_getaffinity(0))})

    def _spawn(self, far_ends: list[socket.socket]) -> int:
        numbers = [FIRST_FD + i for i in range(self.slots)]
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)
        ]
        actions += [
            (os.POSIX_SPAWN_DUP2, other.fileno(), number)
            for other, number in zip(far_ends, numbers, strict=True)
        ]
        actions += [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate(self.files, FIRST_FILE)]
        words = [str(self.program), str(self.pages), *map(str, numbers)]
        try:
            return os.posix_spawn(words[0], words, {}, file_actions=actions)
        except OSError as error:
            raise OracleError(f"{words[0]} cannot be run ({error.strerror})") from None

    def call(self, slot: int, command: str, *arguments: int) -> int:
        """Send a command to a puppet; return its answer: the result or -errno.

        Raise OracleError if the puppet does not answer, because it has died or hangs.
        """
        filled = (*arguments, 0, 0, 0, 0, 0)[:5]
        try:
            self.sockets[slot].send(COMMAND.pack(NUMBERS[command], *filled))
            answer = self.sockets[slot].recv(ANSWER.size)
        except OSError as error:
            raise OracleError(self._why_no_answer(slot, error)) from None
        if len(answer) != ANSWER.size:
            raise OracleError(self._why_no_answer(slot, None))
        result: int = ANSWER.unpack(answer)[0]
        return result

    def _why_no_answer(self, slot: int, error: OSError | None) -> str:
        puppet = self.alive.get(slot)
        if puppet is None or puppet.gone(0):
            return f"the puppet of process {slot} has died"
        if error is None:
            return f"the puppet of process {slot} closed its socket"
        return f"the puppet of process {slot} did not answer in {ANSWER_SECONDS} seconds"

    def fork(self, slot: int, child: int) -> int:
        """Fork a puppet into a free slot; return 0 or -errno."""
        pid = self.call(slot, "FORK", child)
        if pid < 0:
            return pid
        self.alive[child] = Puppet.of(pid)
        return 0

    def exit(self, slot: int) -> None:
        """Make a puppet exit, and wait until it has."""
        self.sockets[slot].send(COMMAND.pack(NUMBERS["EXIT"], 0, 0, 0, 0, 0))
        self._wait_for_end(slot)

    def _wait_for_end(self, slot: int) -> None:
        puppet = self.alive.pop(slot)
        gone = puppet.gone(ANSWER_SECONDS)
        puppet.close()
        if not gone:
            why = f"did not end in {ANSWER_SECONDS} seconds"
            raise OracleError(f"the puppet of process {slot} {why}")

    def exit_all(self) -> None:
        """Make all puppets except the nursery exit."""
        for slot in sorted(self.alive, reverse=True):
            if slot:
                self.exit(slot)

    def close(self) -> None:
        """End all puppets, even those that hang; the nursery last, since it reaps the others."""
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
            puppet.gone(ANSWER_SECONDS)
        if nursery:
            with suppress(ChildProcessError):
                os.waitpid(puppet.pid, 0)
        puppet.close()
