"""Several schemes verified at once, a process each; what they say comes in the order asked for.

A budget is one of wall time, so that two rows on two cores take no longer than one.
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rmapcheck.cli.common import Out
from rmapcheck.verdict import Exit

SAYS = (Exit.EXPECTED, Exit.UNEXPECTED, Exit.INCONCLUSIVE)
"""How a process ends that printed a verdict; any other way it complained."""
START = "from rmapcheck.cli import main; main()"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def verify_many(
    out: Out, names: list[str], options: list[str], jobs: int
) -> tuple[list[int], list[Any]]:
    """Run `verify NAME` with `options` for each name, `jobs` at a time; return codes and JSON."""
    common = [*options, *(["--json"] if out.as_json else ["--quiet"] if out.quiet else [])]
    running: set[subprocess.Popen[str]] = set()

    def one(name: str) -> tuple[int, str, str]:
        command = [sys.executable, "-c", START, "verify", *common, "--", name]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as child:  # noqa: S603 - ourselves
            running.add(child)
            said, complaint = child.communicate()
            running.discard(child)
        return child.returncode, said, complaint

    codes: list[int] = []
    results: list[Any] = []
    with ThreadPoolExecutor(jobs) as pool:
        out.covered = lambda: f"{len(codes)} of {len(names)} schemes were done"
        try:
            for name, (code, said, complaint) in zip(names, pool.map(one, names), strict=True):
                codes.append(code if code in (*SAYS, Exit.USAGE) else Exit.CRASH)
                results.append(_shown(out, name, code, said, complaint))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in list(running):
                child.send_signal(signal.SIGINT)
            raise
    return codes, results


def _shown(out: Out, name: str, code: int, said: str, complaint: str) -> Any:  # noqa: ANN401 - JSON
    """Print what one process said as if it had been said here, and return its result."""
    error = " ".join(complaint.split()).removeprefix("rmapcheck: ")
    if code not in SAYS:
        out.verdict(f"{name}: error: {error}", good=False)
        return {"scheme": name, "error": error, "exit": code}
    out.text(said)
    return json.loads(said) if out.as_json else None
