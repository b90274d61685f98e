"""Exhaustive search: every state of a scope, breadth first, so that the first trace is a shortest.

States are stored exactly, in their canonical form: one state stands for all that differ only in
the names of processes, pages, slots and rmap objects. A trace is put together again with names
that stay the same from step to step, and is replayed by a machine of its own before it is
believed.

Two engines do this, with the same states, counts and traces: rmapcheck.search.interpreted,
interpreted, and rmapcheck.search.native, which makes C of the model's source
(docs/adr/0002-model-to-c.md).
"""

import os
from typing import Any

import attrs

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import Observer
from rmapcheck.search.checkpoint import CheckpointError, Checkpoints
from rmapcheck.search.interpreted import (
    CannotCompileError,
    Count,
    EngineError,
    Exploration,
    Reporter,
    Search,
)
from rmapcheck.search.native import memory
from rmapcheck.verdict import Status

__all__ = ["Count", "EngineError", "Exploration", "Reporter", "Search", "explore"]

CHECK_EVERY = 256
"""States between two looks at the clock and at memory."""
HEAD_START = 1000
"""States that are searched interpreted before "auto" calls the C compiler: a small search is over
before a compiler has started."""
COMPILING = 5.0
"""Seconds that must be left for "auto" to call the C compiler, which takes about two."""
ENGINES = ("auto", "native", "python")


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
) -> Exploration:
    """Search all states of `scheme` in `scope`.

    The verdict is VIOLATED with a shortest trace, HOLDS "exhaustive" when the frontier ran empty,
    HOLDS "bounded" when only `max_depth` stopped it, else UNKNOWN. Limits: operations, states,
    seconds, megabytes of the process's memory. `target`: only a violation of this invariant, or
    of these, parted by commas, ends the search; HOLDS then speaks of no other. `named`: pools
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
    if engine == "auto":
        engine = os.environ.get("RMAPCHECK_ENGINE") or engine
    if engine not in ENGINES:
        raise EngineError(f"no engine is called {engine!r}; choose among {', '.join(ENGINES)}")
    search = Search(
        scheme, scope, symmetry=symmetry, named=named, target=target, observer=observer
    )
    limits = _Limits(max_depth, max_states, max_seconds, max_memory_mb)
    threads = workers or len(os.sched_getaffinity(0))
    how = {"workers": threads, "fingerprint": fingerprint, "checkpoints": checkpoints}
    done = _search(search, limits, reporter, engine, how)
    if done.engine != "native" and workers > 1:
        done = attrs.evolve(done, notes=("the interpreted search runs with one worker",))
    if done.engine != "native" and fingerprint:
        exactly = "the interpreted search stores its states exactly, not as fingerprints"
        done = attrs.evolve(done, notes=(*done.notes, exactly))
    return done


def _search(
    search: Search,
    limits: "_Limits",
    reporter: Reporter | None,
    engine: str,
    how: dict[str, Any],
) -> Exploration:
    if (engine == "python" or search.observer) and not how["checkpoints"]:
        return _interpret(search, limits, reporter)
    if engine == "python" or search.observer:
        raise CheckpointError("the interpreted search has no checkpoints; leave --engine out")
    return _compile(search, limits, reporter, engine, how)


def _interpret(search: Search, limits: "_Limits", reporter: Reporter | None) -> Exploration:
    """Search interpreted, to the end."""
    done = _advance(search, limits, reporter, None)
    if done is None:
        raise EngineError("the search ended without a verdict")
    return done


def _compile(
    search: Search,
    limits: "_Limits",
    reporter: Reporter | None,
    engine: str,
    how: dict[str, Any],
) -> Exploration:
    """Search in C if possible; with "auto" only after a head start, unless all is built."""
    from rmapcheck.host import compile as build
    from rmapcheck.search.native.explore import explore_native
    from rmapcheck.search.native.translate import translate
    from rmapcheck.search.native.translator.source import Untranslatable

    try:
        translation = translate(
            search.scheme,
            search.scope,
            symmetry=search.symmetry,
            named=search.named_pools,
            target=search.target,
        )
        built = build.library_path(translation.source).exists()
        if engine == "auto" and not built and not how["checkpoints"]:
            done = _advance(search, limits, reporter, HEAD_START)
            if done is not None:
                return done
            if limits.seconds is not None and limits.seconds - search.seconds < COMPILING:
                search.engine = "python: too little time is left for the C compiler"
                return _interpret(search, limits, reporter)
        return explore_native(
            search.scheme,
            search.scope,
            symmetry=search.symmetry,
            named=search.named_pools,
            target=search.target,
            reporter=reporter,
            translation=translation,
            started=search.started,
            **limits.named(),
            **how,
        )
    except (Untranslatable, build.BuildError) as why:
        if engine == "native":
            raise CannotCompileError(f"the search cannot be compiled: {why}") from None
        if how["checkpoints"]:
            raise CheckpointError(f"checkpoints need the search in C, but: {why}") from None
        search.engine = f"python: {why}"
    return _interpret(search, limits, reporter)


def _advance(
    search: Search, limits: "_Limits", reporter: Reporter | None, states: int | None
) -> Exploration | None:
    """Search interpreted, to the end or until `states` are expanded; then return None."""
    if search.distinct == 0:
        found = search.start()
        if search.wants(found):
            return search.violated(search.ending(found), None, 0)
    while search.frontier:
        if limits.depth is not None and search.depth >= limits.depth:
            return search.result(Status.HOLDS, how=f"bounded, depth {limits.depth}")
        if states is not None and search.next >= states:
            return None
        index = search.next
        found, op = search.expand()
        if found:
            return search.violated(search.ending(found), op, index)
        if search.next % CHECK_EVERY == 0 or limits.states is not None:
            why = limits.reached(search)
            if why:
                return search.result(Status.UNKNOWN, why=why)
            if reporter:
                reporter.progress(search)
    return search.result(Status.HOLDS, how="exhaustive")


@attrs.frozen
class _Limits:
    depth: int | None
    states: int | None
    seconds: float | None
    memory_mb: int | None

    def named(self) -> dict[str, Any]:
        """Return the limits as `explore` calls them."""
        return {
            "max_depth": self.depth,
            "max_states": self.states,
            "max_seconds": self.seconds,
            "max_memory_mb": self.memory_mb,
        }

    def reached(self, search: Search) -> str:
        """Return which limit ended the search, or ""."""
        if self.states is not None and search.distinct >= self.states:
            return f"{self.states} states reached, depth {search.depth} not finished"
        if self.seconds is not None and search.seconds > self.seconds:
            return f"{self.seconds:g} s used, depth {search.depth} not finished"
        if self.memory_mb is not None:
            if memory.used() > self.memory_mb * memory.MEGABYTE:
                return f"{self.memory_mb} MB used, depth {search.depth} not finished"
        return ""
