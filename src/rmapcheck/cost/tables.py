"""The cost tables, for the terminal and for docs/reference/cost.md."""

from collections.abc import Iterable

from rmapcheck.cost.figures import FIGURES, NOT_COUNTED
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
    """Return a number as text: integers and numbers from 100 on without decimals."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def row(name: str, m: Measured) -> Row:
    """Return the row of one phase: its cost divided by how often it did its work."""
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
    """Return the rows of one workload; without `schemes`, those of all schemes."""
    chosen = list(schemes) or list(catalogue.schemes().values())
    able = [c for c in chosen if c.maps_files or not WORKLOADS[workload].files]
    return [row(c.name, m) for c in able for m in measure(c, workload, scale)]


def figure_rows() -> Rows:
    """Return the quoted figures with the counted ones."""
    found: Rows = []
    for f in FIGURES:
        value, ratio = f.counted(), f.ratio
        counted = "no scheme" if value is None else f"{number(value)} {f.unit}"
        ratio_text = "" if ratio is None else f"{ratio:.2f}"
        quoted = f"{number(f.quoted)} {f.unit}"
        found.append((f.what, f.source, quoted, counted, ratio_text, f.note))
    found += [(what, "", "", "not counted", "", why) for what, why in NOT_COUNTED]
    return found


def joined_rows(workload: str) -> Rows:
    """Return the rows of one workload, phase by phase, with equal rows merged into one."""
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

`rmapcheck cost` runs workloads on the same model that is checked, with large pools. It counts
locks taken, allocations, list and tree nodes (and slots of arrays) visited, and page-table entries
that walks and scans look at. It also counts the bytes of the scheme's own structs that are live at
the end, with the sizes that they had on i386 and on 64-bit machines. Locks and allocations are
those of the whole operation, so the virtual scan, which has no rmap, shows what the rest of the
kernel needs. *walk* is how many entries the walk for one page visits, and how many of them map the
page.

Schemes with the same counts share a row: `a … b` means a, b and all schemes between them in the
list of [schemes](schemes.md).

The model has no clock, so steps are not seconds. `--scale N` changes the size of a workload."""

FIGURES_TEXT = """*ratio* is the model's figure divided by the quoted one."""
