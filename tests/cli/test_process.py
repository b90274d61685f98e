"""The command line as a process: interrupted, without a terminal, with output nobody takes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmapcheck.search.auto import Auto
from rmapcheck.verdict import Exit
from tests.processes import RMAPCHECK, started

CASE = next(Path(__file__).parents[2].glob("counterexamples/B29-*.json"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def shell(*args, **env):
    return subprocess.run(
        [*RMAPCHECK, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | env,
    )


def interrupted(*args, after=0.0, children=0):
    """Interrupt a command once it has had its CPU seconds, however busy the machine is."""
    with started([*RMAPCHECK, *args], stdout=-1, stderr=-1, text=True) as process:
        while process.poll() is None and not (
            cpu_seconds(process.pid) >= after and children_of(process.pid) >= children
        ):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, out + err
    assert "Traceback" not in err
    return err


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def children_of(pid):
    of_each_thread = Path(f"/proc/{pid}/task").glob("*/children")
    return sum(len(path.read_text().split()) for path in of_each_thread)


def test_interrupted_search():
    err = interrupted("explore", "avc-7.0", "--mms", "3", after=4)
    assert "interrupted: " in err
    assert "states" in err
    assert "nothing violated so far" in err


def test_interrupted_before_the_search_began(rmapcheck, monkeypatch):
    def interrupt(*_args, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr(Auto, "answer", interrupt)
    code, _out, err = rmapcheck("explore", "avc-7.0")
    assert code == Exit.INTERRUPTED
    assert err == "rmapcheck: interrupted before the search began.\n"
    _code, _out, err = rmapcheck("explore", "avc-7.0", "--checkpoint", "saved")
    assert err == ("rmapcheck: interrupted before the search began; no checkpoint was written.\n")


def test_interrupted_when_a_checkpoint_is_all_there_is(rmapcheck, monkeypatch):
    def interrupt(self, *_args):
        self.native.checkpoints.path.write_bytes(b"saved")
        raise KeyboardInterrupt

    monkeypatch.setattr(Auto, "answer", interrupt)
    _code, _out, err = rmapcheck("explore", "avc-7.0", "--checkpoint", "saved")
    assert err == (
        "rmapcheck: interrupted: nothing violated so far; continue with --resume saved.\n"
    )


def test_interrupted_verification():
    err = interrupted("verify", "avc-7.0", after=4)
    assert "interrupted: goals SAMPLED" in err


def test_interrupted_jobs():
    started = time.monotonic()
    err = interrupted("verify", "avc-7.0", "avc-6.16", "B23", "--jobs", "2", children=2)
    assert "interrupted: 0 of 3 schemes were done" in err
    assert time.monotonic() - started < 40  # and not three times a budget of 60


def test_a_closed_pipe():
    for command in ("invariants", "invariants --json", "--help"):
        with writing_to(None, *command.split()) as process:
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == Exit.BROKEN_PIPE


def writing_to(file, *args):
    return subprocess.Popen([*RMAPCHECK, *args], stdout=file or -1, stderr=-1, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["invariants", "invariants --json", "--help"])
def test_output_that_cannot_be_written(command):
    with Path("/dev/full").open("w") as full, writing_to(full, *command.split()) as process:
        text = process.stderr.read()
    assert process.returncode == Exit.USAGE
    assert text == "rmapcheck: the output cannot be written (No space left on device).\n"


def test_a_terminal_that_knows_ascii_only():
    done = shell("demo", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == Exit.EXPECTED, done.stderr
    assert done.stdout.isascii()
    done = shell("show", CASE, "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert json.loads(done.stdout)["steps"]


@pytest.mark.parametrize("after", [0.12, 0.25, 0.4])
def test_interrupted_while_it_starts(after):
    # Python itself starts up before that, which nobody can interrupt in silence.
    program = f"""
import os, signal, threading
def later():
    import time
    time.sleep({after})
    os.kill(os.getpid(), signal.SIGINT)
from rmapcheck.cli import main
threading.Thread(target=later, daemon=True).start()
main(["explore", "avc-7.0", "--mms", "3"])
"""
    with started([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True) as process:
        _out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    assert "Traceback" not in err


def test_no_colour_and_no_progress_off_a_terminal():
    done = shell("explore", "B28")
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_output_does_not_depend_on_the_hash_seed():
    one, two = (shell("demo", PYTHONHASHSEED=seed).stdout for seed in ("1", "2"))
    assert one == two
    assert "as expected" in one


@pytest.mark.parametrize("command", [("bugs",), ("show", CASE), ("--help",)])
def test_a_pipe_is_as_wide_as_columns_says(command):
    def widest(**env):
        return max(map(len, shell(*command, **env).stdout.splitlines()))

    assert widest(COLUMNS="60") <= 60 < widest(COLUMNS="110") <= 110
    assert 60 < widest(COLUMNS="") <= 80
    assert widest(COLUMNS="many") == widest(COLUMNS="")


# Commands.
