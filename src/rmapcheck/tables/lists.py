"""The lists of schemes, bugs and invariants, for the command line and the documentation.

Each is a table, for people, and data, for programs.
"""

import re
from collections.abc import Callable
from typing import Any

from rmapcheck.invariants.registry import INVARIANTS, Invariant, applicable
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.report.markdown import Rows, spans

Data = list[dict[str, Any]]
RELEASES = re.compile(r"(v?\d+\.\d[\w.-]*)( …(?: (v?\d+\.\d[\w.-]*))?)?")
"""One or more releases in `Era.kernels`, as in "v2.6.34 … v2.6.35" or "v7.0 …"."""


def summary(cls: type[Scheme]) -> str:
    """Return the first line of a class's docstring, without its full stop."""
    return (cls.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def scheme_rows() -> Rows:
    """Return name, kernels, title, and the bugs that the kernels had, of each scheme."""
    rows: Rows = []
    for cls in catalogue.every_scheme().values():
        rows.append((cls.name, cls.era.kernels, cls.title, ", ".join(cls.era.flaws) or "–"))
    return rows


def bug_rows() -> Rows:
    """Return id, scheme, what went wrong, invariant, fix and CVE of each seeded bug."""
    rows: Rows = []
    for cls in sorted(catalogue.bugs().values(), key=lambda c: c.name):
        bug = catalogue.bug_of(cls)
        fix = f"{bug.fixed} {bug.cve}".strip()
        rows.append((cls.name, catalogue.without_bug(cls).name, summary(cls), bug.violates, fix))
    return rows


def invariant_rows() -> Rows:
    """Return name, source, schemes that must satisfy it, and meaning of each invariant."""
    rows: Rows = []
    for inv in INVARIANTS.values():
        who = "all" if inv.universal and not inv.only else _eras(inv)
        rows.append((inv.name, inv.source, who, inv.doc))
    return rows


def _eras(invariant: Invariant) -> str:
    """Return the schemes that must satisfy an invariant; neighbours become "first … last"."""
    return spans(_names(invariant), list(catalogue.schemes()))


def _names(invariant: Invariant) -> list[str]:
    return [n for n, cls in catalogue.schemes().items() if invariant in applicable(cls)]


def scheme_data() -> Data:
    """Return the schemes as data; `releases` is empty for patches that were in no release."""
    return [
        {
            "scheme": cls.name,
            "title": cls.title,
            "releases": releases(cls.era.kernels),
            "bugs": list(cls.era.flaws),
        }
        for cls in catalogue.every_scheme().values()
    ]


def releases(text: str) -> list[dict[str, str | None]]:
    """Return the releases in `Era.kernels`: first and last of each part; None if it is open."""
    found = []
    for part in text.split(", "):
        match = RELEASES.fullmatch(part)
        if match:
            first, more, last = match.groups()
            found.append({"first": first, "last": (last or None) if more else first})
    return found


def bug_data() -> Data:
    """Return the seeded bugs as data."""
    found = []
    for cls in sorted(catalogue.bugs().values(), key=lambda c: c.name):
        bug = catalogue.bug_of(cls)
        found.append(
            {
                "bug": cls.name,
                "scheme": catalogue.without_bug(cls).name,
                "what": summary(cls),
                "title": bug.title,
                "violates": bug.violates,
                "introduced": bug.introduced,
                "fixed": bug.fixed,
                "cve": bug.cve or None,
                "steps": bug.steps or None,
            }
        )
    return found


def invariant_data() -> Data:
    """Return the invariants as data, each with the names of all schemes that must satisfy it."""
    return [
        {
            "invariant": inv.name,
            "sources": inv.source.split(", "),
            "schemes": _names(inv),
            "what": inv.doc,
            "relies": inv.relies or None,
        }
        for inv in INVARIANTS.values()
    ]


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
DATA: dict[str, Callable[[], Data]] = {
    "schemes": scheme_data,
    "bugs": bug_data,
    "invariants": invariant_data,
}
