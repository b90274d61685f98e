"""How long a person waits for each seeded bug, with nothing compiled before.

Each search has a process and an empty cache of its own, as `rmapcheck explore BUG` has on a new
machine, and the bug's own scope: wall time holds Python's start, the head start of the interpreted
search, translation and compiler, the search, and the replay of what it found. Writes BUGS.md.
`python benchmarks/bench_bugs.py [BUG …]` takes only these, and writes nothing.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rmapcheck.host.files import write_whole
from rmapcheck.plugins.catalogue import bugs

HERE = Path(__file__).parent
HEAD = (
    "| bug | shortest trace | states | engine | wall s | CPU s |\n|---|---:|---:|---|---:|---:|\n"
)
TEXT = """\
# How long a seeded bug takes to find

Made by `python benchmarks/bench_bugs.py`: exhaustive search of each bug's own scope, one process
each, nothing compiled before. On a busy machine wall time says little, and CPU time more.

"""


def search(name: str) -> dict[str, object]:
    """Return what `rmapcheck explore` reports of a bug, and what it cost."""
    program = [str(Path(sys.executable).with_name("rmapcheck")), "explore", name, "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            program,
            env={**os.environ, "XDG_CACHE_HOME": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if run.returncode:
        raise RuntimeError(f"{name} is not found: {run.stdout}{run.stderr}")
    return {**json.loads(run.stdout), "wall": wall, "cpu": cpu}


def row(name: str) -> str:
    """Return the row of one bug."""
    done = search(name)
    trace = done["trace"]
    steps = len(trace) if isinstance(trace, list) else 0
    cells = [name, str(steps), f"{done['distinct']:,}", str(done["engine_used"])]
    return f"| {' | '.join(cells)} | {done['wall']:.1f} | {done['cpu']:.1f} |\n"


def main() -> None:
    """Measure all bugs, or those named."""
    table = HEAD
    for name in sys.argv[1:] or bugs():
        line = row(name)
        sys.stdout.write(line)
        sys.stdout.flush()
        table += line
    if not sys.argv[1:]:
        write_whole(HERE / "BUGS.md", TEXT + table)


if __name__ == "__main__":
    main()
