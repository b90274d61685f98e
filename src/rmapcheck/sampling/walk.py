"""The plain seeded walker: it does not shrink, but takes many more steps a second than Hypothesis.

A walk is many short runs from boot. Each run plays with a random part of the operations, and likes
some better than others (swarm testing): a bug that needs many forks in a row is found sooner by a
run that has little else to do. A step first draws the class of the operation, then one of its
possible operations, so that the many ways to call mremap() do not drown the one way to exit.

A walk depends on its seed, its scheme and its scope, and on nothing else.
"""

import itertools
import time
from random import Random
from typing import TYPE_CHECKING

import attrs

from rmapcheck.invariants.goals import Goal, goals_of
from rmapcheck.model.operations import OPERATIONS, Operation
from rmapcheck.run import Run
from rmapcheck.search.question import Answer, EngineError, Limits, Question, Reporter
from rmapcheck.verdict import Status, Verdict

if TYPE_CHECKING:
    from rmapcheck.invariants.registry import Violation
    from rmapcheck.model.machine.scope import Scope

ALWAYS = ("mmap", "fault")
"""Groups that every run has: without a mapped page there is no rmap."""
WEIGHTS = (0, 1, 3, 10)
"""How often, next to the others, a run may draw a class of operations; never 0 for `ALWAYS`."""
FAIL = 0.2
"""Probability that a step is taken again with one of its allocations failing."""
CHECK_EVERY = 64
"""Steps between two looks at the clock."""


def classes_of(scope: "Scope") -> list[type[Operation]]:
    """Return the operation classes that `scope` has, in the order of `OPERATIONS`."""
    return [cls for cls in OPERATIONS if cls.exists(scope)]


def drawn_weights(scope: "Scope", rng: Random) -> dict[type[Operation], int]:
    """Return the operation classes that one run is to play with, and how often it draws each."""
    weights = {}
    for cls in classes_of(scope):
        weight = rng.choice(WEIGHTS[1:] if cls.group in ALWAYS else WEIGHTS)
        if weight:
            weights[cls] = weight
    return weights


def failing_once_more(machine: Run, raw: bytes, op: Operation, k: int) -> "list[Violation]":
    """Take back `op`, the last step, from state `raw`; repeat it with allocation `k` failing."""
    machine.steps.pop()
    machine.st.layout.load_raw(machine.st, raw)
    return machine.apply(attrs.evolve(op, fail=k))


class Walk:
    """One walk. `Walker` takes it; tests look into it."""

    def __init__(self, question: Question, seed: int) -> None:
        self.question = question
        self.scope = question.scope
        self.seed = seed
        self.rng = Random(seed)
        self.goals = dict.fromkeys((g.name for g in goals_of(question.scheme, self.scope)), 0)
        self.cut: dict[str, int] = {}
        self.steps = 0
        """Operations carried out, set-up included."""
        self.runs = 0
        self.in_run = 0
        """Operations tried in this run."""
        self.started = Limits.clock()
        self.began = time.monotonic()
        self.restart()

    def restart(self) -> None:
        """Boot a new machine and draw what it may play with."""
        question = self.question
        self.machine = Run(question.scheme, self.scope, observer=question.observer)
        self.weights = drawn_weights(self.scope, self.rng)
        self.wanted: list[Goal] = goals_of(question.scheme, self.scope)
        self.runs += 1
        self.in_run = 0

    def draw(self) -> Operation | None:
        """Return an operation that is possible now: its class first, then itself."""
        weights = dict(self.weights)
        while weights:
            cls = self.rng.choices(list(weights), list(weights.values()))[0]
            ops = list(cls.possible(self.machine.st))
            if ops:
                return self.rng.choice(ops)
            del weights[cls]
        return None

    def step(self) -> "list[Violation] | None":
        """Take one step and return what it violates, or None when nothing is possible."""
        self.in_run += 1
        op = self.draw()
        if op is None:
            return None
        fails = self.scope.alloc_fail and self.rng.random() < FAIL
        raw = self.machine.st.layout.encode_raw(self.machine.st) if fails else b""
        found = self.machine.apply(op)
        allocations = self.machine.outcome.allocations
        if fails and allocations and not found and not self.machine.outcome.exhausted:
            found = failing_once_more(self.machine, raw, op, self.rng.randint(1, allocations))
        self.note()
        return found

    def note(self) -> None:
        """Count the step, and the goals that this run had not reached before."""
        outcome = self.machine.outcome
        if outcome.exhausted:
            self.cut[outcome.exhausted] = self.cut.get(outcome.exhausted, 0) + 1
            return
        self.steps += 1
        if outcome.oops is not None:
            return
        for goal in self.wanted:
            if self.reaches(goal):
                self.goals[goal.name] += 1
        if any(self.reaches(goal) for goal in self.wanted):
            self.wanted = [g for g in self.wanted if not self.reaches(g)]

    def reaches(self, goal: Goal) -> bool:
        """Return whether the last step or the state after it reaches `goal`."""
        if goal.predicate is None:
            return goal.name in self.machine.outcome.passed
        return goal.predicate(self.machine.st)

    def result(self, status: Status, **extra: object) -> Answer:
        """Return the answer with this verdict and the counts of the walk."""
        verdict = Verdict(
            status=status,
            scheme=self.question.scheme.name,
            scope=self.scope,
            engine="walk",
            seed=self.seed,
            **extra,  # type: ignore[arg-type]
        )
        return Answer(
            verdict=verdict,
            generated=self.steps,
            runs=self.runs,
            seconds=time.monotonic() - self.began,
            goals=self.goals,
            cut=dict(sorted(self.cut.items())),
            engine="walk",
        )

    def violated(self) -> Answer:
        """Replay the run so far on a machine of its own, and report what that one finds."""
        trace = tuple(self.machine.steps)
        again = self.question.replay(trace)
        if not self.question.wants(again.violations) or again.step != len(trace):
            raise EngineError(
                f"the walk with seed {self.seed} violated something at step {len(trace)}, "
                f"but its replay went otherwise and ended at step {again.step}"
            )
        return self.result(Status.VIOLATED, violations=again.violations, trace=trace)

    def sampled(self) -> Answer:
        """Say that nothing was violated, and in how many steps."""
        if self.steps == 0:
            return self.result(Status.UNKNOWN, why="no step could be made")
        return self.result(Status.SAMPLED, how=f"{self.steps} steps in {self.runs} runs")


@attrs.frozen(kw_only=True)
class Walker:
    """The engine that walks at random; a walk needs a limit of steps or of seconds.

    The verdict is VIOLATED with the trace that was met (not a shortest one), SAMPLED, or UNKNOWN
    if no step could be made. A run continues after a violation that does not answer the question,
    except after an oops.
    """

    seed: int
    restart: int = 60
    """Operations in one run, at most."""
    walk: type[Walk] = Walk
    """How operations are drawn."""

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Try random operations until a limit is reached."""
        if limits.steps is None and limits.seconds is None:
            raise EngineError("a walk needs a limit of steps or of seconds")
        walk = self.walk(question, self.seed)
        for tried in itertools.count():
            if tried == limits.steps:
                break
            if tried % CHECK_EVERY == 0 and limits.left(walk.started) < 0:
                break
            found = walk.step()
            if found and question.wants(found):
                return walk.violated()
            ended = found is None or walk.machine.outcome.oops is not None
            if ended or walk.in_run == self.restart:
                walk.restart()
        return walk.sampled()
