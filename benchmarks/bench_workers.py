"""Measures how much faster several workers are than one, and what that costs in CPU time.

It runs alternating pairs on the same scope: `python benchmarks/bench_workers.py [WORKERS
[PAIRS]]`. Wall time is meaningful only on an idle machine, so the load is printed, too.
"""

import os
import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

from rmapcheck.explore import explore
from rmapcheck.model.machine.scope import GROUPS, Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs, schemes

FULL = Scope(mms=2, pages=2, folios=2, swaps=1, vmas=5, objects=10, ops=GROUPS)
B23 = Scope(**{**bugs()["B23"].bug.scope, "ops": tuple(bugs()["B23"].bug.scope["ops"])})
RUNS: tuple[tuple[str, type[Scheme], Scope, dict[str, object]], ...] = (
    ("avc-6.0, all operations", schemes()["avc-6.0"], FULL, {"max_states": 1_500_000}),
    ("B23, its own scope", bugs()["B23"], B23, {"target": bugs()["B23"].bug.violates}),
)


def once(run: tuple, workers: int) -> tuple[float, float, tuple[int, int]]:
    """Search once; return wall time, CPU time, and the counts."""
    _, scheme, scope, options = run
    wall, cpu = time.monotonic(), time.process_time()
    done = explore(scheme, scope, workers=workers, engine="native", **options)
    return time.monotonic() - wall, time.process_time() - cpu, (done.distinct, done.generated)


def pairs(run: tuple, workers: int, number: int) -> list[str]:
    """Return a row: medians over pairs of one worker and several."""
    once((*run[:3], {**run[3], "max_states": 10}), 1)  # compiles
    wall, cpu, ones = [], [], []
    for _ in range(number):
        one, several = once(run, 1), once(run, workers)
        if one[2] != several[2]:
            raise SystemExit("several workers and one have different counts")
        ones.append(one[0])
        wall.append(one[0] / several[0])
        cpu.append(several[1] / one[1])
    middle = statistics.median
    return [run[0], f"{middle(ones):.2f} s", f"{middle(wall):.2f}", f"{middle(cpu):.2f}"]


def main() -> None:
    """Print the table."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    title = f"{workers} workers and one, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    table = Table("", "one, wall", "times as fast", "times the CPU time", title=title)
    for run in RUNS:
        table.add_row(*pairs(run, workers, number))
    Console().print(table)


main()
