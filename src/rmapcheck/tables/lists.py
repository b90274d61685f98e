"""The lists of schemes, bugs and invariants, for the command line and the documentation."""

from collections.abc import Callable

from rmapcheck.invariants.registry import INVARIANTS, Invariant, applicable
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.report.markdown import Rows, spans


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
    every = catalogue.schemes()
    return spans([n for n, cls in every.items() if invariant in applicable(cls)], list(every))


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
