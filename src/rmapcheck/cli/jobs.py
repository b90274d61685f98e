"""Verifies several schemes at once, each in its own process; results are printed in order.

Each has its own budget of CPU time, so two schemes on two cores take no longer than one.
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

WITH_VERDICT = (Exit.EXPECTED, Exit.UNEXPECTED, Exit.INCONCLUSIVE)
"""Exit codes of a process that printed a verdict. With others it printed an error."""
PATIENCE = 5
"""Seconds that a process has to end after SIGINT; then it is killed."""
START = "from rmapcheck.cli import main; main()"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def verify_many(
    out: Out, names: list[str], options: list[str], jobs: int
) -> tuple[list[int], list[Any]]:
    """Run `verify NAME` with `options` for each name, `jobs` at a time.

    Print the results in the order of the names. Return the exit codes, and the results as JSON.
    """
    common = [*options, *(["--json"] if out.as_json else ["--quiet"] if out.quiet else [])]
    running: set[subprocess.Popen[str]] = set()

    def one(name: str) -> tuple[int, str, str]:
        command = [sys.executable, "-c", START, "verify", *common, "--", name]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as child:  # noqa: S603 - ourselves
            running.add(child)
            stdout, stderr = child.communicate()
            running.discard(child)
        return child.returncode, stdout, stderr

    codes: list[int] = []
    results: list[Any] = []
    with ThreadPoolExecutor(jobs) as pool:
        out.covered = lambda: f"{len(codes)} of {len(names)} schemes were done"
        futures: list[Future[tuple[int, str, str]]] = []
        try:
            futures.extend(pool.submit(one, name) for name in names)
            for name, future in zip(names, futures, strict=True):
                code, stdout, stderr = future.result()
                codes.append(code if code in (*WITH_VERDICT, Exit.USAGE) else Exit.CRASH)
                results.append(_print_result(out, name, code, stdout, stderr))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(running, futures)
            raise
    return codes, results


def _end(running: set[subprocess.Popen[str]], futures: list[Future[tuple[int, str, str]]]) -> None:
    """Interrupt the processes repeatedly: one that is still starting may miss a signal."""
    started = time.monotonic()
    while not all(future.done() for future in futures):
        patient = time.monotonic() < started + PATIENCE
        for child in list(running):
            child.send_signal(signal.SIGINT if patient else signal.SIGKILL)
        time.sleep(0.2)


def _print_result(out: Out, name: str, code: int, stdout: str, stderr: str) -> Any:  # noqa: ANN401
    """Print the output of one process as if it were our own, and return its result as JSON."""
    error = " ".join(stderr.split()).removeprefix("rmapcheck: ")
    if code not in WITH_VERDICT:
        out.verdict(f"{name}: error: {error}", good=False)
        return {"scheme": name, "error": error, "exit": code}
    out.text(stdout)
    return json.loads(stdout) if out.as_json else None
