"""Compares our search with SPIN, rumur and TLC on one model: `make peers`.

All programs that search the same bounds take turns; each ratio is the median over pairs of runs
that followed one another. The command fails if their counts differ, or if a program fails; then
the others continue without it. Turns after the first are taken as long as `--minutes` allow.
`--quick` runs only the smallest bounds, once; `--long` gives TLC a quarter of an hour at bounds
where its start does not matter. Writes RESULTS.md in this folder, or to `--output`.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from avc_profile import Bounds
from programs import (
    SPIN_FLAGS,
    Ours,
    OursSymmetric,
    PeerError,
    Program,
    Rumur,
    RumurHeuristic,
    RumurSymmetric,
    Run,
    Spin,
    Tlc,
)

from rmapcheck.host.files import write_whole

HERE = Path(__file__).parent
MISSING = 3
BOTH = (Ours, OursSymmetric)
PLAN: tuple[tuple[Bounds, int, tuple[type[Program], ...]], ...] = (
    # bounds, rounds, programs
    (Bounds(2, 2, 2, 2), 3, (*BOTH, Spin, Rumur, RumurSymmetric, RumurHeuristic, Tlc)),
    (Bounds(2, 2, 3, 3), 1, (*BOTH, Spin, Rumur, RumurSymmetric, RumurHeuristic, Tlc)),
    (Bounds(3, 2, 2, 2), 1, (*BOTH, Spin, Rumur, RumurSymmetric, RumurHeuristic)),
    (Bounds(2, 3, 2, 2), 3, (*BOTH, Spin)),
    (Bounds(2, 3, 2, 2), 1, (OursSymmetric, RumurSymmetric, RumurHeuristic)),
    (Bounds(3, 2, 2, 3), 3, (*BOTH, Spin)),
)
LONG: tuple[Bounds, int, tuple[type[Program], ...]] = (Bounds(2, 3, 2, 2), 1, (*BOTH, Tlc))


@attrs.define
class Result:
    """All runs of one program at one set of bounds."""

    program: Program
    runs: list[Run] = attrs.Factory(list)

    def turn(self) -> None:
        """Run once more."""
        self.runs.append(self.program.run())

    @property
    def key(self) -> tuple[int, int]:
        """The counts, which must agree."""
        return self.runs[0].states, self.runs[0].transitions


def say(text: str) -> None:
    """Print progress."""
    sys.stderr.write(f"{text}\n")


def install() -> str:
    """Install SPIN and rumur if they are missing; return why that is impossible, or ""."""
    absent = [name for name in ("spin", "rumur") if not shutil.which(name)]
    if not absent:
        return ""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (("update",), ("install", "--yes", *absent)):
            command = ["apt-get", "-qq", *words]
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    absent = [name for name in absent if not shutil.which(name)]
    if not absent:
        return ""
    return (
        f"{' and '.join(absent)} not found; they are Debian packages: "
        f"apt-get install {' '.join(absent)}"
    )


def without(program: type[Program]) -> str:
    """Return why `program` is left out, or ""."""
    if program is not Tlc:
        return ""
    if not os.environ.get("TLC_JAR"):
        return "TLC_JAR does not name TLC's jar"
    if not Path(os.environ["TLC_JAR"]).is_file():
        return f"TLC_JAR names {os.environ['TLC_JAR']}, where there is no file"
    return "" if shutil.which("java") else "there is no java"


@attrs.define
class Turns:
    """Runs programs in turn while there is time, and notes failures."""

    deadline: float
    failed: list[str] = attrs.Factory(list)

    def take(self, bounds: Bounds, rounds: int, programs: list[Program]) -> list[Result]:
        """Return the results of all programs that did not fail."""
        results = [Result(p) for p in programs if self.works(bounds, p, p.make)]
        for number in range(rounds):
            start = time.monotonic()
            for result in list(results):
                say(f"{bounds} {number + 1}/{rounds} {result.program.name}")
                if not self.works(bounds, result.program, result.turn):
                    results.remove(result)
            took = time.monotonic() - start
            if time.monotonic() + took > self.deadline:
                break
        return results

    def works(self, bounds: Bounds, program: Program, do: Callable[[], None]) -> bool:
        """Return whether `do` succeeds; note a failure."""
        try:
            do()
        except (PeerError, OSError, ValueError, KeyError) as error:
            self.failed.append(f"{program.name} at {bounds}: {error}")
            say(self.failed[-1])
            return False
        return True


def agree(bounds: Bounds, results: list[Result]) -> None:
    """Raise PeerError if counts differ."""
    for symmetric in (False, True):
        counted = {
            r.program.name: r.key
            for r in results
            if r.program.symmetric is symmetric and not isinstance(r.program, RumurHeuristic)
        }
        if len(set(counted.values())) > 1:
            raise PeerError(f"the programs disagree at {bounds}: {counted}")


def ratio(ours: Result, theirs: Result, field: str) -> float:
    """Return the median over pairs of our cost divided by theirs."""
    pairs = zip(ours.runs, theirs.runs, strict=True)
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)


def rows(bounds: Bounds, results: list[Result]) -> list[str]:
    """Return the rows of the table for one set of bounds."""
    out = []
    for r in results:
        states, transitions = r.key
        median = {f: statistics.median(getattr(x, f) for x in r.runs) for f in FIELDS}
        ratios = " | ".join(
            f"{ratio(ours, r, 'seconds'):.3f} | {ratio(ours, r, 'search'):.3f}"
            if ours is not None and ours is not r
            else " | "
            for ours in (_ours(results, Ours), _ours(results, OursSymmetric))
        )
        cells = [
            f"{bounds} | {r.program.name} | {states:,} | {transitions:,}",
            f"{median['seconds']:.2f} | {median['search']:.2f} | {r.program.building:.1f}",
            f"{median['megabytes']:.0f} | {1e9 * median['search'] / transitions:.0f}",
            f"{ratios} | {len(r.runs)}",
        ]
        out.append(f"| {' | '.join(cells)} |")
    return out


FIELDS = ("seconds", "search", "megabytes")
HEAD = (
    "| P,V,F,A | program | states | transitions | CPU s | of it search | build CPU s | RSS MB "
    "| ns/transition | ours / this | net | ours with symmetry / this | net | runs |"
)
RULE = f"|---|---|{'---:|' * 12}"


def _ours(results: list[Result], kind: type[Program]) -> Result | None:
    return next((r for r in results if type(r.program) is kind), None)


def machine() -> str:
    """Return the machine on which the programs ran."""
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}"


def versions() -> str:
    """Return the versions of the programs."""
    found = [f"Python {platform.python_version()}"]
    for command in (["gcc", "--version"], ["spin", "-V"], ["rumur", "--version"]):
        if not shutil.which(command[0]):
            found.append(f"no {command[0]}")
            continue
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        text = (run.stdout or run.stderr).strip()
        found.append(text.splitlines()[0] if text else command[0])
    if not without(Tlc):
        java = ["java", "-cp", os.environ["TLC_JAR"], "tlc2.TLC"]
        run = subprocess.run(java, check=False, capture_output=True, text=True)
        match = re.search(r"TLC2 Version [^\n]*", run.stdout + run.stderr)
        found.append(match[0] if match else "TLC")
    return ", ".join(found)


TEXT = """\
# Results

