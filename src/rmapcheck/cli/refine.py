"""--refine: checks that a spec allows each step of a run."""

from typing import Annotated

import typer

from rmapcheck.cli.common import Out
from rmapcheck.cli.data import verdict_json
from rmapcheck.cli.results import plain_table
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import Observer
from rmapcheck.verdict import Exit, Status, Verdict

OWN = "own"
Refine = Annotated[
    str,
    typer.Option(
        "--refine",
        metavar="SPEC",
        help=f"Check that SPEC allows each step: {OWN} (the scheme's spec), a name, or FILE.py.",
    ),
]


def observer_of(cls: type[Scheme], refine: str) -> Observer | None:
    """Return what checks each step against a spec, or None without --refine.

    Raise SpecError if there is no such spec.
    """
    if not refine:
        return None
    from rmapcheck.prove.refinement.refine import Refinement
    from rmapcheck.prove.registry import find_spec, spec_of

    return Refinement(spec_of(cls) if refine == OWN else find_spec(refine))


def refine_target(refine: str, target: str) -> str:
    """Return the target of a run: with --refine, a step that is not allowed; else `target`."""
    if not refine:
        return target
    from rmapcheck.prove.refinement.refine import NAME

    return NAME


def show_explained(out: Out, observer: Observer) -> None:
    """Print how often each operation of the spec explained an event."""
    table = plain_table("operation of the spec", "steps", right=(1,))
    for name, times in observer.explained.items():
        table.add_row(name, str(times) if times else "never")
    out.show(table)


def finish_refined(out: Out, cls: type[Scheme], verdict: Verdict, observer: Observer) -> int:
    """Print which step is not allowed, or that all are; return the exit code."""
    show_explained(out, observer)
    code = {Status.VIOLATED: Exit.UNEXPECTED, Status.HOLDS: Exit.EXPECTED}.get(
        verdict.status, Exit.INCONCLUSIVE
    )
    result = "each step is allowed"
    if verdict.status is Status.VIOLATED:
        result = f"step {len(verdict.trace)} is not allowed"
        for number, op in enumerate(verdict.trace, 1):
            out.show(f"{number:3}  {op}")
        out.show("")
        out.show(str(verdict.violations[0]))
    line = f"{cls.name} against the spec {observer.name}: {verdict}: {result}"
    out.verdict(line, good=code is Exit.EXPECTED)
    spec = {"spec": observer.name, "explained": dict(observer.explained)}
    out.data({**verdict_json(verdict), **spec, "exit": int(code)})
    return int(code)
