"""The command line. typer makes the commands, rich the tables; `main` is the entry point.

Importing the commands takes time. So they are imported inside `run`, which handles Ctrl-C.
"""

import sys
from typing import Any

from rmapcheck.cli.supervise import may_load_code, supervised

__all__ = ["main", "run"]

INTERRUPTED = 130
"""`rmapcheck.verdict.Exit.INTERRUPTED`, which is not imported yet."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with a code of `rmapcheck.verdict.Exit`."""
    words = sys.argv[1:] if args is None else args
    try:
        code = supervised(words, run) if may_load_code(words) else run(words)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # for terminals that can show only ASCII
        from rmapcheck.cli.commands import call

        return call(args)
    except KeyboardInterrupt:
        return INTERRUPTED


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute may be anything
    """Return the attribute `app`, typer's description of the commands, imported on first use."""
    if name == "app":
        from rmapcheck.cli import commands

        return commands.app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
