"""What is asked of a scheme, what may be spent on the answer, and who answers.

::

    Question   scheme, scope, and what counts: symmetry, target …     what is asked
    Limits     depth, states, seconds, memory …                       what may be spent
    Engine     interpreted, in C, the walker, Hypothesis              who answers
    Answer     the verdict, and what was covered on the way to it     the same from all of them

How an engine goes about it (workers, seed, checkpoints) is a matter of the engine, and given where
it is made. rmapcheck.explore is a convenience on top. See docs/adr/0015-question-limits-engine.md.
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
from rmapcheck.run import Observer, Replayed, replay
from rmapcheck.verdict import Verdict


class EngineError(Exception):
    """The search contradicts itself; nothing it says can be believed."""


class CannotCompileError(EngineError):
    """The search was to be compiled, and cannot be, for the reason that is the argument."""

    def __str__(self) -> str:
        return f"the search cannot be compiled: {self.args[0]}"


@attrs.frozen
class Question:
    """Whether the invariants hold of a scheme in a scope."""

    scheme: type[Scheme]
    scope: Scope
    symmetry: bool = attrs.field(default=True, kw_only=True)
    """Whether states that differ in names of objects alone are one; for exhaustive search."""
    named: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """Pools whose objects keep their numbers all the same."""
    target: str = attrs.field(default="", kw_only=True)
    """Only violations of this invariant, or of these, separated by commas, are an answer."""
    observer: Observer | None = attrs.field(default=None, kw_only=True)
    """Gets the events of each step and judges by them. Only interpreted code calls it."""

    def wants(self, found: Sequence[Violation]) -> bool:
        """Tell whether these violations are an answer."""
        return any(wanted(self.target, v.invariant) for v in found)

    def ending(self, found: Sequence[Violation]) -> str:
        """Return the name of the first violation that is an answer."""
        return next(v.invariant for v in found if wanted(self.target, v.invariant))

    def replay(self, steps: Sequence[Operation]) -> Replayed:
        """Repeat a run on a machine of its own, up to the first violation that is an answer."""
        return replay(self.scheme, self.scope, steps, target=self.target, observer=self.observer)


@attrs.frozen(kw_only=True)
class Limits:
    """What may be spent; None means unlimited. An engine keeps those that it can count.

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

    Only `depth` leaves a verdict HOLDS, which then says "bounded".
    """

    depth: int | None = None
    """Operations from boot."""
    states: int | None = None
    """States stored."""
    memory_mb: int | None = None
    """Megabytes of the process's memory."""
    seconds: float | None = None
    """By `clock`."""
    steps: int | None = None
    """Operations that a walk tries, those included for which the scope has no room."""
    runs: int | None = None
    """Runs from boot."""

    @staticmethod
    def clock() -> float:
        """Return the time, in seconds, that every budget of ours is counted in: wall time.

        The one place to change, should budgets count something else, such as CPU time.
        """
        return time.monotonic()

    def left(self, started: float) -> float:
        """Return the seconds that are left of those since `started`; infinity if unlimited."""
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
    """A verdict, and what was covered on the way to it. What an engine cannot count is 0."""

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
    per_operation: dict[str, Count] = attrs.Factory(dict)
    goals: dict[str, int] = attrs.Factory(dict)
    """Goals that the scope has room for, and how many runs reached each; 1 if a search did."""
    cut: dict[str, int] = attrs.Factory(dict)
    """Steps dropped because the scope had no more of a pool's objects."""
    engine: str
    """Who answered, and why if that is another than asked for: "python: no C compiler"."""
    notes: tuple[str, ...] = ()
    """What was asked of the engine and did not come to pass."""

    @property
    def reached(self) -> tuple[str, ...]:
        """Goals that some state or step reached."""
        return tuple(name for name, times in self.goals.items() if times)

    @property
    def vacuous(self) -> tuple[str, ...]:
        """Goals that the scope has room for and nothing reached."""
        return tuple(name for name, times in self.goals.items() if not times)


@attrs.frozen
class Figures:
    """How far a search is."""

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
    """Gets the figures of a search while it runs; knows the terminal, so the search need not."""

    def progress(self, figures: Figures) -> None:
        """Called often; what it raises ends the search."""


class Engine(Protocol):
    """Answers questions within limits.

    Raises SchemeError for a scheme that breaks its interface, and EngineError if a trace does not
    replay: VIOLATED is said only of a trace that a machine of its own has repeated.
    """

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Answer a question, or say UNKNOWN when a limit is reached first."""
