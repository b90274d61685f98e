"""The tables of schemes, bugs and invariants, made from the code.

The command line shows them; `python -m rmapcheck.tables.tables README.md` writes them between the
markers ``<!-- NAME: … -->`` and ``<!-- end NAME -->`` of a Markdown file.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from rmapcheck.invariants.registry import INVARIANTS, Invariant, applicable
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.scheme import Bug, Scheme
from rmapcheck.plugins import catalogue

Rows = list[tuple[str, ...]]


def summary(cls: type[Scheme]) -> str:
    """Return the first line of a class's docstring, without its full stop."""
    return (cls.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def scheme_rows() -> Rows:
    """Return name, kernels, what it is, and the bugs these kernels had, for each scheme."""
    rows: Rows = []
    for cls in catalogue.every_scheme().values():
        rows.append((cls.name, cls.kernels, cls.title, ", ".join(cls.flaws) or "–"))
    return rows


def bug_of(cls: type[Scheme]) -> Bug:
    """Return what a class in model/bugs declares of its bug."""
    if cls.bug is None:
        raise SchemeError(f"{cls.name} is in model/bugs and declares no bug: write `bug = Bug(…)`")
    return cls.bug


def bug_rows() -> Rows:
    """Return id, scheme, what went wrong, invariant, fix and CVE of each seeded bug."""
    rows: Rows = []
    for cls in sorted(catalogue.bugs().values(), key=lambda c: c.name):
        bug = bug_of(cls)
        fix = f"{bug.fixed} {bug.cve}".strip()
        rows.append((cls.name, catalogue.mended(cls).name, summary(cls), bug.violates, fix))
    return rows


def invariant_rows() -> Rows:
    """Return name, where it comes from, who is held to it, and what it says."""
    rows: Rows = []
    for inv in INVARIANTS.values():
        who = "all" if inv.universal and not inv.only else _eras(inv)
        rows.append((inv.name, inv.source, who, inv.doc))
    return rows


def _eras(invariant: Invariant) -> str:
    """Return the schemes held to an invariant, those in a row as their first and last."""
    parts: list[str] = []
    first = last = ""
    eras: list[type[Scheme]] = [*catalogue.schemes().values(), Scheme]
    for cls in eras:
        if cls is not Scheme and invariant in applicable(cls):
            first, last = first or cls.name, cls.name
        elif first:
            parts.append(first if first == last else f"{first} … {last}")
            first = ""
    return ", ".join(parts)


HEADS: dict[str, tuple[str, ...]] = {
    "schemes": ("scheme", "kernels", "what it is", "bugs it had"),
    "bugs": ("bug", "in scheme", "what went wrong", "caught by", "fixed by"),
    "invariants": ("invariant", "source", "schemes", "what it says"),
}
ROWS: dict[str, Callable[[], Rows]] = {
    "schemes": scheme_rows,
    "bugs": bug_rows,
    "invariants": invariant_rows,
}


def markdown(name: str) -> str:
    """Return one of the tables in Markdown; the first column is code."""
    head = HEADS[name]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in ROWS[name]():
        first, *rest = (cell.replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join([f'`{first}`', *rest])} |")
    return "\n".join(lines)


def updated(text: str) -> str:
    """Return a Markdown text with all its tables made anew."""
    for name in ROWS:
        pattern = rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end {name} -->)"
        table = markdown(name).replace("\\", "\\\\")
        text = re.sub(pattern, rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)
    return text


def main() -> None:
    """Write the tables into the files named on the command line."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
