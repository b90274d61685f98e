"""Explains a run: what each step did, the last step's states, and why an invariant is violated."""

import errno
import io
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rmapcheck.cases.case import Case, case_from
from rmapcheck.cases.replay import scheme_of
from rmapcheck.invariants.registry import Violation
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.structs import PTE_WRITE
from rmapcheck.plugins.catalogue import built_in
from rmapcheck.report.recording import Frame, Recording, record_case
from rmapcheck.report.state_text import (
    flags_text,
    pages_text,
    place,
    pool_of,
    state_lines,
    value_of,
)
from rmapcheck.verdict import Verdict

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.scheme import Scheme

FORMATS = ("text", "html", "svg")

WIDTH = 80
"""Columns, if nothing else is said."""

MOST_ENTRIES = 3
"""Of a step that changes more page-table entries than this, only their number is shown."""


def explain(run: Case | Verdict, scheme: "type[Scheme] | None" = None) -> RenderableType:
    """Return a rich renderable that explains a case, or a verdict that is VIOLATED.

    The run is repeated on `scheme`, or on the scheme that the case names. Raise CaseError if that
    is not built in: a plug-in must be given as `scheme`.
    """
    case = run if isinstance(run, Case) else case_from(run)
    recording = record_case(case, scheme or scheme_of(case))
    parts: list[RenderableType] = [*_head(case, recording), _steps(recording)]
    if recording.stopped:
        parts.append(Text(f"The run ends there: {recording.stopped}.", style="yellow"))
    if recording.frames:
        parts += _last(recording, recording.frames[-1])
    if not recording.stopped and not (recording.frames and recording.frames[-1].violations):
        parts += [Text(""), Text("HOLDS in every step", style="bold green")]
    return Group(*parts)


def _head(case: Case, recording: Recording) -> Iterator[RenderableType]:
    yield Text(case.title, style="bold")
    yield Text(f"scheme   {recording.scheme.name}   {recording.scheme.title}".rstrip())
    yield _Hanging(f"scope    {case.scope}", 9)
    named = built_in(case.scheme)
    other = f", on {case.scheme}" if named and named is not recording.scheme else ""
    yield Text(f"expects  {case.expect}{other}")
    history = case.history
    known = [("introduced", history.introduced), ("fixed", history.fixed), ("", history.cve)]
    text = ", ".join(f"{word} {value}".strip() for word, value in known if value)
    if text:
        yield Text(f"history  {text}")
    yield Text("")


def _steps(recording: Recording) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column()
    for frame in recording.frames:
        bad = "red" if frame.violations else ""
        row = (
            Text(str(frame.number)),
            Text(str(frame.op), style=bad),
            Text(effect(recording, frame)),
        )
        table.add_row(*row)
    return table


def _last(recording: Recording, frame: Frame) -> Iterator[RenderableType]:
    for word, raw in (("before", frame.before), ("after", frame.after)):
        yield Text("")
        yield Rule(f"{word} step {frame.number}", align="left", style="dim", characters="─")
        for line in state_lines(recording.state(raw)):
            yield _Hanging(line)
    for violation in frame.violations:
        yield Text("")
        yield Text(f"VIOLATED {violation.invariant} in step {frame.number}", style="bold red")
        yield Padding(_reason(violation), (0, 0, 0, 2))


class _Hanging:
    """A long line, wrapped so that all lines but the first are indented."""

    def __init__(self, line: str, indent: int = 6) -> None:
        self.line = line
        self.indent = " " * indent

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(textwrap.fill(self.line, options.max_width, subsequent_indent=self.indent))


def _reason(violation: Violation) -> Text:
    text = Text()
    parts = (("Let ", violation.let), ("Then", violation.then), ("But ", violation.but))
    for i, (word, sentence) in enumerate(parts):
        text.append(word, style="bold")
        text.append(f" {sentence}." + ("\n" if i < 2 else ""))
    return text


def effect(recording: Recording, frame: Frame) -> str:
    """Return what a step changed, on one line."""
    before, after = recording.state(frame.before), recording.state(frame.after)
    parts: list[str] = []
    if frame.outcome.oops:
        parts.append(f"oops, {frame.outcome.oops}")
    if frame.outcome.error:
        number = -frame.outcome.error
        parts.append(f"returns -{errno.errorcode.get(number, str(number))}")
    parts += [*_entries(before, after), *_vmas(before, after), *_born(before, after)]
    parts = parts or list(_fields(before, after))
    return "; ".join(parts) or "nothing changes"


