"""The oracle on another kernel: user-mode Linux boots, and compares itself with the model.

Its root is the host's, read-only (hostfs), so that this very Python and this very checkout run
there. Only one folder of the host can be written to, and that is a temporary one. Whoever may read
the checkout can do it: inside, everybody is root.
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
class Said:
    """What the command said there."""

    text: str
    errors: str
    code: Exit
    cases: tuple[Path, ...]
    """Saved differences, on the host."""


def compare_inside(
    kernel: Path, words: Sequence[str], *, seconds: float, memory: int, save: Path
) -> Said:
    """Run `rmapcheck kernel` with these words in user-mode Linux; copy differences to `save`.

    Raise ModelError where the file is no such kernel, Unavailable where it comes to no end.
    """
    if kind_of(kernel) != "uml":
        raise ModelError(f"{kernel} is no user-mode Linux; the oracle cannot be run in another")
    aligner = shutil.which("setarch")
    if aligner is None:
        raise Unavailable("there is no setarch; install util-linux")
    with tempfile.TemporaryDirectory(prefix="rmapcheck-") as name:
        folder = Path(name)
        out = folder / "out"
        out.mkdir()
        write_swap_file(folder / "swap")
        _write_init(folder, words)
        # Where the break lies at random, page frames have numbers that /proc/kpageflags has not.
        log = run_session([aligner, "-R", *_command(kernel, folder, memory)], folder, seconds)
        if not (out / "code").exists():
            raise Unavailable(f"{kernel} {_why(log)}")
        errors = (out / "errors").read_text(encoding="utf-8")
        code = int((out / "code").read_text(encoding="utf-8"))
        if code not in set(Exit):
            raise Unavailable(f"rmapcheck could not be run in {kernel}: {errors}")
        return Said(
            text=(out / "said").read_text(encoding="utf-8"),
            errors=errors,
            code=Exit(code),
            cases=tuple(_copied(out / "cases", save)),
        )


def _why(log: Log) -> str:
    """Return why a kernel came to no end, as a part of a sentence."""
    lines = [line for line in log.text.splitlines() if line.strip()]
    told = [line for line in lines if "panic" in line] or lines[-1:] or ["it printed nothing"]
    why = f"was given up after {log.seconds:.0f} s" if log.timed_out else "ended too soon"
    return f"{why}: {told[0]}"


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
