"""The command line: typer makes the commands, rich the tables; `main` is the entry point."""

import sys

from rmapcheck.cli import cases, demo, doctor, engines, lists, scaffold
from rmapcheck.cli.common import Out, app
from rmapcheck.verdict import Exit

__all__ = ["app", "cases", "demo", "doctor", "engines", "lists", "main", "scaffold"]

ORDER = (
    *("demo", "verify", "explore", "fuzz", "replay", "minimize", "diff", "show", "export"),
    *("schemes", "bugs", "invariants", "new", "doctor"),
)
app.registered_commands.sort(key=lambda command: ORDER.index(str(command.name)))


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with a code of `rmapcheck.verdict.Exit`."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = app(args=args, prog_name="rmapcheck", standalone_mode=False)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _wrong_use(error, args)
    return int(code or 0)


def _wrong_use(error: Exception, args: list[str]) -> int:
    """Say what typer (with a click of its own, or click's) found wrong with the arguments."""
    sentence = str(error.format_message())  # type: ignore[attr-defined]
    if sentence and args:
        if not sentence.endswith("?"):
            sentence = f"{sentence.rstrip('.')}; see `rmapcheck --help`"
        Out(as_json="--json" in args).error(sentence[0].lower() + sentence[1:], Exit.USAGE)
    return Exit.USAGE
