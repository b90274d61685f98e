"""Building user-mode kernels from Debian's kernel source: as shipped, and with a fix undone.

All have KASAN and DEBUG_VM, so that a use after free is told as such. One build folder serves all
of them: only what an edit touches is compiled again. Everything lies in one folder::

    linux-source-6.1/    the source, unpacked
    build-6.1/           its objects
    linux-6.1            the kernel as shipped
    linux-6.1-B23        the same without 2555283eb40d
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from rmapcheck.host.errors import Unavailable
from rmapcheck.host.kernels.edits import UNDONE, Source
from rmapcheck.model.machine.errors import ModelError

TOOLS = {
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "xz": "xz-utils",
    "tar": "tar",
}
"""Programs that a build needs, and the Debian packages that they are in."""

SOURCES = Path("/usr/src")
"""Where Debian's linux-source packages put their archive."""

# tinyconfig has next to nothing. On 6.1 it chooses SLOB, under which KASAN cannot be had, so KASAN
# comes second, once SLUB is settled.
FIRST = (
    "64BIT PRINTK BUG TTY BINFMT_ELF MULTIUSER POSIX_TIMERS FUTEX EPOLL ADVISE_SYSCALLS "
    "PROC_FS PROC_PAGE_MONITOR SYSFS SHMEM TMPFS DEVTMPFS BLOCK BLK_DEV BLK_DEV_UBD "
    "BLK_DEV_INITRD RD_GZIP SWAP KSM COMPACTION MIGRATION CGROUPS MEMCG MEMCG_V1 "
    "STDIO_CONSOLE STDERR_CONSOLE NULL_CHAN KALLSYMS FRAME_POINTER PANIC_ON_OOPS SLUB "
    "DEBUG_KERNEL DEBUG_VM DEBUG_VM_RB DEBUG_VM_PGFLAGS DEBUG_LIST SLUB_DEBUG"
)
SECOND = ("KASAN", "KASAN_GENERIC", "KASAN_OUTLINE", "SLUB_RCU_DEBUG")
NEEDED = ("SLUB", "KASAN", "DEBUG_VM", "SWAP", "MEMCG", "BLK_DEV_UBD", "PROC_PAGE_MONITOR")
"""What the configuration must have in the end, whatever else it has."""

Say = Callable[[str], None]


class Recipe:
    """One source, its build folder, and the kernels made of them."""

    def __init__(self, folder: Path, version: str, say: Say, *, jobs: int = 2) -> None:
        self.folder = folder
        self.version = version
        self.say = say
        self.jobs = jobs
        self.source = folder / f"linux-source-{version}"
        self.build = folder / f"build-{version}"

    def kernel(self, bug: str = "") -> Path:
        """Return where a kernel is or will be: as shipped, or with the fix of `bug` undone."""
        return self.folder / (f"linux-{self.version}-{bug}" if bug else f"linux-{self.version}")

    def make_all(self, bugs: Iterable[str]) -> list[Path]:
        """Build the kernel as shipped and one for each of `bugs`, unless they are there."""
        wanted = ["", *bugs]
        for bug in wanted:
            if bug and bug not in UNDONE:
                raise ModelError(f"no fix of {bug!r} can be undone; choose among {_names()}")
        missing = [bug for bug in wanted if not self.kernel(bug).exists()]
        if missing:
            check_tools()
            self.unpack()
            self.configure()
        for bug in missing:
            self.make(bug)
        return [self.kernel(bug) for bug in wanted]

    def unpack(self) -> None:
        """Unpack the source; raise Unavailable where its package is not installed."""
        if (self.source / "Makefile").exists():
            return
        archive = SOURCES / f"linux-source-{self.version}.tar.xz"
        if not archive.exists():
            raise Unavailable(
                f"there is no {archive}; as root: apt-get install linux-source-{self.version}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.say(f"unpacking {archive}")
        part = self.folder / f"unpacking-{os.getpid()}"
        part.mkdir()
        try:
            self._run("tar", "-xf", str(archive), "-C", str(part))
            (part / self.source.name).rename(self.source)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def configure(self) -> None:
        """Write the configuration, if there is none, and see that it has what is needed."""
        config = self.build / ".config"
        if not config.exists():
            self.build.mkdir(exist_ok=True)
            self._make("tinyconfig")
            self._set(["-d", "SLOB", *(word for name in FIRST.split() for word in ("-e", name))])
            self._set([word for name in SECOND for word in ("-e", name)])
        lines = config.read_text(encoding="utf-8").splitlines()
        lacking = [name for name in NEEDED if f"CONFIG_{name}=y" not in lines]
        if lacking:
            config.unlink()
            raise ModelError(
                f"Linux {self.version} cannot be configured with {', '.join(lacking)}; "
                "the recipe was written for 6.1"
            )

    def _set(self, options: list[str]) -> None:
        script = self.source / "scripts" / "config"
        self._run(str(script), "--file", str(self.build / ".config"), *options)
        self._make("olddefconfig")

    def make(self, bug: str = "") -> Path:
        """Build one kernel; the source is afterwards as it was."""
        target = self.kernel(bug)
        self.say(f"building {target.name}")
        source = Source(self.source)
        try:
            if bug:
                source.undo(UNDONE[bug])
            self._make()
            part = target.with_suffix(".part")
            shutil.copy2(self.build / "linux", part)
            part.rename(target)
        finally:
            source.restore()
        return target

    def _make(self, *targets: str) -> None:
        # Without SUBARCH some sources look for the parts of a 32-bit kernel.
        self._run(
            *("nice", "-n", "10", "make", "-C", str(self.source), f"O={self.build}"),
            *("ARCH=um", "SUBARCH=x86_64", f"-j{self.jobs}", *targets),
        )

    def _run(self, *command: str) -> None:
        """Run a command; what it prints is kept in build.log. Raise ModelError if it fails."""
        log = self.folder / "build.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
        if done.returncode:
            raise ModelError(f"{' '.join(command[:6])} … failed; {log} says why")


def _names() -> str:
    return ", ".join(UNDONE)


def check_tools() -> None:
    """Raise Unavailable where something that a build needs is not there."""
    lacking = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if lacking:
        raise Unavailable(
            f"a kernel cannot be built without {', '.join(lacking)}; "
            f"as root: apt-get install {' '.join(lacking)}"
        )
