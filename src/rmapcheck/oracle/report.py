"""What a run against the kernel says: its coverage, and the first difference, step by step."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rmapcheck.cases.case import Case, Expect, Found, version
from rmapcheck.oracle.rules import GROUPS, Coverage

if TYPE_CHECKING:
    from rmapcheck.oracle.oracle import Oracle, Played


def coverage_rows(coverage: Coverage) -> Iterator[tuple[str, str, str, str]]:
    """Yield for each group of rules how many were met, of how many, and which were not."""
    for name, rules in GROUPS.items():
        wanted = [rule for rule in rules if rule in coverage.wanted]
        missing = [rule for rule in wanted if not coverage[rule]]
        yield name, str(len(wanted) - len(missing)), str(len(wanted)), "; ".join(missing)


def steps_text(failed: "Sequence[Played]") -> Iterator[str]:
    """Yield the steps up to a difference, what the model said of each, and the difference."""
    yield ""
    width = max(len(str(played.step)) for played in failed)
    for number, played in enumerate(failed, 1):
        said = f"returns {played.error}" if played.error else "succeeds"
        rules = f" ({', '.join(sorted(played.rules))})" if played.rules else ""
        yield f"{number:3}  {played.step!s:{width}}  {said}{rules}"
    yield ""
    yield f"DIFFERENCE in step {len(failed)}, {failed[-1].step}"
    for difference in failed[-1].differences:
        yield f"  {difference}."
    if failed[-1].rules:
        yield f"  The model went by: {', '.join(sorted(failed[-1].rules))}."


def case_of(oracle: "Oracle", failed: "Sequence[Played]", seed: int) -> Case:
    """Return the run as a case. It is no violation: the model holds, the kernel differs."""
    release = os.uname().release
    first = failed[-1].differences[0]
    return Case(
        title=f"Linux {release} differs in {first.what}",
        scheme=oracle.scheme.name,
        scope=oracle.scope,
        expect=Expect(verdict="HOLDS"),
        found=Found(engine="kernel", seed=seed, version=version(), minimized=True),
        steps=tuple(op for played in failed for op in played.step.ops),
    )
