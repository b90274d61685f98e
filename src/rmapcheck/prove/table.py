"""Prints the results: a table of operations and lemmas, with a letter for each obligation."""

from collections.abc import Iterator
from typing import Any

from rmapcheck.logic.spec import Spec
from rmapcheck.prove.obligations import INIT
from rmapcheck.prove.proving import Report
from rmapcheck.prove.results import FAILS, POSSIBLE, PROVED, Result

UNTOUCHED, SIMPLE, DEEP, BROKEN, OPEN = "·", "p", "d", "✗", "?"
LEGEND = (
    f"{UNTOUCHED} untouched by the operation",
    f"{SIMPLE} proved",
    f"{DEEP} proved with deep lemmas",
    f"{BROKEN} counterexample to induction",
    f"{OPEN} unknown",
)


def title(spec: Spec) -> str:
    """Return name, title and kernels of a spec as one line."""
    kernels = f" ({spec.kernels})" if spec.kernels else ""
    return f"{spec.name}: {spec.title}{kernels}" if spec.title else spec.name


def letter(result: Result) -> str:
    """Return the letter of a result."""
    if result.status == PROVED:
        if not result.answers:
            return UNTOUCHED
        return DEEP if result.deep else SIMPLE
    return BROKEN if result.status == FAILS else OPEN


def table(report: Report, width: int = 100) -> Iterator[str]:
    """Yield the lines of the table, not longer than `width` if possible.

    First the meaning of each column, then a row for each operation, in several blocks if needed.
    """
    columns = list(dict.fromkeys(r.goal.name for r in report.results))
    cells = {(r.operation, r.goal.name): letter(r) for r in report.results}
    rows = list(dict.fromkeys(r.operation for r in report.results))
    margin = max(len(row) for row in rows)
    numbered = [f"{i} {name}" for i, name in enumerate(columns, 1)]
    yield from _columns(numbered, width)
    across = max((width - margin) // 3, 1)
    for first in range(0, len(columns), across):
        block = columns[first : first + across]
        yield ""
        head = " ".join(f"{first + i:>2}" for i in range(1, len(block) + 1))
        yield f"{'':{margin}} {head}"
        for row in rows:
            line = " ".join(f"{cells.get((row, c), ''):>2}" for c in block)
            yield f"{row:{margin}} {line}".rstrip()
    yield ""
    yield from _filled(LEGEND, width)


def _columns(items: list[str], width: int) -> Iterator[str]:
    column = max(len(x) for x in items) + 2
    height = -(-len(items) // max(min(width // column, 3), 1))
    for i in range(height):
        yield "".join(f"{x:{column}}" for x in items[i::height]).rstrip()


def _filled(parts: tuple[str, ...], width: int) -> Iterator[str]:
    """Yield lines with as many `parts` as fit."""
    line = ""
    for part in parts:
        longer = f"{line}   {part}" if line else part
        if line and len(longer) > width:
            yield line
            longer = part
        line = longer
    yield line


def figures(report: Report) -> Iterator[str]:
    """Yield lines: how many obligations there were, of which kinds, and how long they took."""
    asked = [r for r in report.results if r.answers]
    deep = sum(r.deep for r in report.results)
    epr = sum(r.goal.epr and not r.deep for r in asked)
    yield (
        f"obligations  {len(report.results)}: {len(report.results) - len(asked)} untouched, "
        f"{len(asked)} given to a solver, of which {epr} in the decidable fragment"
    )
    if report.deep:
        cycles = "; ".join(f"{name}: {cycle}" for name, cycle in report.deep.items())
        yield f"deep lemmas  {cycles}"
        yield f"             {deep} obligations needed them"
    operations = len(report.vacuities)
    possible = sum(v.status == POSSIBLE for v in report.vacuities)
    yield f"vacuity      {possible} of {operations} operations are possible where this holds:"
    yield f"             {report.interesting}"
    for v in report.vacuities:
        if v.status != POSSIBLE:
            yield f"             {v.operation}: {v.status}{f' ({v.why})' if v.why else ''}"
    weakened = ", ".join(own_assumptions(type(report.spec)))
    if weakened:
        yield f"assumed      {weakened}: the spec itself decides what a walk may miss"
    yield (
        f"solver       {report.versions}, seed {report.options.seed}, "
        f"{report.options.timeout:g} s for each question; {report.seconds:.1f} s in all"
    )


def own_assumptions(spec: type) -> list[str]:
    """Return the methods of a user's spec that weaken walk_complete, as `Class.method`."""
    return [
        f"{cls.__name__}.{name}"
        for cls in spec.__mro__
        for name in ("may_miss", "at_rest")
        if name in vars(cls) and not cls.__module__.startswith("rmapcheck.")
    ]


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON data."""
    return {
        "spec": report.spec.name,
        "verdict": report.verdict,
        "expected": sorted(map(list, report.expected)),
        "solver": report.versions,
        "seed": report.options.seed,
        "timeout": report.options.timeout,
        "seconds": round(report.seconds, 3),
        "assumed": own_assumptions(type(report.spec)),
        "deep": {name: str(cycle) for name, cycle in report.deep.items()},
        "obligations": [_result_json(r) for r in report.results],
        "vacuity": [
            {"operation": v.operation, "status": v.status, "seconds": round(v.seconds, 4)}
            for v in report.vacuities
        ],
    }


def _result_json(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operation": result.operation,
        "lemma": result.goal.name,
        "kind": "initial" if result.operation == INIT else result.goal.kind,
        "status": result.status,
        "deep": result.deep,
        "epr": result.goal.epr,
        "answers": dict(result.answers),
        "seconds": round(result.seconds, 4),
    }
    if result.needs:
        found["needs"] = list(result.needs)
    if result.why:
        found["why"] = result.why
    if result.cti is not None:
        found["cti"] = result.cti.as_json()
    return found
