"""Compiles a C file to a program, with the compiler and the cache folder of the search in C."""

import hashlib
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

from rmapcheck.host.cache import BuildError, cache_folder, is_whole, seal
from rmapcheck.host.compile import compiler
from rmapcheck.host.errors import Unavailable

FLAGS = ("-std=gnu11", "-O1", "-Wall", "-static", "-no-pie")
"""Static, so that the program needs no libraries where it runs. Not position-independent, so that
it is loaded above the arena."""
COMPILE_SECONDS = 120
"""Time limit for the compiler."""


def source_of(name: str) -> str:
    """Return the text of a C file of this package."""
    return (files("rmapcheck.oracle.puppets") / name).read_text(encoding="utf-8")


def build_program(source: str, stem: str, flags: tuple[str, ...] = FLAGS) -> Path:
    """Return the path of the program for this C source; compile it unless it is in the cache.

    Raise Unavailable if there is no compiler, or if it fails (for example without a static C
    library).
    """
    key = hashlib.sha256("\0".join((source, *flags)).encode()).hexdigest()[:32]
    try:
        target = cache_folder() / f"{stem}-{key}"
        if not is_whole(target):
            path = compiler()
            if path is None:
                raise Unavailable("there is no C compiler; install gcc")
            _compile(path, source, target, flags)
    except (BuildError, OSError) as error:
        raise Unavailable(f"{stem} cannot be built: {error}") from None
    return target


def _compile(path: str, source: str, target: Path, flags: tuple[str, ...]) -> None:
    """Compile to a temporary file, then rename it, so that no one reads an incomplete file."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        code, made = Path(folder) / "program.c", Path(folder) / "program"
        code.write_text(source, encoding="utf-8")
        command = [path, *flags, "-o", str(made), str(code)]
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=COMPILE_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"the compiler did not finish in {COMPILE_SECONDS} seconds") from None
        if run.returncode:
            lines = [line for line in run.stderr.splitlines() if "error" in line or "ld:" in line]
            raise BuildError((lines or [run.stderr.strip()])[0][-300:])
        seal(made)
        made.replace(target)
