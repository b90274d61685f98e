"""Runs jobs on dask.distributed: on a local cluster, or on the cluster of a scheduler.

When a worker dies, its jobs are given to other workers; finished jobs are already in the file of
results. A job that kills several workers gets the result UNKNOWN.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rmapcheck.model.machine.errors import ModelError
from rmapcheck.sweep.jobs import Job, do, empty_result
from rmapcheck.verdict import Exit

MISSING = (
    "a sweep needs the package dask.distributed, which is not installed: "
    "pip install 'rmapcheck[cluster]'"
)
DEATHS = 3
"""A job is tried again after it has killed this many workers, but no more."""
WORKER_PRELOAD = """\
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
"""
"""What local workers run first. They get Ctrl-C as well as the sweep; they ignore it, because the
sweep ends them. The logger would then report each cancelled job, and a scheduler that is gone."""


@contextmanager
def client(scheduler: str, workers: int) -> Iterator[Any]:
    """Yield a dask client: of `scheduler` if its address is given, else of a local cluster.

    `workers`: local processes; 0 means one for each core. Raise ModelError if dask is not
    installed, or if no scheduler answers at the address.
    """
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
        "scheduler_kwargs": {"dashboard_address": ":0"},  # any port: 8787 may be in use
        "preload": WORKER_PRELOAD,
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
    """Turn off logging after Ctrl-C; otherwise dask warns of each worker that it stops."""
    try:
        yield
    except KeyboardInterrupt:
        logging.disable()
        raise


def timed(job: Job) -> tuple[dict[str, Any], float]:
    """Do a job, on a worker; return its result and the seconds that it took."""
    begin = time.monotonic()
    return do(job), time.monotonic() - begin


def run(
    jobs: Iterable[Job],
    connected: Any,  # noqa: ANN401 - a client of dask, which is imported where it is used
    done: Callable[[Job, dict[str, Any], float], None],
) -> None:
    """Do all jobs on the cluster, and call `done` with the job, result and seconds of each."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {connected.submit(timed, job, key=job.id, pure=True): job for job in jobs}
    for future in as_completed(list(futures)):
        job = futures[future]
        try:
            result, seconds = future.result()
        except KilledWorker:
            text = f"UNKNOWN(the job killed {DEATHS + 1} workers, perhaps by lack of memory)"
            result, seconds = empty_result("UNKNOWN", text, Exit.INCONCLUSIVE), 0.0
        done(job, result, seconds)
        future.release()