def _entries(before: "Kernel", after: "Kernel") -> list[str]:
    """Return which page-table entries changed, and to what."""
    changed = []
    for ptep in range(1, after.pte.size + 1):
        old, new = before.pte[ptep], after.pte[ptep]
        if (old.folio, old.swap, old.flags) != (new.folio, new.swap, new.flags):
            same = (old.folio, old.swap) == (new.folio, new.swap)
            text = _flags(old.flags, new.flags) if same and old.folio else _content(after, ptep)
            changed.append(f"{place(after, ptep)} {text}")
    if len(changed) > MOST_ENTRIES:
        return [f"{len(changed)} page-table entries change"]
    return changed


def _vmas(before: "Kernel", after: "Kernel") -> Iterator[str]:
    """Yield which VMAs have other pages or flags than before."""
    for vma in _kept(before, after, "vma"):
        old, new = before.vma[vma], after.vma[vma]
        changes = []
        if (old.vm_start, old.vm_end, old.vm_pgoff) != (new.vm_start, new.vm_end, new.vm_pgoff):
            changes.append(f"now has {pages_text(new.vm_start, new.vm_end)}")
        if old.vm_flags != new.vm_flags:
            changes.append(f"becomes {flags_text(new.vm_flags)}")
        if changes:
            yield f"vma {vma} {' and '.join(changes)}"


def _fields(before: "Kernel", after: "Kernel") -> Iterator[str]:
    """Yield which objects have another value in a field, by pool."""
    for pool, struct in after.layout.structs.items():
        changed = []
        for i in _kept(before, after, pool):
            old, new = pool_of(before, pool)[i], pool_of(after, pool)[i]
            if any(value_of(old, f.name) != value_of(new, f.name) for f in struct.fields):
                changed.append(str(i))
        if changed:
            yield f"changed: {pool} {' '.join(changed)}"


def _kept(before: "Kernel", after: "Kernel", pool: str) -> list[int]:
    """Return the objects of a pool that exist in both states."""
    return [i for i in pool_of(after, pool).indices() if pool_of(before, pool).is_live(i)]


def _flags(old: int, new: int) -> str:
    if (old ^ new) & PTE_WRITE:
        return "becomes writable" if new & PTE_WRITE else "becomes read-only"
    return "changes its flags"


def _content(st: "Kernel", ptep: int) -> str:
    p = st.pte[ptep]
    if p.folio:
        return f"maps folio {p.folio}"
    if p.swap:
        return f"is in swap slot {p.swap}"
    return "maps the zero page" if p.flags else "is empty"


def _born(before: "Kernel", after: "Kernel") -> Iterator[str]:
    """Yield which objects are new and which were freed, by pool."""
    for word, one, other in (("new", before, after), ("freed", after, before)):
        names = []
        for pool in after.layout.structs:
            if pool != "pte":
                old = set(pool_of(one, pool).indices())
                numbers = [str(i) for i in pool_of(other, pool).indices() if i not in old]
                names += [f"{pool} {' '.join(numbers)}"] if numbers else []
        if names:
            yield f"{word}: {', '.join(names)}"


def render(
    case: Case | Verdict,
    format_: str = "text",
    scheme: "type[Scheme] | None" = None,
    *,
    width: int = WIDTH,
) -> str:
    """Return the explanation of a run as "text", "html" or "svg", `width` columns wide.

    The result does not depend on the terminal. Raise ModelError for another format, and CaseError
    as `explain` does.
    """
    if format_ not in FORMATS:
        raise ModelError(f"there is no format {format_!r}; choose one of {', '.join(FORMATS)}")
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=format_ != "text",
        color_system="truecolor",
        no_color=False,
        legacy_windows=False,
        highlight=False,
    )
    console.print(explain(case, scheme))
    if format_ == "html":
        return console.export_html(inline_styles=True)
    if format_ == "svg":
        return console.export_svg(title="rmapcheck")
    lines = console.export_text().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
