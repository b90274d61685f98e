"""What is installed: one import name, from the sdist through the wheel, beside a user's files."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = (".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
SCHEME = """\
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish


class Mine(AvcPublish):
    name = "mine"
    i_mmap = IMmapPrioTree()
"""


def backend(call, folder):
    """Call setuptools' own backend, as pip does, without a network."""
    code = f"import setuptools.build_meta as b; print(b.{call})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.split()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the sdist of this checkout, and a wheel built from what the sdist holds."""
    pytest.importorskip("setuptools", "77")
    place = tmp_path_factory.mktemp("built")
    checkout = place / "checkout"
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    sdist = place / backend(f"build_sdist({str(place)!r})", checkout)
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    unpacked = place / sdist.name.removesuffix(".tar.gz")
    return sdist, place / backend(f"build_wheel({str(place)!r})", unpacked)


def test_the_only_import_name_is_rmapcheck(built):
    sdist, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rmapcheck"}
    with tarfile.open(sdist) as archive:
        code = [name.split("/")[1:] for name in archive.getnames() if name.endswith(".py")]
    assert {parts[1] for parts in code if parts[0] == "src"} == {"rmapcheck"}
    assert {parts[0] for parts in code} <= {"src", "tests"}


def test_the_wheel_holds_all_that_the_checkout_has(built):
    with zipfile.ZipFile(built[1]) as archive:
        there = set(archive.namelist())
    for room in ("model", "invariants", "src/rmapcheck", "counterexamples"):
        for path in (ROOT / room).rglob("*"):
            if path.suffix in (".py", ".c", ".json", ".typed") and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT).as_posix().removeprefix("src/rmapcheck/")
                assert f"rmapcheck/{name}" in there, name


@pytest.fixture
def installed(built, tmp_path):
    """Return the folder into which the wheel is unpacked, and an environment that takes it."""
    site = tmp_path / "site"
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(site)
    return site, {**os.environ, "PYTHONPATH": str(site)}


@pytest.fixture
def crowded(tmp_path):
    """Return a user's folder whose files have the names of ours."""
    folder = tmp_path / "theirs"
    (folder / "tests").mkdir(parents=True)
    for name in ("model.py", "invariants.py", "tests/__init__.py"):
        (folder / name).write_text("raise RuntimeError('this is not the one')\n")
    return folder


def run(command, folder, environment):
    command = [sys.executable, *command]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_case_runs_under_pytest_beside_a_users_model_py(installed, crowded):
    site, environment = installed
    shutil.copytree(ROOT / "counterexamples", crowded / "counterexamples")
    case = next((crowded / "counterexamples").glob("B01-*.json"))
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(case)]
    done = run(words, crowded, environment)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr
    where = run(["-c", "import rmapcheck; print(rmapcheck.__file__)"], crowded, environment)
    assert Path(where.stdout.strip()).is_relative_to(site)


def test_the_demo_runs_from_the_wheel(installed, crowded):
    _, environment = installed
    done = run(["-c", "from rmapcheck.cli import main; main()", "demo"], crowded, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VIOLATED(coverage" in done.stdout


def test_a_users_scheme_type_checks(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "mine.py").write_text(SCHEME)
    done = run(["-m", "mypy", "--strict", "--no-incremental", "mine.py"], tmp_path, os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
