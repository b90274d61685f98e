"""scopes: estimates the size of a scope before it is searched."""

import math
from collections.abc import Callable
from typing import Annotated

import attrs
import typer

from rmapcheck.cli.common import Choice, Out, command
from rmapcheck.cli.data import scope_json
from rmapcheck.cli.engines import OneScheme, checked_plugin, default_scope
from rmapcheck.cli.results import plain_table
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import scheme_errors, watchdog
from rmapcheck.search.estimate import Estimate, estimate
from rmapcheck.verdict import Exit
from rmapcheck.verify.ladder import LADDER

SURE = "of 43 such ranges that were checked, 40 had the true number"


@command(scope=True, name="scopes")
def scopes_command(
    out: Out,
    scheme: OneScheme,
    scope: Choice,
    seconds: Annotated[float, typer.Option(help="CPU time for the sample.")] = 2.0,
) -> int:
    """Estimate the states, time and memory of a search before it is run.

    The estimate is made from the layers that a short search finishes.
    """
    if not 0 < seconds < math.inf:
        raise ModelError(f"--seconds must be finite and more than 0, not {seconds:g}")
    cls = checked_plugin(find_scheme(scheme))
    chosen = scope.over(default_scope(cls, scope, LADDER[6]))
    with scheme_errors(cls), watchdog(cls):
        found = estimate(cls, chosen, seconds=seconds)
    out.show(f"scope  {chosen}")
    table = plain_table("", "at least", "at most", right=(1, 2))
    for name, low, high in rows(found):
        table.add_row(name, low, high)
    out.show(table)
    out.show(
        f"sample  {found.seen} states, {len(found.layers) - 1} layers, {found.seconds:.1f} s, "
        f"engine {found.engine}"
    )
    out.verdict(f"{cls.name}: {sentence(found)}", good=found.complete or None)
    figures = {**attrs.asdict(found), "bytes": found.bytes or None}
    out.data({"scheme": cls.name, "scope": scope_json(chosen), **figures})
    return Exit.EXPECTED


def rows(found: Estimate) -> list[tuple[str, str, str]]:
    """Return the estimates, at least and at most: states, time of one worker, memory."""

    def row(name: str, text: Callable[[float], str], worse: float = 1.0) -> tuple[str, str, str]:
        high = "?" if found.high is None else text(found.high * worse)
        return name, text(found.low), high

    def time(states: float) -> str:
        return duration(found.scaled(states, found.seconds))

    def memory(states: float) -> str:
        return f"{found.scaled(states, found.bytes) / 2**20:,.0f} MB"

    out = [row("states", lambda states: f"{states:,.0f}"), row("time", time)]
    # A table that is full is replaced by one of twice its size; both exist for a moment.
    return [*out, row("memory", memory, 1.0 if found.complete else 2.0)] if found.bytes else out


def duration(seconds: float) -> str:
    """Return a time as text, in a suitable unit."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def sentence(found: Estimate) -> str:
    """Return the estimate and how sure it is, in one line."""
    if found.violated:
        return f"violated within {found.seen} states; `rmapcheck explore` shows how"
    if found.complete:
        return f"{found.seen} states, which is all of them"
    if found.high is None:
        return f"more than {found.low:,} states; a longer sample (--seconds) may give a range"
    return f"{found.low:,} to {found.high:,} states ({SURE})"
