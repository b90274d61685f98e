"""Compiles C source to a shared library, keeps it in a cache, and loads it."""

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from rmapcheck.host.cache import (
    BuildError,
    cache_folder,
    check_room,
    folders,
    is_whole,
    reason,
    seal,
    unusable,
)

__all__ = ["BuildError", "build", "cache_folder", "compiler", "library_path", "load"]

COMPILERS = ("gcc", "clang", "cc")
FLAGS = ("-std=gnu11", "-O2", "-w", "-fPIC", "-shared", "-pthread")
GCC_FLAGS = ("--param=max-inline-insns-auto=100",)
"""The model has many small functions. gcc inlines too few of them: its limit at -O2 is 15."""
KEPT = 300
"""How many libraries stay in the cache; those not used for longest are removed first."""
COMPILE_SECONDS = 120
"""Time limit for the compiler."""
STOPS_WITHIN = 0.05
"""Seconds after which a compiler that is to stop has stopped."""


def compiler() -> str | None:
    """Return the path of the C compiler that is used, or None if there is none."""
    for name in COMPILERS:
        path = shutil.which(name)
        if path:
            return path
    return None


def _flags(path: str) -> tuple[str, ...]:
    """Return the options for the compiler at `path`. They are also part of a library's key."""
    return (*FLAGS, *GCC_FLAGS) if Path(path).name == "gcc" else FLAGS


@cache
def _version(path: str) -> str:
    run = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return run.stdout


def library_path(source: str, defines: tuple[str, ...] = ()) -> Path:
    """Return the path of the library of `source`, built or not.

    Raise BuildError if there is no compiler, or nowhere to keep a library.
    """
    return cache_folder() / _name(source, defines)


def _name(source: str, defines: tuple[str, ...]) -> str:
    """Return the file name of a library: a digest of all that it is made of."""
    path = compiler()
    if path is None:
        raise BuildError(f"there is no C compiler ({', '.join(COMPILERS)}): install gcc or clang")
    text = "\0".join((source, path, _version(path), *_flags(path), *defines))
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{key}.so"


def _first_error(text: str) -> str:
    """Return the first error among what a compiler printed, on one line."""
    lines = [line for line in text.splitlines() if "error" in line]
    return (lines or [*text.split("\n")])[0].strip()[-300:]


def build(source: str, defines: tuple[str, ...] = (), stop: threading.Event | None = None) -> Path:
    """Return the path of the library of `source`; compile it unless it is in the cache.

    A damaged library is compiled again. If one folder of the cache cannot be written to, the next
    is used. `defines` are macros for the compiler, as in ``-D``. `stop` ends the compiler. Raise
    BuildError if the compiler fails, CacheError if no folder can be used.
    """
    name = _name(source, defines)
    reasons: list[str] = []
    for folder in folders(reasons):
        target = folder / name
        try:
            if not is_whole(target):
                target.unlink(missing_ok=True)
                _compile(source, target, defines, stop or threading.Event())
                _prune(folder)
            os.utime(target)
        except OSError as error:
            reasons.append(reason(folder, error))
        else:
            return target
    raise unusable(reasons)


def _compile(source: str, target: Path, defines: tuple[str, ...], stop: threading.Event) -> None:
    """Compile to a temporary file, then rename it, so that no one loads an incomplete file.

    Raise OSError if there is no room for the library.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        code = Path(folder) / "model.c"
        made = Path(folder) / "model.so"
        code.write_text(source, encoding="utf-8")
        macros = [f"-D{d}" for d in defines]
        path = str(compiler())
        command = [path, *_flags(path), *macros, "-o", str(made), str(code)]
        try:
            failed, errors = _run(command, folder, stop)
        except OSError as error:
            raise BuildError(f"the C compiler did not finish: {error}") from None
        if failed:
            check_room(Path(folder))
            raise BuildError(f"the C compiler failed: {_first_error(errors)}")
        seal(made)
        made.replace(target)


def _run(command: list[str], folder: str, stop: threading.Event) -> tuple[int, str]:
    """Return the exit code of the compiler and its messages.

    It gets a process group of its own, so that the programs that it starts end with it. Raise
    BuildError after COMPILE_SECONDS, or if it is to stop.
    """
    end = time.monotonic() + COMPILE_SECONDS
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": folder},
        process_group=0,
    ) as process:
        try:
            while not stop.is_set() and time.monotonic() < end:
                with suppress(subprocess.TimeoutExpired):
                    errors = process.communicate(timeout=STOPS_WITHIN)[1]
                    return process.returncode, errors
        finally:
            if process.poll() is None:
                _kill(process)
    raise BuildError("the C compiler did not finish: it was stopped")


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the compiler and its programs, and wait until they are gone.

    Otherwise a supervisor that looks for what a plug-in has left may find one of them.
    """
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(100):
        if not any(_members(process.pid)):
            break
        time.sleep(0.005)


def _members(group: int) -> Iterator[int]:
    """Yield the processes of a group, without those that have ended."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
            if int(its) == group and state not in "ZX":
                yield int(path.parent.name)


def _prune(folder: Path) -> None:
    """Remove the libraries not used for longest; other processes may do the same meanwhile."""
    ages = []
    for path in folder.glob("*.so"):
        with suppress(FileNotFoundError):
            ages.append((path.stat().st_mtime, path))
    for _, old in sorted(ages, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)


def load(path: Path) -> ctypes.CDLL:
    """Load a built library. Raise BuildError if that cannot be done."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:  # such as a disk from which nothing may be run
        raise BuildError(f"the library cannot be loaded: {error}") from None
    pointer, number, text = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p
    for name, result, arguments in (
        ("search_new", pointer, [text, pointer, number, ctypes.c_int, ctypes.c_int]),
        ("search_free", None, [pointer]),
        ("search_report", pointer, [pointer]),
        ("search_from", number, [pointer, number]),
        ("search_print", number, [pointer, number]),
        ("search_print_of", number, [text, ctypes.c_int]),
        ("search_pack", number, [pointer, number, pointer, number, pointer]),
        ("search_unpack", ctypes.c_int, [pointer, text, number]),
        ("search_sound", ctypes.c_int, [pointer]),
        ("search_key", pointer, [pointer, number, pointer]),
        ("search_start", ctypes.c_int, [pointer, text, ctypes.c_int]),
        ("search_run", ctypes.c_int, [pointer, number, number, ctypes.c_double]),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
