"""A question about a scheme, the limits of its cost, the engine that answers, and the answer.

::

    Question   scheme, scope, and what counts: symmetry, target …     what is asked
    Limits     depth, states, seconds, memory …                       what may be spent
    Engine     interpreted, in C, the walker, Hypothesis              who answers
    Answer     the verdict, and what was covered                      one form for all engines

How an engine works (workers, seed, checkpoints) is given to its constructor. rmapcheck.explore is
all of this as one function. See docs/adr/0015-question-limits-engine.md.
"""

import math
import time
from collections.abc import Sequence
from typing import Protocol

import attrs

from rmapcheck.invariants.registry import Violation, wanted
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import NotPossible, Observer, Replayed, replay
from rmapcheck.verdict import Status, Verdict


class EngineError(Exception):
    """The search contradicts itself, so that none of its results can be trusted."""


class CannotCompileError(EngineError):
    """The search cannot be compiled, although that was requested; the argument is the reason."""

    def __str__(self) -> str:
        return f"the search cannot be compiled: {self.args[0]}"


@attrs.frozen
class Question:
    """The question whether the invariants hold for a scheme in a scope."""

    scheme: type[Scheme]
    scope: Scope
    symmetry: bool = attrs.field(default=True, kw_only=True)
    """Whether states that differ only in names of objects count as one, in exhaustive search."""
    named: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """Pools whose objects keep their names (their numbers) even with symmetry."""
    target: str = attrs.field(default="", kw_only=True)
    """Names of invariants, separated by commas: only their violations count. "": all count."""
    observer: Observer | None = attrs.field(default=None, kw_only=True)
    """Gets the events of each step, and has an invariant. Only interpreted code calls it."""
    base: type[Scheme] | None = attrs.field(default=None, kw_only=True)
    """What this scheme violates in the same run is known, and does not count; see `is_known`."""

    def wants(self, found: Sequence[Violation]) -> bool:
        """Return whether one of these violations counts, and so ends the search."""
        return any(wanted(self.target, v.invariant) for v in found)

    def ending(self, found: Sequence[Violation]) -> str:
        """Return the invariant of the first violation that counts."""
        return next(v.invariant for v in found if wanted(self.target, v.invariant))

    def is_known(self, trace: Sequence[Operation], found: Sequence[Violation]) -> bool:
        """Return whether `base` violates the same invariants at the end of the same run."""
        names = {v.invariant for v in found if wanted(self.target, v.invariant)}
        if self.base is None:
            return False
        try:
            theirs = replay(self.base, self.scope, trace, target=",".join(names))
        except NotPossible:
            return False
        also = {v.invariant for v in theirs.violations}
        return theirs.step == len(trace) and names <= also

    def knows(self, verdict: Verdict) -> bool:
        """Return whether the verdict is VIOLATED, and `base` violates the same in that run."""
        violated = verdict.status is Status.VIOLATED
        return violated and self.is_known(verdict.trace, verdict.violations)

    def replay(self, steps: Sequence[Operation]) -> Replayed:
        """Repeat a run on another machine, up to the first violation that counts."""
        return replay(self.scheme, self.scope, steps, target=self.target, observer=self.observer)


@attrs.frozen(kw_only=True)
class Limits:
    """What may be spent; None means unlimited. An engine keeps these limits and ignores others:

    ============  ======  ======  ==========
    limit         search  walker  Hypothesis
    ============  ======  ======  ==========
    `depth`       yes
    `states`      yes
    `memory_mb`   yes
    `seconds`     yes     yes     yes
    `steps`               yes
    `runs`                        yes
    ============  ======  ======  ==========

    A search that reaches its `depth` can say HOLDS (bounded). With any other limit it is UNKNOWN.
    """

    depth: int | None = None
    """Operations from boot."""
    states: int | None = None
    """States stored."""
    memory_mb: int | None = None
    """Megabytes of the process's memory."""
    seconds: float | None = None
    """Of CPU time, by `clock`."""
    steps: int | None = None
    """Operations that a walk tries, including those for which the scope is too small."""
    runs: int | None = None
    """Runs from boot."""

    @staticmethod
    def clock() -> float:
        """Return the CPU time, in seconds, of all threads of this process.

        All budgets are counted in it, so that a busy machine delays an answer, and does not turn
        HOLDS into UNKNOWN. What a C compiler takes is not counted.
        """
        return time.process_time()

    def left(self, started: float) -> float:
        """Return how many seconds are left of a run that began at `started`; maybe infinity."""
        if self.seconds is None:
            return math.inf
        return self.seconds - (self.clock() - started)


@attrs.define
class Count:
    """How often one kind of operation was offered, and how often it led to a new state."""

    enabled: int = 0
    fired: int = 0


@attrs.frozen(kw_only=True)
class Answer:
    """A verdict, and what the run covered. What an engine does not count is 0."""

    verdict: Verdict
    generated: int
    """Steps taken: transitions of a search, operations of random runs."""
    distinct: int = 0
    """States stored (orbits, with symmetry)."""
    depth: int = 0
    """Operations from boot to the last state reached by a search."""
    runs: int = 0
    """Random runs, each from boot."""
    seconds: float
    """Time on the wall."""
    per_operation: dict[str, Count] = attrs.Factory(dict)
    goals: dict[str, int] = attrs.Factory(dict)
    """For each goal that the scope allows, how many runs reached it; a search counts as one."""
    cut: dict[str, int] = attrs.Factory(dict)
    """For each pool, how many steps were dropped because the scope had no more of its objects."""
    known: tuple[tuple[Violation, ...], ...] = ()
    """Violations that the question's `base` has too, those of one step or state together. Of steps
    that violate the same invariants only the first is here."""
    arms: frozenset[str] = frozenset()
    """Keys of the arms that a search ran, among others; see rmapcheck.search.coverage."""
    engine: str
    """Which engine answered; the reason too, if another was requested: "python: no C compiler"."""
    notes: tuple[str, ...] = ()
    """What was requested and was not done, in sentences."""

    @property
    def reached(self) -> tuple[str, ...]:
        """Goals that a state or a step reached."""
        return tuple(name for name, times in self.goals.items() if times)

    @property
    def vacuous(self) -> tuple[str, ...]:
        """Goals that the scope allows, but no state or step reached."""
        return tuple(name for name, times in self.goals.items() if not times)


@attrs.frozen
class Figures:
    """The progress of a search."""

    states: int
    """Stored."""
    steps: int
    """Transitions taken."""
    depth: int
    frontier: int
    """States stored and not yet expanded."""
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.states} states, {self.steps} steps, depth {self.depth}, "
            f"{self.frontier} states to expand"
        )


class Reporter(Protocol):
    """Gets the progress of a search while it runs, and may print it."""

    def progress(self, figures: Figures) -> None:
        """Handle the progress. The search calls this often. An exception ends the search."""


class Engine(Protocol):
    """Answers questions within limits.

    Raises SchemeError for a scheme that breaks its interface. Before an engine says VIOLATED,
    another machine repeats the trace; if it finds something else, the engine raises EngineError.
    """

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Return the answer, whose verdict is UNKNOWN if a limit was reached first."""
