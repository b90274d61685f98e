"""`explore --stage`: searches wider and wider scopes, one after the other."""

from collections.abc import Callable
from typing import Annotated, Any

import attrs
import typer

from rmapcheck.cli.common import Out
from rmapcheck.cli.data import scope_json
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.search.question import Answer
from rmapcheck.verdict import Status

Stages = Annotated[
    list[str],
    typer.Option(
        "--stage",
        metavar="BOUND=N[,…]",
        help="Search the scope with these bounds, then that of the next --stage, which must not "
        "be narrower. Stop at the first that does not hold.",
    ),
]
Stage = tuple[str, Scope]


def stages_of(scope: Scope, texts: list[str]) -> list[Stage]:
    """Return `scope` with the bounds of each stage; without stages, `scope` alone.

    Raise ModelError if a stage is not valid, or narrower than the one before it.
    """
    stages: list[Stage] = []
    for text in texts:
        parts = [_bound(part) for part in text.split(",")]
        bounds: dict[str, Any] = dict(parts)
        if len(bounds) < len(parts):
            raise ModelError(f"--stage {text!r} names a bound twice; give each bound once")
        wider = attrs.evolve(scope, **bounds)
        if stages:
            _check_wider(stages[-1], (text, wider))
        stages.append((text, wider))
    return stages or [("", scope)]


def _bounds() -> list[str]:
    return [a.name for a in attrs.fields(Scope) if "range" in a.metadata]


def _bound(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in _bounds() or not value.isdigit():
        known = ", ".join(_bounds())
        raise ModelError(f"--stage {text!r} must be BOUND=N, where BOUND is one of {known}")
    return name, int(value)


def _check_wider(before: Stage, stage: Stage) -> None:
    for name in _bounds():
        low, high = getattr(before[1], name), getattr(stage[1], name)
        if high < low:
            raise ModelError(
                f"--stage {stage[0]!r} has {name}={high}, but --stage {before[0]!r} before it has "
                f"{low}; order the stages from narrow to wide"
            )


def search_stages(
    out: Out, stages: list[Stage], search: Callable[[Scope], Answer]
) -> tuple[Answer, list[dict[str, Any]]]:
    """Search one stage after the other, until one does not hold.

    Return the result of the last search, and what each stage covered, as JSON.
    """
    covered = []
    for number, (text, scope) in enumerate(stages):
        done = search(scope)
        covered.append(
            {
                "stage": text,
                "scope": scope_json(done.verdict.scope),
                "verdict": done.verdict.status.value,
                "how": done.verdict.how or None,
                "why": done.verdict.why or None,
                "states": done.distinct,
                "steps": done.generated,
                "depth": done.depth,
            }
        )
        if text:
            out.show(_line(covered[-1]))
        if done.verdict.status is not Status.HOLDS:
            left = [name for name, _ in stages[number + 1 :]]
            if left:
                out.show(f"not searched: {'; '.join(left)}")
            break
    return done, covered


def _line(stage: dict[str, Any]) -> str:
    detail = stage["how"] or stage["why"]
    how = f" ({detail})" if detail else ""
    figures = f"{stage['states']} states, {stage['steps']} steps, depth {stage['depth']}"
    return f"stage  {stage['stage']}: {stage['verdict']}{how}, {figures}"
