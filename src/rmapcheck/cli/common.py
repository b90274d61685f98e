"""What all commands share: options, output, and exit codes."""

import errno
import functools
import inspect
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import attrs
import typer
from rich.console import Console, RenderableType
from rich.status import Status as Spinner

from rmapcheck.cases.case import version
from rmapcheck.cli.printable import PrintableConsole, printable, printable_json
from rmapcheck.model.machine.errors import ModelError, ScopeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.search.question import Figures
from rmapcheck.verdict import Exit

WIDTH = 80
"""Columns of the output if it does not go to a terminal and COLUMNS is not set."""
NARROWEST = 20
"""Columns that are used if COLUMNS is less."""

app = typer.Typer(
    name="rmapcheck",
    help="Check whether the invariants of a reverse-mapping scheme hold, and in which scope.",
    epilog="Exit codes: 0 as expected, 1 not as expected, 2 wrong use, 3 inconclusive, "
    "70 a fault of rmapcheck itself, 130 interrupted, 141 broken pipe.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": WIDTH},
)

kernel_app = typer.Typer(
    name="kernel",
    help="Compare the model with real kernels; without a command, with the running one.",
    rich_markup_mode=None,
)
app.add_typer(kernel_app)


class _Console(PrintableConsole):
    """A console that lets `commands.call` handle a broken pipe."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError; rich itself would exit with code 1."""
        raise BrokenPipeError(errno.EPIPE, "the reader of the output has gone")


class Out:
    """The output of a command: results go to standard output, the rest to standard error."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.covered: Callable[[], str] = lambda: ""
        """Called after an interruption: returns what was done before it."""
        plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
        self.stdout = _Console(width=_width(sys.stdout), **plain)
        self.stderr = _Console(stderr=True, width=_width(sys.stderr), **plain)

    def show(self, what: RenderableType, *, style: str | None = None) -> None:
        """Print `what`, unless --json or --quiet is given."""
        if self.as_json or self.quiet:
            return
        if self.stdout.is_terminal or isinstance(what, str):
            self.stdout.print(what, style=style, soft_wrap=isinstance(what, str))
            return
        with self.stdout.capture() as captured:
            self.stdout.print(what, style=style)
        for line in captured.get().splitlines():
            sys.stdout.write(f"{line.rstrip()}\n")

    def verdict(self, text: str, *, good: bool | None = None) -> None:
        """Print a line of the verdict, which --quiet prints, too. `good` gives its colour."""
        if not self.as_json:
            style = {True: "bold green", False: "bold red", None: "bold yellow"}[good]
            self.stdout.print(text, style=style, soft_wrap=True)

    def text(self, text: str) -> None:
        """Print text that is the result itself, such as an export; not with --json."""
        if not self.as_json:
            sys.stdout.write(printable(text))

    def data(self, value: Any) -> None:  # noqa: ANN401 - JSON may be anything
        """Print the result as JSON, if --json is given."""
        if self.as_json:
            ascii_only = "utf" not in (sys.stdout.encoding or "utf").lower()
            text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=ascii_only)
            sys.stdout.write(printable_json(text))
            sys.stdout.write("\n")

    def error(self, sentence: str, code: Exit) -> Exit:
        """Print an error, also as JSON if --json is given, and return the exit code."""
        self.data({"error": self.complain(sentence), "exit": int(code)})
        return code

    def complain(self, sentence: str) -> str:
        """Print a sentence on standard error; return it as it was printed, on one line."""
        sentence = " ".join(sentence.split()).rstrip(".")
        sentence += "" if sentence.endswith("?") else "."
        self.stderr.print(f"rmapcheck: {sentence}", soft_wrap=True)
        return sentence

    def progress(self) -> "Progress":
        """Return a reporter for a search; it prints only on a terminal."""
        live = self.stderr.is_terminal and not self.quiet and not self.as_json
        return Progress(self.stderr if live else None)


def _width(stream: Any) -> int | None:  # noqa: ANN401 - whatever sys.stdout is
    """Return the columns of a stream; None for a terminal, whose width rich finds out."""
    if stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    return max(int(columns), NARROWEST) if columns.isdecimal() else WIDTH


class Progress:
    """Shows the progress of a search on a terminal, and keeps it in case of an interruption."""

    def __init__(self, console: Console | None) -> None:
        self.console = console
        self.latest: Figures | None = None
        self.spinner: Spinner | None = None
        self.next = 0.0
        self.what = ""

    def progress(self, figures: Figures) -> None:
        """Note the progress; the search calls this every few hundred states."""
        self.latest = figures
        if self.console is not None and time.monotonic() > self.next:
            self.next = time.monotonic() + 0.2
            self.say(f"{self.what} {self.figures()}")

    def say(self, text: str) -> None:
        """Replace the line on the terminal."""
        if self.console is None:
            return
        if self.spinner is None:
            self.spinner = self.console.status("")
            self.spinner.start()
        self.spinner.update(text)

    def begin(self, what: str) -> None:
        """Start to report on another search, described by `what`."""
        self.what = what
        self.latest = None
        self.say(what)

    def end(self) -> None:
        """Clear the line."""
        if self.spinner is not None:
            self.spinner.stop()
            self.spinner = None

    def figures(self) -> str:
        """Return the progress of the search as text; "" before it has begun."""
        return "" if self.latest is None else str(self.latest)


# Options.


def scheme_names(incomplete: str) -> list[str]:
    """Return the schemes and bugs that a shell may complete `incomplete` to."""
    from rmapcheck.plugins import catalogue

    names = [*catalogue.every_scheme(), *catalogue.bugs()]
    return [name for name in names if name.startswith(incomplete)]


def _option(name: str, kind: Any, default: Any, *flags: str, text: str) -> inspect.Parameter:  # noqa: ANN401
    note = Annotated[kind, typer.Option(*flags, help=text, show_default=default is not None)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=note
    )


COMMON = (
    _option("as_json", bool, False, "--json", text="Print the result as JSON."),
    _option("quiet", bool, False, "--quiet", "-q", text="Print only the verdict."),
    _option("debug", bool, False, "--debug", text="Show the traceback of a crash."),
)

_NUMBERS = {
    "mms": "Processes.",
    "pages": "Pages of each address space.",
    "vmas": "VMAs of all processes together.",
    "folios": "Page frames.",
    "swaps": "Swap slots.",
    "objects": "Rmap objects of each kind.",
    "anon_vmas": "anon_vmas; 0: as many as other rmap objects.",
    "protections": "How many of RW, R, NONE, RWX mmap and mprotect use.",
    "premapped": "Pages that process 1 has mapped at boot.",
    "rss_limit": "RLIMIT_RSS of every process, in pages; 0: none.",
    "files": "Files that can be mapped; 0: none.",
    "file_pages": "Pages of each file.",
}
_SWITCHES = {
    "alloc_fail": "Let each allocation fail once.",
    "young": "Model the accessed bit.",
    "recycle": "Reuse freed rmap objects, even while old pointers to them remain.",
}

SCOPE = (
    *(
        _option(n, int | None, None, f"--{n}".replace("_", "-"), text=t)
        for n, t in _NUMBERS.items()
    ),
    *(
        _option(n, bool | None, None, f"--{n}/--no-{n}".replace("_", "-"), text=t)
        for n, t in _SWITCHES.items()
    ),
    _option(
        "ops",
        str | None,
        None,
        "--ops",
        text="Operation groups, or parts of them, such as mmap,write.",
    ),
)


@attrs.frozen
class Choice:
    """The scope options that were given."""

    given: dict[str, Any]

    def over(self, base: Scope) -> Scope:
        """Return `base` with the given options. Raise ScopeError if that is not a valid scope."""
        return attrs.evolve(base, **self.given) if self.given else base


def _choice(options: dict[str, Any]) -> Choice:
    given = {name: value for name, value in options.items() if value is not None}
    if "ops" in given:
        given["ops"] = tuple(name.strip() for name in given["ops"].split(",") if name.strip())
        if not given["ops"]:
            raise ScopeError("--ops is empty; name operation groups, such as mmap,fault,fork")
    return Choice(given)


def command(
    *,
    scope: bool = False,
    name: str | None = None,
    group: typer.Typer = app,
    bare: bool = False,
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that makes a function a command with the common options.

    The function gets `out` and its own options, and returns the exit code.

    `scope`: also add the scope options; the function gets them as `scope`, a Choice.
    `name`: name of the command; by default, typer's.
    `group`: the typer app that the command belongs to.
    `bare`: run the function if the group is called without a command.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        extra = (*COMMON, *SCOPE) if scope else COMMON
        own = inspect.signature(function).parameters.values()
        kept = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for p in own
            if p.name not in ("out", "scope")
        ]
        context = inspect.Parameter(
            "ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )

        @functools.wraps(function)
        def run(**named: Any) -> None:  # noqa: ANN401
            if bare and named.pop("ctx").invoked_subcommand is not None:
                return
            taken = {p.name: named.pop(p.name) for p in extra}
            out = Out(as_json=taken["as_json"], quiet=taken["quiet"])
            options = {p.name: taken[p.name] for p in SCOPE} if scope else None
            raise typer.Exit(int(_guarded(function, out, options, named, debug=taken["debug"])))

        shown = [*([context] if bare else []), *kept, *extra]
        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in shown}
        (group.callback(invoke_without_command=True) if bare else group.command(name))(run)
        return function

    return register


UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of writing to standard output; `commands.call` reports them."""


