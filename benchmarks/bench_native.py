"""How much sooner the search in C is done than the interpreted one, in the same scope.

Both do the same work to the same limit; the rates are of CPU time, without the compiler's, which
is shown apart. `python benchmarks/bench_native.py [STATES]` sets the limit of the interpreted
searches (20,000); those in C get fifteen times as much, to be long enough for the clock.
"""

import os
import resource
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from model.scheme import Scheme
from model.scope import GROUPS, Scope
from rmapcheck.catalogue import bugs, schemes
from rmapcheck.explore import explore
from rmapcheck.native import build
from rmapcheck.native.explore import explore_native
from rmapcheck.native.translate import translate

FULL = Scope(mms=2, pages=2, folios=2, swaps=1, vmas=5, objects=10, ops=GROUPS)
B23 = Scope(
    mms=3,
    pages=2,
    premapped=2,
    folios=1,
    swaps=0,
    vmas=8,
    objects=40,
    ops=("mprotect", "fault", "fork", "exit"),
)
RUNS = (
    ("avc-6.0, all operations", schemes()["avc-6.0"], FULL),
    ("B23, its own scope", bugs()["B23"], B23),
)
COLUMNS = (
    "",
    "states/s in C",
    "interpreted",
    "ratio",
    "transitions/s in C",
    "translate",
    "compile",
)


def measure(scheme: type[Scheme], scope: Scope, states: int) -> list[str]:
    """Return one row of the table."""
    start = time.process_time()
    translation = translate(scheme, scope)
    translating = time.process_time() - start
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        build.build(translation.source)
        compiling = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        start = time.process_time()
        native = explore_native(scheme, scope, max_states=15 * states, translation=translation)
        quick = time.process_time() - start
    start = time.process_time()
    python = explore(scheme, scope, max_states=states, engine="python")
    slow = time.process_time() - start
    rates = native.distinct / quick, python.distinct / slow
    return [
        f"{rates[0]:,.0f}",
        f"{rates[1]:,.0f}",
        f"{rates[0] / rates[1]:.0f}",
        f"{native.generated / quick:,.0f}",
        f"{translating:.2f} s",
        f"{compiling:.1f} s",
    ]


def main() -> None:
    """Print the table."""
    states = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    table = Table(*COLUMNS, title=f"C and interpreted, {build.compiler()}")
    for name, scheme, scope in RUNS:
        table.add_row(name, *measure(scheme, scope, states))
    Console().print(table)


main()
