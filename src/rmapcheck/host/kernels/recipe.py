"""Builds user-mode kernels from Debian's kernel source: as shipped, and with a fix reverted.

All have KASAN and DEBUG_VM, so that a use after free is reported as such. They share one build
folder, so only files that an edit changes are compiled again. Everything is in one folder::

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
from rmapcheck.host.kernels.edits import REVERTED_FIXES, Source
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
"""Programs that a build needs → the Debian packages that contain them."""

SOURCES = Path("/usr/src")
"""Where Debian's linux-source packages install their archive."""

# We start from tinyconfig. On 6.1 that selects SLOB, which excludes KASAN; so KASAN is enabled in
# a second step, when SLUB is selected.
FIRST = (
    "64BIT PRINTK BUG TTY BINFMT_ELF MULTIUSER POSIX_TIMERS FUTEX EPOLL ADVISE_SYSCALLS "
    "PROC_FS PROC_PAGE_MONITOR SYSFS SHMEM TMPFS DEVTMPFS BLOCK BLK_DEV BLK_DEV_UBD "
    "BLK_DEV_INITRD RD_GZIP SWAP KSM COMPACTION MIGRATION CGROUPS MEMCG MEMCG_V1 "
    "STDIO_CONSOLE STDERR_CONSOLE NULL_CHAN KALLSYMS FRAME_POINTER PANIC_ON_OOPS SLUB "
    "DEBUG_KERNEL DEBUG_VM DEBUG_VM_RB DEBUG_VM_PGFLAGS DEBUG_LIST SLUB_DEBUG"
)
SECOND = ("KASAN", "KASAN_GENERIC", "KASAN_OUTLINE", "SLUB_RCU_DEBUG")
NEEDED = ("SLUB", "KASAN", "DEBUG_VM", "SWAP", "MEMCG", "BLK_DEV_UBD", "PROC_PAGE_MONITOR")
"""Options that the final configuration must have."""

Say = Callable[[str], None]


class Recipe:
    """One kernel source, its build folder, and the kernels built from them."""

    def __init__(self, folder: Path, version: str, say: Say, *, jobs: int = 2) -> None:
        self.folder = folder
        self.version = version
        self.say = say
        self.jobs = jobs
        self.source = folder / f"linux-source-{version}"
        self.build = folder / f"build-{version}"

    def kernel(self, bug: str = "") -> Path:
        """Return the path of a kernel, built or not: as shipped, or without the fix of `bug`."""
        return self.folder / (f"linux-{self.version}-{bug}" if bug else f"linux-{self.version}")

    def make_all(self, bugs: Iterable[str]) -> list[Path]:
        """Build the kernel as shipped and one for each of `bugs`, unless they exist already."""
        wanted = ["", *bugs]
        for bug in wanted:
            if bug and bug not in REVERTED_FIXES:
                raise ModelError(f"no fix of {bug!r} can be reverted; choose among {_names()}")
        missing = [bug for bug in wanted if not self.kernel(bug).exists()]
        if missing:
            check_tools()
            self.unpack()
            self.configure()
        for bug in missing:
            self.make(bug)
        return [self.kernel(bug) for bug in wanted]

    def unpack(self) -> None:
        """Unpack the source. Raise Unavailable if its package is not installed."""
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
        """Write the configuration if there is none, and check that it has the NEEDED options."""
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
        """Build one kernel, then restore the source."""
        target = self.kernel(bug)
        self.say(f"building {target.name}")
        source = Source(self.source)
        try:
            if bug:
                source.revert(REVERTED_FIXES[bug])
            self._make()
            part = target.with_suffix(".part")
            shutil.copy2(self.build / "linux", part)
            part.rename(target)
        finally:
            source.restore()
        return target

    def _make(self, *targets: str) -> None:
        # Without SUBARCH, some sources include files of a 32-bit kernel.
        self._run(
            *("nice", "-n", "10", "make", "-C", str(self.source), f"O={self.build}"),
            *("ARCH=um", "SUBARCH=x86_64", f"-j{self.jobs}", *targets),
        )

    def _run(self, *command: str) -> None:
        """Run a command with its output in build.log. Raise ModelError if it fails."""
        log = self.folder / "build.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
        if done.returncode:
            raise ModelError(f"{' '.join(command[:6])} … failed; {log} says why")


def _names() -> str:
    return ", ".join(REVERTED_FIXES)


def check_tools() -> None:
    """Raise Unavailable if a program that a build needs is missing."""
    lacking = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if lacking:
        raise Unavailable(
            f"a kernel cannot be built without {', '.join(lacking)}; "
            f"as root: apt-get install {' '.join(lacking)}"
        )
