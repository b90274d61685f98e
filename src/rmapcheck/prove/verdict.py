"""The verdict on the proofs of a spec: one sentence, and an exit code."""

from rmapcheck.prove.proving import POSSIBLE, Report
from rmapcheck.verdict import Exit


def exit_code(report: Report) -> Exit:
    """Return 0 for a proof or exactly the expected failures, 1 for other failures, else 3."""
    cells = {(r.operation, r.goal.name) for r in report.failures}
    if report.verdict == "CTI" and cells != report.expected:
        return Exit.UNEXPECTED
    if report.verdict == "CTI" and report.complete:
        return Exit.EXPECTED
    if report.verdict == "PROVED":
        return Exit.UNEXPECTED if report.expected else Exit.EXPECTED
    return Exit.INCONCLUSIVE


def sentence(report: Report) -> str:
    """Return the verdict as it is printed."""
    if report.verdict == "PROVED":
        proved = f"PROVED(inductive, for any number of {report.sorts})"
        return f"{proved}, but a failure was expected" if report.expected else proved
    if report.verdict == "VACUOUS":
        return f"VACUOUS({', '.join(v.operation for v in report.vacuous)}: can never happen)"
    if report.verdict == "UNKNOWN":
        return f"UNKNOWN({_open(report)})"
    cells = [f"{r.operation} × {r.goal.name}" for r in report.failures]
    shown = ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")
    tail = ""
    if report.expected:
        names = ", ".join(report.spec.flaws)
        same = {(r.operation, r.goal.name) for r in report.failures} == report.expected
        tail = f", as expected of {names}" if same else f", not what is expected of {names}"
    rest = "" if report.complete else f"; besides, {_open(report)}"
    return f"CTI({shown}){tail}{rest}"


def _open(report: Report) -> str:
    """Return what was not decided, in words."""
    parts = []
    if report.undecided:
        parts.append(f"{len(report.undecided)} obligations undecided")
    for v in report.vacuities:
        if v.status != POSSIBLE:
            parts.append(f"{v.operation} not shown to be possible")
    return ", ".join(parts)
