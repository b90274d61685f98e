"""Exhaustive search as a single function, `explore`.

It is a convenience on top of rmapcheck.search.question and rmapcheck.search.auto.
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
    """Search all states of `scheme` in `scope`, breadth first.

    The verdict is VIOLATED with a shortest trace; HOLDS "exhaustive" if every state was searched;
    HOLDS "bounded" if only `max_depth` ended the search; otherwise UNKNOWN. Raise SchemeError for
    a scheme that does not keep to its interface, and EngineError if a trace does not replay.

    `symmetry`: count states that differ only in the numbers of objects as one.
    `named`: pools whose objects keep their numbers; states that differ in these are not the same.
    `max_depth` … `max_memory_mb`: limits on operations, states, seconds of CPU time, and memory
    of the process.
    `target`: end the search only for a violation of this invariant, or of these, separated by
    commas; HOLDS then says nothing about other invariants.
    `reporter`: gets the progress of the search.
    `engine`: "python" interprets the model, "native" compiles it to C (or raises EngineError),
    "auto" compiles if that is possible and worth the time. The environment variable
    RMAPCHECK_ENGINE replaces "auto".
    `workers`: threads of the search in C; 0 means one for each core. The result is the same.
    `fingerprint`: keep only 64 bits of an expanded state; HOLDS then names the probability that
    two states had the same.
    `checkpoints`: where to save the search. Needs the search in C; raise CheckpointError without.
    `observer`: gets the events of each step; the search is then interpreted.

    See also docs/how-to/search-a-wide-scope.md.
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
