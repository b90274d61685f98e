"""Exhaustive search: every state of a scope, breadth first, so that the first trace is a shortest.

`explore` is a convenience on top of rmapcheck.search.question and rmapcheck.search.auto.
"""

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import Observer
from rmapcheck.search.auto import engine_for
from rmapcheck.search.checkpoint import Checkpoints
from rmapcheck.search.question import Answer, EngineError, Figures, Limits, Question, Reporter

__all__ = ["Answer", "EngineError", "Figures", "Reporter", "explore"]


def explore(
    scheme: type[Scheme],
    scope: Scope,
    *,
    symmetry: bool = True,
    named: tuple[str, ...] = (),
    max_depth: int | None = None,
    max_states: int | None = None,
    max_seconds: float | None = None,
    max_memory_mb: int | None = None,
    target: str = "",
    reporter: Reporter | None = None,
    engine: str = "auto",
    workers: int = 1,
    fingerprint: bool = False,
    checkpoints: Checkpoints | None = None,
    observer: Observer | None = None,
) -> Answer:
    """Search all states of `scheme` in `scope`.

    The verdict is VIOLATED with a shortest trace, HOLDS "exhaustive" when the frontier ran empty,
    HOLDS "bounded" when only `max_depth` stopped it, else UNKNOWN. Limits: operations, states,
    seconds, megabytes of the process's memory. `target`: only a violation of this invariant, or
    of these, separated by commas, ends the search; HOLDS then speaks of no other. `named`: pools
    whose objects keep their numbers, so that states which differ in these alone are two. Raises
    SchemeError for a scheme that breaks its interface, and EngineError if a trace does not replay.

    `engine`: "python" interprets, "native" compiles (EngineError if that cannot be done), "auto"
    compiles where it can and is worth while, or as the environment's RMAPCHECK_ENGINE says.

    In C, `workers` threads search (0: one a core), with the results of one. `fingerprint`: of an
    expanded state 64 bits are kept; HOLDS then names the probability that two states shared them.
    `checkpoints` need the search in C (CheckpointError if it cannot be). See
    docs/how-to/search-a-wide-scope.md.
    With an `observer`, who must be told of each step's events, the search is interpreted.
    """
    question = Question(
        scheme, scope, symmetry=symmetry, named=named, target=target, observer=observer
    )
    limits = Limits(
        depth=max_depth, states=max_states, seconds=max_seconds, memory_mb=max_memory_mb
    )
    chosen = engine_for(
        question, engine, workers=workers, fingerprint=fingerprint, checkpoints=checkpoints
    )
    return chosen.answer(question, limits, reporter)
