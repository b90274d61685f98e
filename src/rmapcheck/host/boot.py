"""Boots another kernel to run one program: user-mode Linux, or a bzImage in qemu.

The program is PID 1 of an initramfs that contains nothing else; at its end it powers the machine
off. All files (initramfs, swap disk, the sockets of user-mode Linux) are in one temporary folder,
and all processes are in one session, which is killed at the end.
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
"""At most so much of a log is read; a kernel that writes more is in a loop."""
TIME_TO_CLEAN_UP = 5
"""Seconds between SIGTERM and SIGKILL, in which a program can undo what it did."""
QEMU = "qemu-system-x86_64"

UML_OPTIONS = ("con=null", "con0=null,fd:1", "ssl=null", "root=/dev/ram0", "rw")
QEMU_OPTIONS = (
    *("-nographic", "-no-reboot", "-nic", "none", "-accel", "tcg"),
    *("-append", "console=ttyS0 rdinit=/init panic=-1 quiet"),
)


@attrs.frozen(kw_only=True)
class Log:
    """The output of a booted kernel, or of a program on the running one."""

    text: str
    seconds: float
    timed_out: bool = False
    code: int = 0
    """The exit code."""
    pid: int = 0
    """The process id of the program, or of the user-mode kernel or qemu."""


def kind_of(kernel: Path) -> str:
    """Return "uml" for an executable, "qemu" for a bzImage. Raise ModelError for other files."""
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
        f"{kernel} is not a kernel that can be booted here; name a user-mode Linux (an "
        "executable) or a bzImage"
    )


def initramfs(program: bytes, modules: Sequence[bytes] = ()) -> bytes:
    """Return an initramfs with /init, /dev/console and /modules/NN.ko.

    It has the newc format of cpio: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    made = [_entry(name, stat.S_IFDIR | 0o755) for name in ("dev", "proc", "sys", "modules")]
    made.append(_entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    made.append(_entry("init", stat.S_IFREG | 0o755, program))
    for number, module in enumerate(modules):
        made.append(_entry(f"modules/{number:02}.ko", stat.S_IFREG | 0o644, module))
    return b"".join((*made, _entry("TRAILER!!!", 0)))


def _entry(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one entry. All have inode number 0, since only hard links need different numbers."""
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

    `seconds` limits the time; `memory` is in MB. Raise ModelError if the file is not a kernel,
    Unavailable if there is no qemu.
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
    """Run a command in its own session in `folder`; kill what is left of the session at the end.

    Its temporary files are in `folder`, too. Raise Unavailable if the command cannot be started.
    """
    # User-mode Linux keeps its memory in an unnamed file, in /dev/shm unless TMPDIR is set.
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
    """Wait for the end, and kill what is left of the session; return whether time ran out."""
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
