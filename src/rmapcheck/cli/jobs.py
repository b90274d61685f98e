"""Several schemes verified at once, a process each; what they say comes in the order asked for.

A budget is one of wall time, so that two rows on two cores take no longer than one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rmapcheck.cli.common import Out
from rmapcheck.verdict import Exit

SAYS = (Exit.EXPECTED, Exit.UNEXPECTED, Exit.INCONCLUSIVE)
"""How a process ends that printed a verdict; any other way it complained."""
PATIENCE = 5
"""Seconds in which a process may end by itself."""
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
        futures: list[Future[tuple[int, str, str]]] = []
        try:
            futures.extend(pool.submit(one, name) for name in names)
            for name, future in zip(names, futures, strict=True):
                code, said, complaint = future.result()
                codes.append(code if code in (*SAYS, Exit.USAGE) else Exit.CRASH)
                results.append(_shown(out, name, code, said, complaint))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(running, futures)
            raise
    return codes, results


def _end(running: set[subprocess.Popen[str]], futures: list[Future[tuple[int, str, str]]]) -> None:
    """Interrupt the processes, again and again: one that only just starts may not have noticed."""
    started = time.monotonic()
    while not all(future.done() for future in futures):
        patient = time.monotonic() < started + PATIENCE
        for child in list(running):
            child.send_signal(signal.SIGINT if patient else signal.SIGKILL)
        time.sleep(0.2)


def _shown(out: Out, name: str, code: int, said: str, complaint: str) -> Any:  # noqa: ANN401 - JSON
    """Print what one process said as if it had been said here, and return its result."""
    error = " ".join(complaint.split()).removeprefix("rmapcheck: ")
    if code not in SAYS:
        out.verdict(f"{name}: error: {error}", good=False)
        return {"scheme": name, "error": error, "exit": code}
    out.text(said)
    return json.loads(said) if out.as_json else None
