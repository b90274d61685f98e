"""The cache: what is damaged is built again, and without room the search goes on elsewhere."""

import ctypes
import os
import resource
import subprocess
import sys
import tempfile

import pytest

from rmapcheck.cli import run
from rmapcheck.explore import explore
from rmapcheck.host import cache
from rmapcheck.host import compile as build
from rmapcheck.host.cache import CacheError, cache_folder, is_whole
from rmapcheck.host.compile import BuildError, compiler
from rmapcheck.model.machine.scope import Scope
from rmapcheck.oracle.puppets.build import build_program
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.verdict import Exit, Status

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")

SOURCE = "int answer(void) { return 42; }\n"
SMALL = Scope(mms=1, pages=2, folios=2, swaps=0, ops=("mmap", "munmap", "fault"))
DAMAGES = {
    "empty": lambda _data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "a page too short": lambda data: data[:-4096],
    "a changed bit": lambda data: data[:4096] + bytes([data[4096] ^ 1]) + data[4097:],
    "something else": lambda _data: b"not a library\n" * 1000,
    "of an earlier version": lambda data: data[: -cache.DIGEST - len(cache.MARK)],
}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Return the two folders of the cache: the user's own, and the one for temporary files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "own" / "rmapcheck", tmp_path / f"rmapcheck-{os.getuid()}"


def answer_of(path):
    """Load the library in a process of its own, which SIGBUS may end, and call it."""
    program = f"import ctypes; print(ctypes.CDLL({str(path)!r}).answer())"
    return subprocess.check_output([sys.executable, "-c", program], text=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_built_again(damage):
    path = build.build(SOURCE)
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    assert not is_whole(path)
    assert build.build(SOURCE) == path
    assert is_whole(path)
    assert answer_of(path) == "42\n"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_program_is_built_again(damage):
    source = "int main(void) { return 42; }\n"
    path = build_program(source, "program", ("-O0",))
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    path = build_program(source, "program", ("-O0",))
    assert subprocess.run([path], check=False).returncode == 42


def test_a_search_whose_library_is_damaged_gives_the_same_answer():
    first = explore(schemes()["avc-7.0"], SMALL, engine="native")
    (path,) = cache_folder().glob("*.so")
    half = path.read_bytes()[:100_000]
    path.unlink()  # this process has loaded that file, and must not see it change
    path.write_bytes(half)
    again = explore(schemes()["avc-7.0"], SMALL, engine="native")
    assert (again.verdict, again.distinct) == (first.verdict, first.distinct)


def test_a_folder_that_cannot_be_made_is_replaced_by_a_temporary_one(folders):
    own, other = folders
    own.parent.mkdir()
    own.write_text("a file")
    assert build.build(SOURCE).parent == other


def test_a_full_disk_is_named_and_the_search_goes_on(capsys, monkeypatch):
    monkeypatch.setattr("rmapcheck.search.auto.HEAD_START", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        code = run(["explore", "avc-7.0", "--mms", "1", "--pages", "1", "--quiet"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    captured = capsys.readouterr()
    assert code == Exit.EXPECTED
    assert captured.out.startswith("avc-7.0: HOLDS(")
    assert captured.err.startswith("rmapcheck: the search is interpreted: what is compiled can be")
    assert captured.err.count("(File too large)") == 2
    assert captured.err.endswith("another folder with the variable XDG_CACHE_HOME.\n")
    assert captured.err.count("\n") == 1


def test_a_compiler_without_room_is_not_what_is_wrong(monkeypatch, tmp_path):
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\necho 'collect2: error: ld returned 1 exit status' >&2\nexit 1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BuildError, match="ld returned 1"):
        build.build(SOURCE)
    monkeypatch.setattr(build, "check_room", _full)
    with pytest.raises(CacheError, match=r"cannot be written to \(No space left on device\)"):
        build.build(SOURCE)


def _full(_folder):
    raise OSError(28, os.strerror(28))


def test_no_folder_at_all(folders, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CacheError, match=r"cannot be written to; .* written to; make"):
        build.library_path(SOURCE)
    done = explore(schemes()["avc-7.0"], SMALL)
    assert done.verdict.status is Status.HOLDS
    assert done.notes[0].startswith("the search is interpreted: what is compiled can be kept")


def test_what_cannot_be_loaded_is_a_build_error(tmp_path):
    (tmp_path / "x.so").write_bytes(b"nothing")
    with pytest.raises(BuildError, match="the library cannot be loaded"):
        build.load(tmp_path / "x.so")


def test_the_digest_does_not_disturb_the_loader():
    assert ctypes.CDLL(str(build.build(SOURCE))).answer() == 42
