"""Libraries that searches compile: once for all workers of a run, and quickly by day."""

import fcntl
import os
import shlex
import shutil

import pytest
from hypothesis import settings

from rmapcheck.host import compile as build

AT_NIGHT = ("nightly", "soak")
AS_USERS = {"PATH": os.environ["PATH"]}
"""Variables for a command that is to compile as users do."""
QUICKLY = """\
#!/bin/sh
# gcc, four times quicker: what is asked for with -O2 is not optimized.
for word do
    shift
    [ "$word" = -O2 ] && word=-O0
    set -- "$@" "$word"
done
exec {gcc} "$@"
"""


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory):
    """Let all workers share the compiled libraries of this run, which begins without any.

    By day nothing is optimized, in commands that tests start neither, and a search is interpreted
    for fewer states before it is compiled: most searches here are small. At night all is as users
    have it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        patch.delenv("RMAPCHECK_ENGINE", raising=False)
        patch.setattr(build, "_compile", _one_at_a_time(build._compile))
        patch.setattr(build, "KEPT", 10_000)
        if settings.get_current_profile_name() not in AT_NIGHT:
            patch.setenv("PATH", str(_quick_gcc(shared)), prepend=os.pathsep)
            patch.setattr("rmapcheck.search.auto.HEAD_START", 250)
        yield


def _quick_gcc(shared):
    """Return a folder with a gcc that does not optimize, if there is a gcc.

    It is one for all workers, since its path is in the key of each library.
    """
    folder, gcc = shared / "bin", shutil.which("gcc")
    folder.mkdir(exist_ok=True)
    if gcc:
        made = folder / f"gcc.{os.getpid()}"
        made.write_text(QUICKLY.format(gcc=shlex.quote(gcc)))
        made.chmod(0o755)
        made.replace(folder / "gcc")
    return folder


def _one_at_a_time(compile_):
    """Return a compiler that waits while another worker compiles the same library."""

    def locked(source, target, *more):
        with target.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                compile_(source, target, *more)

    return locked


@pytest.fixture
def optimized(monkeypatch):
    """Optimize, for the searches that last longer than the compiler; by day half as much."""
    if settings.get_current_profile_name() not in AT_NIGHT:
        flags = tuple("-O1" if flag == "-O2" else flag for flag in build.FLAGS)
        monkeypatch.setattr(build, "FLAGS", flags)
