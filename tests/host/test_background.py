"""A library is compiled while the caller goes on; a compiler that is not needed any more ends."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rmapcheck.host import compile as build
from rmapcheck.host.background import Building
from rmapcheck.host.cache import BuildError

SOURCE = "int answer(void) { return 42; }\n"
SLOW = """\
#!/bin/sh
[ "$1" = --version ] && exit
echo $$ >> {pids}
sleep 60 &
echo $! >> {pids}
wait
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rmapcheck"


@pytest.fixture
def gcc(tmp_path, monkeypatch):
    """Return a function that replaces the compiler by a script."""

    def replace(script):
        path = tmp_path / "bin" / "gcc"
        path.parent.mkdir()
        path.write_text(script)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)

    return replace


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(pid):
    """Tell whether a process exists that has not ended; init may not have reaped it yet."""
    with suppress(FileNotFoundError):
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")
def test_it_is_built_once_and_ready_then(cache):
    with Building(SOURCE) as building:
        assert not building.ready()
        building.start()
        wait_for(building.ready)
        assert building.path() == build.library_path(SOURCE) == cache / building.path().name
    with Building(SOURCE) as again:
        assert again.path() == building.path()


def test_nothing_is_compiled_that_was_not_started(gcc, tmp_path):
    gcc(SLOW.format(pids=tmp_path / "pids"))
    with Building(SOURCE):
        pass
    assert not (tmp_path / "pids").exists()


def test_at_the_end_of_the_block_the_compiler_and_its_programs_are_gone(gcc, cache, tmp_path):
    pids = tmp_path / "pids"
    gcc(SLOW.format(pids=pids))
    with Building(SOURCE) as building:
        building.start()
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        assert not building.ready()
    assert not any(runs(pid) for pid in pids.read_text().split())
    assert not any(path.is_dir() for path in cache.iterdir()), "its temporary folder is removed"
    with pytest.raises(BuildError, match="it was stopped"):
        building.path()


def test_a_compiler_that_takes_too_long_is_stopped(gcc, tmp_path, monkeypatch):
    gcc(SLOW.format(pids=tmp_path / "pids"))
    monkeypatch.setattr(build, "COMPILE_SECONDS", 0.2)
    with Building(SOURCE) as building, pytest.raises(BuildError, match="did not finish"):
        building.path()


def test_the_error_of_a_compiler_is_that_of_the_library(gcc):
    gcc("#!/bin/sh\necho 'model.c:1: error: sorry' >&2\nexit 1\n")
    with Building(SOURCE) as building:
        building.start()
        wait_for(building.ready)
        with pytest.raises(BuildError, match=r"failed: model\.c:1: error: sorry"):
            building.path()


def test_many_messages_do_not_block_a_compiler(gcc):
    gcc("#!/bin/sh\nseq 1 100000 >&2\nseq 1 100000\nexit 1\n")
    with Building(SOURCE) as building, pytest.raises(BuildError, match=r"failed: 1$"):
        building.path()
