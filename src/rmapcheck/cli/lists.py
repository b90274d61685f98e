"""schemes, bugs, invariants: the commands that print lists."""

from collections.abc import Iterable
from typing import Any

from rmapcheck.cli.common import Out, command
from rmapcheck.cli.results import plain_table
from rmapcheck.plugins.find import entry_points
from rmapcheck.report.markdown import Rows
from rmapcheck.tables.lists import DATA, HEADS, ROWS
from rmapcheck.verdict import Exit


def _table(out: Out, name: str, rows: Rows, more: Iterable[dict[str, Any]] = ()) -> int:
    if out.quiet:
        out.text("".join(f"{row[0]}\n" for row in rows))
    table = plain_table(*HEADS[name])
    for row in rows:
        table.add_row(*row)
    out.show(table)
    out.data([*DATA[name](), *more])
    return Exit.EXPECTED


@command(name="schemes")
def schemes_command(out: Out) -> int:
    """List the schemes. Those of installed packages come last."""
    offered = [(name, "", point.value, "") for name, point in entry_points().items()]
    data = [{"scheme": name, "plug_in": place} for name, _, place, _ in offered]
    return _table(out, "schemes", [*ROWS["schemes"](), *offered], data)


@command(name="bugs")
def bugs_command(out: Out) -> int:
    """List the seeded historical bugs. Each with the invariant that catches it."""
    return _table(out, "bugs", ROWS["bugs"]())


@command(name="invariants")
def invariants_command(out: Out) -> int:
    """List the invariants. Each with the schemes that must satisfy it."""
    return _table(out, "invariants", ROWS["invariants"]())
