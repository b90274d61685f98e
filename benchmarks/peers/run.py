"""Compare our search with SPIN, rumur and TLC on one model: `make peers`.

All programs that search the same bounds take turns; each ratio is the median of those of pairs
that ran one after another. What they count must agree, or this fails. `--quick` is the smallest
bounds once. Writes RESULTS.md beside this file, or to `--output`.
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


@attrs.define
class Result:
    """All runs of one program at one set of bounds."""

    program: Program
    runs: list[Run] = attrs.Factory(list)

    @property
    def key(self) -> tuple[int, int]:
        """What it counts."""
        return self.runs[0].states, self.runs[0].transitions


def say(text: str) -> None:
    """Tell how it goes on."""
    sys.stderr.write(f"{text}\n")


def install() -> str:
    """Install SPIN and rumur if they are not there; return what stands in the way, or ""."""
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


def compare(bounds: Bounds, rounds: int, programs: list[Program]) -> list[Result]:
    """Let the programs take turns. Raise PeerError where their counts differ."""
    results = [Result(p) for p in programs]
    for p in programs:
        p.make()
    for number in range(rounds):
        for result in results:
            run = result.program.run()
            result.runs.append(run)
            say(f"{bounds} {number + 1}/{rounds} {result.program.name}: {run}")
    for symmetric in (False, True):
        counted = {
            r.program.name: r.key
            for r in results
            if r.program.symmetric is symmetric and not isinstance(r.program, RumurHeuristic)
        }
        if len(set(counted.values())) > 1:
            raise PeerError(f"the programs disagree at {bounds}: {counted}")
    return results


def ratio(ours: Result, theirs: Result, field: str) -> float:
    """Return the median, over pairs, of our cost by theirs."""
    pairs = zip(ours.runs, theirs.runs, strict=True)
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs)


def rows(bounds: Bounds, results: list[Result]) -> list[str]:
    """Return the rows of the table for one set of bounds."""
    out = []
    for r in results:
        states, transitions = r.key
        median = {f: statistics.median(getattr(x, f) for x in r.runs) for f in FIELDS}
        ratios = " | ".join(
            f"{ratio(ours, r, 'seconds'):.3f}" if ours is not None and ours is not r else ""
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
    "| ns/transition | ours / this | ours with symmetry / this | runs |"
)
RULE = f"|---|---|{'---:|' * 10}"


def _ours(results: list[Result], kind: type[Program]) -> Result | None:
    return next((r for r in results if type(r.program) is kind), None)


def machine() -> str:
    """Return what all this ran on."""
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

Made by `make peers`; see [README.md](README.md) for the model and for what is counted.

{machine}. {versions}.

CPU seconds are user and system time of the whole process, ours with Python's start and
translation; the library is in the cache, as its building is shown apart. RSS is the largest
resident set of the whole process. Ratios are medians over pairs of runs that followed one another.
SPIN: `{spin}`, exact, with a stack and a table little larger than it needs.

{table}
{notes}"""


def report(table: list[str], left_out: list[str]) -> str:
    """Return RESULTS.md."""
    notes = "".join(f"\nLeft out: {text}.\n" for text in left_out)
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
    parser.add_argument("--rounds", type=int, default=3, help="turns at most, at any bounds")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    return parser.parse_args()


def main() -> int:
    """Run everything; the exit code."""
    given = arguments()
    why = install()
    if why:
        say(why)
        return MISSING
    table: list[str] = []
    plan = [(PLAN[0][0], 1, PLAN[0][2])] if given.quick else PLAN
    plan = [(bounds, min(rounds, given.rounds), programs) for bounds, rounds, programs in plan]
    left_out = {f"{p.name}, as {without(p)}" for _, _, ps in plan for p in ps if without(p)}
    with tempfile.TemporaryDirectory() as folder:
        for bounds, rounds, programs in plan:
            made = [p(bounds, Path(folder)) for p in programs if not without(p)]
            try:
                table += rows(bounds, compare(bounds, rounds, made))
            except PeerError as error:
                say(str(error))
                return 1
    given.output.write_text(report(table, sorted(left_out)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
