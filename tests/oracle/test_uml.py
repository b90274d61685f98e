"""The oracle in user-mode Linux, which is another kernel than the running one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.host.boot import Log
from rmapcheck.host.errors import Unavailable
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.oracle import uml
from rmapcheck.oracle.uml import INIT, compare_in_uml


def compare(kernel, tmp_path, seconds=20):
    return compare_in_uml(Path(kernel), [], seconds=seconds, memory=128, save=tmp_path / "kept")


@pytest.mark.skipif(not shutil.which("setarch"), reason="needs setarch")
def test_no_kernel_or_one_that_ends_early_gets_one_sentence(tmp_path):
    with pytest.raises(ModelError, match="is not a kernel"):
        compare(__file__, tmp_path)
    with pytest.raises(Unavailable, match="true ended too soon: "):
        compare(shutil.which("true"), tmp_path)


def answering(code, said, errors=""):
    """Return a stand-in for `run_session` whose kernel writes these files."""

    def run_session(_command, folder, _seconds):
        out = folder / "out"
        assert f"-o '{out}'" in (folder / "init").read_text()
        (out / "code").write_text(f"{code}\n")
        (out / "said").write_text(said)
        (out / "errors").write_text(errors)
        (out / "cases").mkdir()
        (out / "cases" / "a.json").write_text("{}")
        return Log(text="", seconds=1.0)

    return run_session


def test_output_code_and_cases_of_user_mode_linux_are_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(uml, "run_session", answering(1, "a difference"))
    monkeypatch.setattr(uml, "kind_of", lambda _: "uml")
    done = compare("kernel", tmp_path)
    assert (done.code, done.text) == (1, "a difference")
    assert done.cases == (tmp_path / "kept" / "a.json",)
    monkeypatch.setattr(uml, "run_session", answering(126, "", "python: Permission denied"))
    with pytest.raises(Unavailable, match="could not be run in kernel: python: Permission"):
        compare("kernel", tmp_path)
    monkeypatch.setattr(uml, "kind_of", lambda _: "qemu")
    with pytest.raises(ModelError, match="is not user-mode Linux"):
        compare("kernel", tmp_path)


def test_a_panic_is_reported_as_the_reason(tmp_path, monkeypatch):
    text = "one\nKernel panic - not syncing: VFS: Unable to mount root fs\n[<0>] ? start+0x1\n"
    monkeypatch.setattr(uml, "run_session", lambda *_: Log(text=text, seconds=1.0))
    monkeypatch.setattr(uml, "kind_of", lambda _: "uml")
    with pytest.raises(Unavailable, match="ended too soon: Kernel panic - not syncing: VFS"):
        compare("kernel", tmp_path)


def test_the_host_can_be_written_to_in_one_folder_only():
    assert INIT.count("mount -t hostfs") == 1
    assert "/out' out /run/out" in INIT


def kernel():
    found = os.environ.get("RMAPCHECK_UML") or shutil.which("linux.uml")
    if not found or not shutil.which("setarch"):
        pytest.skip("RMAPCHECK_UML names no user-mode Linux, and there is no linux.uml")
    return found


def rmapcheck(*words):
    command = [sys.executable, "-c", "from rmapcheck.cli import main; main()", "kernel", "inside"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, check=False, timeout=600
    )


@pytest.mark.nightly
def test_another_kernel_does_as_the_model_of_its_version():
    done = rmapcheck(kernel(), "--operations", "5000", "--json")
    if done.returncode == 3:
        pytest.skip(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    assert said["operations"] >= 5_000
    assert {"L0", "files"} <= set(said["tiers"])
    assert said["kernel"] != os.uname().release


@pytest.mark.nightly
def test_a_model_of_a_later_kernel_does_not_predict_it(tmp_path):
    done = rmapcheck(kernel(), "--scheme", "B29", "--save", str(tmp_path))
    if done.returncode == 3:
        pytest.skip(done.stdout + done.stderr)
    assert done.returncode == 1, done.stdout
    assert "DIFFERENCE in step" in done.stdout
    [path] = tmp_path.glob("*.json")
    assert load_case(path).found.engine == "kernel"
