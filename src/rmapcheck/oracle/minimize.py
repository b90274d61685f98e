"""Minimizing: fewer steps of an episode that end in the same sort of difference."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmapcheck.model.machine.scope import Scope
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.episode import Episode, StepResult
from rmapcheck.oracle.steps.generate import reclaim_all

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme
    from rmapcheck.oracle.stage import Stage


def replay_steps(
    stage: "Stage", scheme: "type[Scheme]", scope: Scope, steps: Sequence[Step]
) -> tuple[StepResult, ...]:
    """Run steps again, leaving out those that are not possible now.

    Return the results up to the first difference; nothing if there is none.
    """
    episode = Episode(stage, scheme, scope)
    for step in steps:
        again = reclaim_all(episode.st) if step.reclaim else step
        if again is None or not all(op.enabled(episode.st) for op in again.ops):
            continue
        result = episode.run_step(again)
        if episode.spoilt:
            return ()
        if result is not None and result.differences:
            break
    else:
        if not episode.end():
            return ()
    return tuple(episode.results) if episode.results and episode.results[-1].differences else ()


def minimize_steps(
    stage: "Stage",
    scheme: "type[Scheme]",
    scope: Scope,
    failed: Sequence[StepResult],
    *,
    max_seconds: float = 20.0,
) -> tuple[StepResult, ...]:
    """Return the results of fewer steps that end in the same sort of difference.

    Large chunks are left out first, single steps last. `max_seconds` limits the time.
    """
    end = time.monotonic() + max_seconds
    what = failed[-1].differences[0].what
    best = tuple(failed)
    size = max(len(best) // 2, 1)
    while size and time.monotonic() < end:
        at = len(best)
        while at > 0 and time.monotonic() < end:
            at = max(at - size, 0)
            steps = [p.step for i, p in enumerate(best) if not at <= i < at + size]
            found = replay_steps(stage, scheme, scope, steps)
            if found and found[-1].differences[0].what == what and len(found) < len(best):
                best = found
        size //= 2
    return best
