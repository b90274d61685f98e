"""Runs the oracle in user-mode Linux, to compare another kernel than the running one.

Its root is the host's root, mounted read-only (hostfs), so the same Python and the same checkout
run there. It can write to only one folder of the host, a temporary one. Anyone who may read the
checkout can do this: every process in user-mode Linux is root there.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

import rmapcheck
from rmapcheck.host.boot import Log, kind_of, run_session
from rmapcheck.host.errors import Unavailable
from rmapcheck.host.swapping import write_swap_file
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.verdict import Exit

INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run XDG_CACHE_HOME=/run/cache TMPDIR=/run
export NO_COLOR=1 PYTHONPATH='{root}' PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir /run/out
mount -t hostfs -o '{folder}/out' out /run/out || echo 'there is no hostfs'
mknod /run/ubda b 98 0 && swapon /run/ubda
mount -t tmpfs cgroup /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory && mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory
cd /run
'{python}' -c 'from rmapcheck.cli import main; main()' kernel --shared-swap \\
    --save /run/out/cases {words} > /run/out/said 2> /run/out/errors
echo $? > /run/out/code
exec '{python}' -c 'import ctypes; ctypes.CDLL(None).reboot({power_off:#x})'
"""
POWER_OFF = 0x4321FEDC
"""RB_POWER_OFF, linux/reboot.h."""


@attrs.frozen(kw_only=True)
class UmlResult:
    """Output, exit code and saved cases of `rmapcheck kernel` in user-mode Linux."""

    text: str
    errors: str
    code: Exit
    cases: tuple[Path, ...]
    """Saved differences, on the host."""


def compare_in_uml(
    kernel: Path, words: Sequence[str], *, seconds: float, memory: int, save: Path
) -> UmlResult:
    """Run `rmapcheck kernel WORDS` in user-mode Linux; copy the cases that it saves to `save`.

    The time limit is in seconds, the memory in MB. Raise ModelError if the file is not a user-mode
    Linux, Unavailable if the run does not finish.
    """
    if kind_of(kernel) != "uml":
        raise ModelError(
            f"{kernel} is not user-mode Linux; the oracle runs in no other kernel file"
        )
    aligner = shutil.which("setarch")
    if aligner is None:
        raise Unavailable("there is no setarch; install util-linux")
    with tempfile.TemporaryDirectory(prefix="rmapcheck-") as name:
        folder = Path(name)
        out = folder / "out"
        out.mkdir()
        write_swap_file(folder / "swap")
        _write_init(folder, words)
        # With a randomized break, page frames get numbers that /proc/kpageflags does not cover.
        log = run_session([aligner, "-R", *_command(kernel, folder, memory)], folder, seconds)
        if not (out / "code").exists():
            raise Unavailable(f"{kernel} {_why(log)}")
        errors = (out / "errors").read_text(encoding="utf-8")
        code = int((out / "code").read_text(encoding="utf-8"))
        if code not in set(Exit):
            raise Unavailable(f"rmapcheck could not be run in {kernel}: {errors}")
        return UmlResult(
            text=(out / "said").read_text(encoding="utf-8"),
            errors=errors,
            code=Exit(code),
            cases=tuple(_copied(out / "cases", save)),
        )


def _why(log: Log) -> str:
    """Return why a kernel did not finish, as a part of a sentence."""
    lines = [line for line in log.text.splitlines() if line.strip()]
    reasons = [line for line in lines if "panic" in line] or lines[-1:] or ["it printed nothing"]
    why = f"was stopped after {log.seconds:.0f} s" if log.timed_out else "ended too soon"
    return f"{why}: {reasons[0]}"


def _write_init(folder: Path, words: Sequence[str]) -> None:
    text = INIT.format(
        root=Path(rmapcheck.__file__).parents[1],
        folder=folder,
        python=sys.executable,
        words=" ".join(words),
        power_off=POWER_OFF,
    )
    init = folder / "init"
    init.write_text(text, encoding="utf-8")
    init.chmod(0o755)


def _command(kernel: Path, folder: Path, memory: int) -> list[str]:
    return [
        str(kernel.resolve()),
        *(f"mem={memory}M", f"ubd0={folder}/swap", f"init={folder}/init"),
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        *(f"uml_dir={folder}", "umid=rmapcheck", "con=null", "con0=null,fd:1", "ssl=null"),
        *("panic=-1", "quiet"),
    ]


def _copied(cases: Path, save: Path) -> list[Path]:
    found = sorted(cases.glob("*.json"))
    if found:
        save.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(case, save)) for case in found]
