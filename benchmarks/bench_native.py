"""How much sooner the search in C is done than the interpreted one, for every scheme.

The rates are of the same states, in CPU time without the compiler's, which is shown apart; those
in C are the best of five. Time a transition and bytes a state are of a hundred times as many
states, deeper down. `python benchmarks/bench_native.py [STATES]` sets the limit (1,000). Writes
NATIVE.md.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.scope import FILE_GROUPS, GROUPS, Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.search.native.search import Ended, NativeSearch
from rmapcheck.search.native.translate import Translation, translate
from rmapcheck.search.question import Question

OPS = tuple(g for g in GROUPS if g not in FILE_GROUPS)
FULL = Scope(mms=2, pages=2, folios=2, swaps=1, vmas=5, objects=10, ops=OPS)
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
HEAD = (
    "| scheme | states/s in C | interpreted | ratio | ns/transition | bytes/state | gcc s |\n"
    "|---|---:|---:|---:|---:|---:|---:|\n"
)
TEXT = """\
# Search in C and interpreted

Made by `python benchmarks/bench_native.py` with {compiler}. All anonymous operations, with 2
processes of 2 pages, and of B23 its own scope; one worker, all invariants; CPU time without the
compiler's. Rates and ratio are of the first 1,000 states; time a transition and bytes a state (all
that the search keeps, table and traces included) of the first 100,000.

"""


def in_c(
    scheme: type[Scheme], scope: Scope, states: int, translation: Translation
) -> tuple[float, NativeSearch]:
    """Search that many states; return the CPU seconds it took, and the search."""
    search = NativeSearch(Question(scheme, scope), translation=translation)
    search.start()
    start = time.process_time()
    while search.run(states, None, 1.0) is Ended.SLICE:
        pass
    return time.process_time() - start, search


def measure(name: str, scheme: type[Scheme], scope: Scope, states: int) -> str:
    """Return one row of the table."""
    translation = translate(scheme, scope)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    build.build(translation.source)
    compiling = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    runs = [in_c(scheme, scope, states, translation) for _ in range(5)]
    quick = min(seconds for seconds, _ in runs)
    reached = runs[0][1].distinct
    deep, native = in_c(scheme, scope, 100 * states, translation)
    start = time.process_time()
    python = explore(scheme, scope, max_states=states, engine="python")
    slow = time.process_time() - start
    rates = reached / quick, python.distinct / slow
    cells = [
        name if reached >= states else f"{name} (violated after {reached} states)",
        f"{rates[0]:,.0f}",
        f"{rates[1]:,.0f}",
        f"{rates[0] / rates[1]:.0f}",
        f"{1e9 * deep / native.generated:.0f}",
        f"{native.report.bytes / native.distinct:.0f}",
        f"{compiling:.1f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Write the table."""
    states = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    table = HEAD
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        runs = [(name, cls, FULL) for name, cls in schemes().items()]
        for name, cls, scope in [*runs, ("B23", bugs()["B23"], B23)]:
            line = measure(name, cls, scope, states)
            sys.stdout.write(line)
            sys.stdout.flush()
            table += line
    text = TEXT.format(compiler=build.compiler()) + table
    write_whole(Path(__file__).with_name("NATIVE.md"), text)


main()
