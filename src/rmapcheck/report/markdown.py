"""Markdown tables, and merging their equal rows."""

from collections.abc import Iterable, Iterator, Sequence

Row = tuple[str, ...]
Rows = list[Row]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table; a `|` within a cell is escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    ]
    return "\n".join(lines)


def spans(names: Sequence[str], order: Sequence[str]) -> str:
    """Return `names` as text; names that follow each other in `order` become "first … last"."""
    runs: list[list[str]] = []
    before = -2
    for name in sorted(names, key=order.index):
        place = order.index(name)
        if place == before + 1:
            runs[-1] = [runs[-1][0], name]
        else:
            runs.append([name])
        before = place
    return ", ".join(" … ".join(run) for run in runs)


def joined(rows: Iterable[Row], order: Sequence[str]) -> Iterator[Row]:
    """Yield the rows; those that differ only in their first cell become one row with all names."""
    groups: dict[Row, list[str]] = {}
    for first, *rest in rows:
        groups.setdefault(tuple(rest), []).append(first)
    for cells, names in groups.items():
        yield spans(names, order), *cells
