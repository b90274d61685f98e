"""The cost tables, for the terminal and for docs/reference/cost.md."""

from collections.abc import Iterable

from rmapcheck.cost.figures import FIGURES, SILENT
from rmapcheck.cost.machine import BITS64, I386
from rmapcheck.cost.workloads import WORKLOADS, Measured, measure
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.report.markdown import Row, Rows, joined, table

HEAD = (
    "scheme",
    "what, for each",
    "locks",
    "allocs",
    "nodes",
    "entries",
    "bytes i386",
    "bytes 64-bit",
    "walk",
)
FIGURES_HEAD = ("quoted", "by", "figure", "model", "ratio", "note")


def number(value: float) -> str:
    """Return a number in at most four digits, or with none behind the point."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def row(name: str, m: Measured) -> Row:
    """Return what one phase cost, for each time."""
    s, per = m.steps, m.per
    visits = f"{m.precision[1]} for {m.precision[2]}" if m.precision[1] else ""
    return (
        name,
        f"{m.phase}, {m.unit}",
        *(number(x / per) for x in (s.locks, s.allocs, s.nodes, s.entries)),
        number(m.size[I386]),
        number(m.size[BITS64]),
        visits,
    )


def rows(workload: str, schemes: Iterable[type[Scheme]] = (), scale: int = 0) -> Rows:
    """Return the rows of one workload."""
    chosen = list(schemes) or list(catalogue.schemes().values())
    able = [c for c in chosen if c.maps_files or not WORKLOADS[workload].files]
    return [row(c.name, m) for c in able for m in measure(c, workload, scale)]


def figure_rows() -> Rows:
    """Return the quoted figures beside the model's."""
    found: Rows = []
    for f in FIGURES:
        value, ratio = f.counted(), f.ratio
        counted = "no scheme" if value is None else f"{number(value)} {f.unit}"
        said = "" if ratio is None else f"{ratio:.2f}"
        found.append((f.what, f.source, f"{number(f.quoted)} {f.unit}", counted, said, f.note))
    found += [(what, "", "", "says nothing", "", why) for what, why in SILENT]
    return found


def joined_rows(workload: str) -> Rows:
    """Return the rows of one workload, phase by phase, equal ones as one."""
    phases: dict[str, Rows] = {}
    for r in rows(workload):
        phases.setdefault(r[1], []).append(r)
    every = list(catalogue.schemes())
    return [line for found in phases.values() for line in joined(found, every)]


def page() -> str:
    """Return docs/reference/cost.md."""
    parts = [INTRODUCTION]
    for w in WORKLOADS.values():
        parts += [f"## {w.name}: {w.title}, N = {w.scale}", table(HEAD, joined_rows(w.name))]
    parts += ["## Figures that were quoted", FIGURES_TEXT, table(FIGURES_HEAD, figure_rows())]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# What each scheme costs

<!-- made by `make docs` from src/rmapcheck/cost -->

`rmapcheck cost` runs workloads on the very model that is checked, with large pools, and counts:
locks taken, allocations, list and tree nodes (and slots of arrays) looked at, page-table entries
that walks and scans look at, and the bytes of the scheme's own structs that are live at the end,
with the sizes that they had on i386 and on 64-bit machines. Locks and allocations are those of the
whole operation, so that the virtual scan, which has no rmap, shows what the rest of the kernel
takes. *walk* says how many entries the walk of one page visits, and how many of them map it.

Schemes with the same counts share a row: `a … b` means a, b and all between them in the list of
[schemes](schemes.md).

A model has no clock: steps are not seconds. `--scale N` makes a workload larger or smaller."""

FIGURES_TEXT = """*ratio* is the model's figure over the quoted one."""
