"""Jobs on dask.distributed: a local cluster, or one that a scheduler's address names.

A worker that dies takes nothing along: its jobs are given to others, and what is done is in the
file of results already. A job that keeps on killing workers is given up as UNKNOWN.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rmapcheck.model.machine.errors import ModelError
from rmapcheck.sweep.jobs import Job, do, nothing
from rmapcheck.verdict import Exit

MISSING = (
    "a sweep needs the package dask.distributed, which is not installed: "
    "pip install 'rmapcheck[cluster]'"
)
DEATHS = 3
"""Workers that a job may outlive."""
DEAF = """\
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
"""
"""What local workers run first: Ctrl-C, which they get too, is for the sweep, which ends them.
All that this logger warns of is each job that is cancelled then."""


@contextmanager
def client(scheduler: str, workers: int) -> Iterator[Any]:
    """Yield a dask client. Raise ModelError without dask, or without the scheduler."""
    try:
        import dask
        import distributed
    except ImportError:
        raise ModelError(MISSING) from None
    cores = len(os.sched_getaffinity(0))
    dask.config.set({"distributed.scheduler.allowed-failures": DEATHS})
    options: dict[str, Any] = {
        "n_workers": workers or cores,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "preload": DEAF,
    }
    try:
        made = distributed.Client(scheduler, timeout=10) if scheduler else None
    except (OSError, ValueError, TimeoutError) as error:
        raise ModelError(f"no scheduler answers at {scheduler} ({error})") from None
    if made is not None:
        with made:
            yield made
        return
    with (
        _logging_restored(),
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as local,
        _silent_once_interrupted(),
    ):
        yield local


@contextmanager
def _logging_restored() -> Iterator[None]:
    before = logging.root.manager.disable
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _silent_once_interrupted() -> Iterator[None]:
    """After Ctrl-C have nothing logged any more: dask warns of each worker that it stops."""
    try:
        yield
    except KeyboardInterrupt:
        logging.disable()
        raise


def timed(job: Job) -> tuple[dict[str, Any], float]:
    """Do a job on a worker; return its result and the seconds it took."""
    begin = time.monotonic()
    return do(job), time.monotonic() - begin


def run(
    jobs: Iterable[Job],
    connected: Any,  # noqa: ANN401 - a client of dask, which is imported where it is used
    done: Callable[[Job, dict[str, Any], float], None],
) -> None:
    """Have all jobs done; tell `done` of each as soon as it is."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {connected.submit(timed, job, key=job.id, pure=True): job for job in jobs}
    for future in as_completed(list(futures)):
        job = futures[future]
        try:
            result, seconds = future.result()
        except KilledWorker:
            text = f"UNKNOWN(the job killed {DEATHS + 1} workers, perhaps for want of memory)"
            result, seconds = nothing("UNKNOWN", text, Exit.INCONCLUSIVE), 0.0
        done(job, result, seconds)
        future.release()
