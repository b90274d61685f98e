"""Booting another kernel for one program: user-mode Linux, or a bzImage in qemu.

The program is PID 1 of an initramfs that holds nothing else, and powers the machine off. Whatever
is needed or left over (initramfs, swap disk, the sockets of user-mode Linux) lies in one temporary
folder, and all processes are in one session that is killed at the end.
"""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from rmapcheck.host.errors import Unavailable
from rmapcheck.model.machine.errors import ModelError

SWAP_BYTES = 64 << 20
LOG_BYTES = 2_000_000
"""How much of a log is read; a kernel that writes more is in a loop."""
TIME_TO_CLEAN_UP = 5
"""Seconds that a program which is told to end has to undo what it did."""
QEMU = "qemu-system-x86_64"

UML_OPTIONS = ("con=null", "con0=null,fd:1", "ssl=null", "root=/dev/ram0", "rw")
QEMU_OPTIONS = (
    *("-nographic", "-no-reboot", "-nic", "none", "-accel", "tcg"),
    *("-append", "console=ttyS0 rdinit=/init panic=-1 quiet"),
)


@attrs.frozen(kw_only=True)
class Log:
    """What a kernel, or a program on the running one, has printed."""

    text: str
    seconds: float
    timed_out: bool = False
    code: int = 0
    """The exit code."""
    pid: int = 0
    """What the program's number was, or the kernel's."""


def kind_of(kernel: Path) -> str:
    """Return "uml" or "qemu" by what the file is. Raise ModelError for any other file."""
    try:
        with kernel.open("rb") as file:
            head = file.read(0x206)
    except OSError as error:
        raise ModelError(f"{kernel} cannot be read ({error.strerror}); name a kernel") from None
    if head[:4] == b"\x7fELF" and os.access(kernel, os.X_OK):
        return "uml"
    if head[0x202:0x206] == b"HdrS":
        return "qemu"
    raise ModelError(
        f"{kernel} is no kernel that can be booted here; name a user-mode Linux, which is an "
        "executable, or a bzImage"
    )


def initramfs(program: bytes, modules: Sequence[bytes] = ()) -> bytes:
    """Return an initramfs with /init, /dev/console and /modules/NN.ko.

    The newc form of cpio, as Documentation/driver-api/early-userspace/buffer-format.rst has it.
    """
    made = [_entry(name, stat.S_IFDIR | 0o755) for name in ("dev", "proc", "sys", "modules")]
    made.append(_entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    made.append(_entry("init", stat.S_IFREG | 0o755, program))
    for number, module in enumerate(modules):
        made.append(_entry(f"modules/{number:02}.ko", stat.S_IFREG | 0o644, module))
    return b"".join((*made, _entry("TRAILER!!!", 0)))


def _entry(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one entry. All have the number 0: only files with several links need different."""
    path = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (0, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def run_kernel(
    kernel: Path,
    program: Path,
    *,
    seconds: float,
    memory: int = 256,
    modules: Sequence[Path] = (),
    arguments: Sequence[str] = (),
) -> Log:
    """Boot `kernel` with `program` as its init and return what it prints.

    `memory`: megabytes. Raise ModelError where the file is no kernel, Unavailable without qemu.
    """
    kind = kind_of(kernel)
    if kind == "qemu" and shutil.which(QEMU) is None:
        raise Unavailable(f"there is no {QEMU}; install qemu-system-x86")
    with tempfile.TemporaryDirectory(prefix="rmapcheck-") as name:
        folder = Path(name)
        image = initramfs(program.read_bytes(), [module.read_bytes() for module in modules])
        (folder / "initramfs").write_bytes(image)
        with (folder / "swap").open("wb") as swap:
            swap.truncate(SWAP_BYTES)
        command = (_uml if kind == "uml" else _qemu)(kernel, folder, memory, arguments)
        return run_session(command, folder, seconds)


def _uml(kernel: Path, folder: Path, memory: int, arguments: Sequence[str]) -> list[str]:
    return [
        str(kernel.resolve()),
        f"mem={memory}M",
        f"initrd={folder}/initramfs",
        "rdinit=/init",
        f"ubd0={folder}/swap",
        f"uml_dir={folder}",
        "umid=rmapcheck",
        *UML_OPTIONS,
        *("panic=-1", "quiet"),
        *(("--", *arguments) if arguments else ()),
    ]


def _qemu(kernel: Path, folder: Path, memory: int, arguments: Sequence[str]) -> list[str]:
    tail = f" -- {' '.join(arguments)}" if arguments else ""
    return [
        QEMU,
        *("-kernel", str(kernel), "-initrd", f"{folder}/initramfs", "-m", str(memory)),
        *("-drive", f"file={folder}/swap,format=raw,if=virtio"),
        *QEMU_OPTIONS[:-1],
        QEMU_OPTIONS[-1] + tail,
    ]


def run_session(command: Sequence[str], folder: Path, seconds: float) -> Log:
    """Run a command in a session of its own in `folder`; kill whatever of it is left at the end.

    Its files of all kinds go into `folder`. Raise Unavailable if it cannot be started.
    """
    # User-mode Linux keeps its memory in a file without a name, in /dev/shm unless TMPDIR is set.
    home = {k: v for k, v in os.environ.items() if k != "TMPDIR"} | {"HOME": str(folder)}
    log = folder / "log"
    started = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be run ({error.strerror})") from None
        timed_out = _wait(process, seconds)
    with log.open("rb") as file:
        text = file.read(LOG_BYTES).decode("utf-8", "replace").replace("\r", "")
    spent = time.monotonic() - started
    return Log(
        text=text, seconds=spent, timed_out=timed_out, code=process.returncode, pid=process.pid
    )


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait for the end, and kill what is left of the session; tell whether time ran out."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(TIME_TO_CLEAN_UP)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return False