def _check_limits(named: dict[str, Any]) -> None:
    """Raise ModelError for a limit that is not a finite number greater than 0."""
    for name, value in named.items():
        if value is None or not (
            name in ("budget", "checkpoint_every") or name.startswith("max_")
        ):
            continue
        if not math.isfinite(value) or value <= 0:
            option = f"--{name.replace('_', '-')}"
            raise ModelError(f"{option} must be finite and more than 0, not {value:g}")


def _guarded(
    function: Callable[..., int],
    out: Out,
    options: dict[str, Any] | None,
    named: dict[str, Any],
    *,
    debug: bool,
) -> int:
    try:
        if options is not None:
            named["scope"] = _choice(options)
        _check_limits(named)
        code = function(out=out, **named)
        sys.stdout.flush()
        return code
    except ModelError as error:
        return out.error(str(error), Exit.USAGE)
    except KeyboardInterrupt:
        return out.error(_cut_short("interrupted", out.covered()), Exit.INTERRUPTED)
    except MemoryError:
        return out.error(_cut_short("no memory is left", out.covered()), Exit.INCONCLUSIVE)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
            raise
        if debug:
            traceback.print_exc()
        return out.error(_crash(error), Exit.CRASH)


def _cut_short(what: str, covered: str) -> str:
    """Return one sentence with the reason why a command ended early and what it had done."""
    between = "" if not covered else " " if covered.startswith("before ") else ": "
    return f"{what}{between}{covered}"


def _crash(error: Exception) -> str:
    return (
        f"this is a fault of rmapcheck {version()} itself ({type(error).__name__}: {error}); "
        "please report it, with the command that you typed and its output with --debug"
    )
