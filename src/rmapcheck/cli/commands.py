"""All commands, in the order of the help, and the exit code of a call."""

import os
import sys
from typing import Annotated

import typer

from rmapcheck.cases.case import version
from rmapcheck.cli import (
    cases,
    cost,
    demo,
    doctor,
    engines,
    explore,
    kernel,
    kernel_build,
    kernel_inside,
    kernel_run,
    lists,
    prove,
    scaffold,
    scopes,
    sweep,
)
from rmapcheck.cli.common import Out, app
from rmapcheck.verdict import Exit

__all__ = [
    "app",
    "call",
    "cases",
    "cost",
    "demo",
    "doctor",
    "engines",
    "explore",
    "kernel",
    "kernel_build",
    "kernel_inside",
    "kernel_run",
    "lists",
    "prove",
    "scaffold",
    "scopes",
    "sweep",
]

ORDER = (
    *(
        "demo",
        "verify",
        "explore",
        "scopes",
        "fuzz",
        "prove",
        "replay",
        "minimize",
        "diff",
        "show",
        "export",
    ),
    *("cost", "schemes", "bugs", "invariants", "new", "doctor"),
)
app.registered_commands.sort(key=lambda command: ORDER.index(str(command.name)))


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rmapcheck {version()}\n")
        raise typer.Exit(Exit.EXPECTED)


@app.callback()
def _whole(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Define the options that come before a command."""


def call(args: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = _typed(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return Exit.BROKEN_PIPE
    except OSError as error:
        if error.filename is not None:
            raise
        _drop_output()
        return _output_error(f"the output cannot be written ({error.strerror or error})")
    return code


def _typed(args: list[str]) -> int:
    try:
        code = app(args=args or ["--help"], prog_name="rmapcheck", standalone_mode=False)
    except SystemExit as end:  # typer's answer to a broken pipe
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _wrong_use(error, args)
    return int(code or 0) if args else Exit.USAGE


def _drop_output() -> None:
    """Drop buffered output, so that Python does not complain about it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_error(sentence: str) -> int:
    try:
        return Out().error(sentence, Exit.USAGE)
    except OSError:  # standard error cannot be written to, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        return Exit.USAGE


def _wrong_use(error: Exception, args: list[str]) -> int:
    """Print what typer found wrong with the arguments, and return the exit code."""
    sentence = str(error.format_message())  # type: ignore[attr-defined]
    if sentence:
        if not sentence.endswith("?"):
            sentence = f"{sentence.rstrip('.')}; see `rmapcheck --help`"
        Out(as_json="--json" in args).error(sentence[0].lower() + sentence[1:], Exit.USAGE)
    return Exit.USAGE
