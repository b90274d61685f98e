"""What `rmapcheck prove` does with a counterexample: it looks for a real run, and shows it."""

from typing import Any

from rmapcheck.cli.common import Out
from rmapcheck.cli.results import report_violation
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.find_run import AIMS, pursue
from rmapcheck.prove.proving import Report
from rmapcheck.prove.results import Result
from rmapcheck.verdict import Status


def scheme_of(report: Report) -> tuple[str, type[Scheme]] | None:
    """Return the scheme of the model that the spec is about, and its name; None if none is."""
    for name in (report.spec.name, *vars(type(report.spec)).get("schemes", ())):
        try:
            return name, find_scheme(name)
        except ModelError:
            continue
    return None


def telling(failures: list[Result]) -> Result:
    """Return the failure to go after: a lemma that an invariant of the model says, if any.

    That the walk misses a page is the last that comes of it, so it is the last to look for.
    """

    def rank(result: Result) -> int:
        name = result.goal.name
        if name == "walk_complete":
            return 2
        return 0 if name in INVARIANTS else 1 if name in AIMS else 2

    return min(failures, key=rank)


def follow_up(out: Out, report: Report, seconds: float) -> dict[str, Any]:
    """Look for a run that breaks what could not be proved; return what JSON adds.

    A run is replayed, and explained; where there is none, the CTI stays one.
    """
    found = scheme_of(report)
    out.show("")
    if found is None:
        out.show("run   none looked for: the spec's `schemes` name no scheme of the model")
        return {"scheme": None}
    name, scheme = found
    lemma = telling(report.failures).goal.name
    pursuit = pursue(scheme, lemma, seconds=seconds)
    wanted = pursuit.aimed_at[0] or "anything"
    out.show(f"run   of {name} that breaks {lemma} (invariant {wanted}): {pursuit.verdict}")
    result = {"scheme": name, "lemma": lemma, "run": str(pursuit.verdict)}
    if pursuit.verdict.status is not Status.VIOLATED:
        out.show("      the counterexample may be unreachable: it stays a CTI")
        return result
    steps = [str(op) for op in pursuit.verdict.trace]
    return {**result, "steps": steps, **report_violation(out, scheme, pursuit.verdict, name, None)}
