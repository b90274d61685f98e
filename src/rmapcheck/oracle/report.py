"""The report of a run against the kernel: its coverage, and the first difference step by step."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rmapcheck.cases.case import Case, Expect, Found, version
from rmapcheck.oracle.rules import GROUPS, Coverage

if TYPE_CHECKING:
    from rmapcheck.oracle.episode import StepResult
    from rmapcheck.oracle.oracle import Oracle


def coverage_rows(coverage: Coverage) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each group of rules: name, number met, number of rules, rules not met."""
    for name, rules in GROUPS.items():
        wanted = [rule for rule in rules if rule in coverage.wanted]
        missing = [rule for rule in wanted if not coverage[rule]]
        yield name, str(len(wanted) - len(missing)), str(len(wanted)), "; ".join(missing)


def steps_text(failed: "Sequence[StepResult]") -> Iterator[str]:
    """Yield lines: the steps, what the model predicts for each, and the difference at the end."""
    yield ""
    width = max(len(str(result.step)) for result in failed)
    for number, result in enumerate(failed, 1):
        predicted = f"returns {result.error}" if result.error else "succeeds"
        rules = f" ({', '.join(sorted(result.rules))})" if result.rules else ""
        yield f"{number:3}  {result.step!s:{width}}  {predicted}{rules}"
    yield ""
    yield f"DIFFERENCE in step {len(failed)}, {failed[-1].step}"
    for difference in failed[-1].differences:
        yield f"  {difference}."
    if failed[-1].rules:
        yield f"  Rules that the model applied: {', '.join(sorted(failed[-1].rules))}."


def case_of(oracle: "Oracle", failed: "Sequence[StepResult]", seed: int) -> Case:
    """Return the run as a case. It expects HOLDS: no invariant is violated, the kernel differs."""
    release = os.uname().release
    first = failed[-1].differences[0]
    return Case(
        title=f"Linux {release} differs in {first.what}",
        scheme=oracle.scheme.name,
        scope=oracle.scope,
        expect=Expect(verdict="HOLDS"),
        found=Found(engine="kernel", seed=seed, version=version(), minimized=True),
        steps=tuple(op for result in failed for op in result.step.ops),
    )
