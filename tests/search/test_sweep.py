"""Sweeps: killed workers lose no results, a sweep can be continued, and results can be merged."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import attrs
import pytest

from rmapcheck.cli import run
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.search.question import Limits
from rmapcheck.sweep import cluster
from rmapcheck.sweep.jobs import LIMITS, do, limits_from, matrix
from rmapcheck.sweep.results import Results, ResultsError, merged
from tests.processes import RMAPCHECK, started

SMALL = Scope(mms=2, pages=1, folios=2, swaps=1, objects=6, ops=("mmap", "fault", "fork"))


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    monkeypatch.setenv("RMAPCHECK_ENGINE", "python")


def jobs(*names, **options):
    return list(matrix(names, scopes=(SMALL,), limits=Limits(steps=300), **options))


def test_the_matrix_has_each_seed_for_random_engines_only():
    made = jobs("avc-7.0", "B28", engines=("explore", "walk"), seeds=range(3))
    assert len(made) == len({job.id for job in made}) == 2 * (1 + 3)


def test_limits_keep_their_names_in_jobs():
    """The id of a job is a digest of its data: other names would make every result unknown."""
    names = {"max_states": None, "max_seconds": 60.0, "max_memory_mb": 2000, "steps": 20_000}
    (job,) = matrix(["avc-7.0"], scopes=(SMALL,))
    assert job.limits == names
    assert limits_from(names) == attrs.evolve(LIMITS, runs=200)


def test_a_job_may_be_done_twice():
    (job,) = jobs("avc-7.0")
    assert do(job) == do(job)
    assert do(job)["verdict"] == "HOLDS"
    with pytest.raises(ModelError, match="another version of the model"):
        do(attrs.evolve(job, code="other"))


def test_a_killed_worker_loses_nothing():
    pytest.importorskip("distributed")
    made = jobs("avc-7.0", "avc-6.0", "avc-3.0", "B28", engines=("walk",), seeds=range(4))
    came, killed = {}, []

    def done(job, result, _seconds):
        came[job.id] = result
        if not killed:
            killed.extend(connected.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    with cluster.client("", 2) as connected:
        cluster.run(made, connected, done)
        assert killed[0] not in connected.run(os.getpid).values()
    assert came == {job.id: do(job) for job in made}


def test_the_command_continues_where_it_stopped(tmp_path, capsys):
    pytest.importorskip("distributed")
    file = str(tmp_path / "s")
    command = ["sweep", "run", "avc-7.0", "--mms", "1", "--pages", "1", "--into", file]
    command += ["--workers", "1", "--json"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 1
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 0
    assert run(["sweep", "report", file]) == 0
    assert "1 HOLDS" in capsys.readouterr().out


def test_ctrl_c_prints_one_sentence_only(tmp_path):
    """A terminal sends Ctrl-C to the workers, too, and dask would log which of them it stops."""
    pytest.importorskip("distributed")
    file = tmp_path / "s"
    command = [*RMAPCHECK, "sweep", "run", "avc-7.0", "--engines", "walk"]
    command += ["--steps", "10000000", "--workers", "1", "--into", str(file)]
    with started(command, stderr=subprocess.PIPE, text=True, process_group=0) as sweep:
        while not file.exists() and sweep.poll() is None:
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(sweep.pid, signal.SIGINT)
        _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    sentence = f"interrupted: finished jobs are in {file}; the same command continues."
    assert said == f"rmapcheck: {sentence}\n"


def stored(path, *results):
    (job,) = jobs("avc-7.0")
    with closing(Results(path, new=True)) as file:
        for result in results:
            file.put(job, result, 1.0)
    return path


def test_files_merge_unless_they_contradict_each_other(tmp_path):
    good = {"verdict": "HOLDS", "text": "HOLDS", "exit": 0}
    bad = {"verdict": "VIOLATED", "text": "VIOLATED", "exit": 1}
    idle = {"verdict": "UNKNOWN", "text": "UNKNOWN", "exit": 3}
    a, b = stored(tmp_path / "a", idle, good, bad), stored(tmp_path / "b", idle)
    assert merged([b, a, b], tmp_path / "c") == 1
    with closing(Results(tmp_path / "c")) as file:
        assert [result for _, result, _ in file.rows()] == [good]
    with pytest.raises(ResultsError, match="contradict each other"):
        merged([a, stored(tmp_path / "d", bad)], tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_other_files_are_refused(tmp_path, capsys):
    def refused(path):
        assert run(["sweep", "report", str(path)]) == 2
        return capsys.readouterr().err

    assert "there is no file" in refused(tmp_path / "none")
    (tmp_path / "text").write_text("not a database, and long enough to be read as one" * 40)
    assert "is not a file of sweep results" in refused(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("create table x (y)")
    assert "is not a file of sweep results" in refused(tmp_path / "other")
    newer = stored(tmp_path / "newer")
    with sqlite3.connect(newer) as db:
        db.execute("pragma user_version = 2")
    assert "has format 2" in refused(newer)


def test_without_dask_the_error_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(["sweep", "run", "avc-7.0"]) == 2
    assert "pip install 'rmapcheck[cluster]'" in capsys.readouterr().err