Generated by `make peers`; see [README.md](README.md) for the model and for what is counted.

{machine}. {versions}.

CPU seconds are user and system time of the whole process; ours include Python's start and the
translation. The library is in the cache, because the time to build it is shown separately. RSS is
the largest resident set of the whole process. Ratios are medians over pairs of runs that followed
one another. *net* is the same without Python's start and the translation of the model, about a
third of a second, which is most of our time at small bounds. Nothing is subtracted for the peers:
SPIN and rumur start immediately, and TLC's figures include about a second for starting Java.
SPIN: `{spin}`, exact, with a stack and a table slightly larger than it needs.

{table}
{notes}"""


def report(table: list[str], left_out: list[str], failed: list[str]) -> str:
    """Return RESULTS.md."""
    notes = "".join(f"\nLeft out: {text}.\n" for text in left_out)
    notes += "".join(f"\nFailed: {text.splitlines()[0]}\n" for text in failed)
    return TEXT.format(
        machine=machine(),
        versions=versions(),
        spin=" ".join(SPIN_FLAGS),
        table="\n".join([HEAD, RULE, *table]),
        notes=notes,
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the smallest bounds, once")
    parser.add_argument("--long", action="store_true", help="also TLC at larger bounds")
    parser.add_argument("--minutes", type=float, default=20, help="no new turns after so many")
    parser.add_argument("--rounds", type=int, default=3, help="at most so many turns per bounds")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    return parser.parse_args()


def main() -> int:
    """Run everything; return the exit code."""
    given = arguments()
    why = install()
    if why:
        say(why)
        return MISSING
    table: list[str] = []
    plan = [(PLAN[0][0], 1, PLAN[0][2])] if given.quick else [*PLAN, *([LONG] * given.long)]
    plan = [(bounds, min(rounds, given.rounds), programs) for bounds, rounds, programs in plan]
    left_out = {f"{p.name}, as {without(p)}" for _, _, ps in plan for p in ps if without(p)}
    turns = Turns(time.monotonic() + 60 * given.minutes)
    with tempfile.TemporaryDirectory() as folder:
        for bounds, rounds, programs in plan:
            made = [p(bounds, Path(folder)) for p in programs if not without(p)]
            results = turns.take(bounds, rounds, made)
            try:
                agree(bounds, results)
            except PeerError as error:
                say(str(error))
                return 1
            table += rows(bounds, results)
            text = report(table, sorted(left_out), turns.failed)
            write_whole(given.output, text)
    return 1 if turns.failed else 0


if __name__ == "__main__":
    sys.exit(main())
