"""The plain seeded walker: it does not shrink, but takes many more steps a second than Hypothesis.

A walk is many short runs from boot. Each run plays with a random part of the operations, and likes
some better than others (swarm testing): a bug that needs many forks in a row is found sooner by a
run that has little else to do. A step first draws the class of the operation, then one of its
possible operations, so that the many ways to call mremap() do not drown the one way to exit.

A walk depends on its seed, its scheme and its scope, and on nothing else.
"""

import time
from random import Random
from typing import TYPE_CHECKING

import attrs

from rmapcheck.explore import EngineError
from rmapcheck.invariants.goals import Goal, goals_of
from rmapcheck.model.operations import OPERATIONS, Operation
from rmapcheck.run import Observer, Run, replay
from rmapcheck.verdict import Status, Verdict

if TYPE_CHECKING:
    from rmapcheck.invariants.registry import Violation
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.scheme import Scheme

ALWAYS = ("mmap", "fault")
"""Groups that every run has: without a mapped page there is no rmap."""
WEIGHTS = (0, 1, 3, 10)
"""How often, next to the others, a run may draw a class of operations; never 0 for `ALWAYS`."""
FAIL = 0.2
"""Probability that a step is taken again with one of its allocations failing."""
CHECK_EVERY = 64
"""Steps between two looks at the clock."""


@attrs.frozen(kw_only=True)
class WalkResult:
    """A verdict, and what the walk has met on its way to it."""

    verdict: Verdict
    steps: int
    """Operations carried out, set-up included."""
    runs: int
    goals: dict[str, int]
    """In how many runs each goal was reached; all goals of the scheme in the scope are listed."""
    cut: dict[str, int]
    """Steps dropped because the scope had no more of a pool's objects."""
    seconds: float

    @property
    def missed(self) -> tuple[str, ...]:
        """Goals that no run reached."""
        return tuple(name for name, runs in self.goals.items() if runs == 0)


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


class Walker:
    """One walk. `sample` runs it; tests look into it."""

    def __init__(
        self,
        scheme: "type[Scheme]",
        scope: "Scope",
        *,
        seed: int,
        target: str = "",
        observer: Observer | None = None,
    ) -> None:
        self.scheme = scheme
        self.scope = scope
        self.seed = seed
        self.target = target
        self.observer = observer
        self.rng = Random(seed)
        self.goals = dict.fromkeys((g.name for g in goals_of(scheme, scope)), 0)
        self.cut: dict[str, int] = {}
        self.steps = 0
        self.runs = 0
        self.started = time.monotonic()
        self.restart()

    def restart(self) -> None:
        """Boot a new machine and draw what it may play with."""
        self.machine = Run(self.scheme, self.scope, observer=self.observer)
        self.weights = drawn_weights(self.scope, self.rng)
        self.wanted: list[Goal] = goals_of(self.scheme, self.scope)
        self.runs += 1

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
        """Tell whether the last step or the state after it reaches `goal`."""
        if goal.predicate is None:
            return goal.name in self.machine.outcome.passed
        return goal.predicate(self.machine.st)

    def wants(self, found: "list[Violation]") -> bool:
        """Tell whether the walk may end with these violations."""
        if not self.target:
            return bool(found)
        return self.target in [v.invariant for v in found]

    def result(self, status: Status, **extra: object) -> WalkResult:
        """Sum up."""
        verdict = Verdict(
            status=status,
            scheme=self.scheme.name,
            scope=self.scope,
            engine="walk",
            seed=self.seed,
            **extra,  # type: ignore[arg-type]
        )
        return WalkResult(
            verdict=verdict,
            steps=self.steps,
            runs=self.runs,
            goals=self.goals,
            cut=dict(sorted(self.cut.items())),
            seconds=time.monotonic() - self.started,
        )

    def violated(self) -> WalkResult:
        """Replay the run so far on a machine of its own, and report what that one finds."""
        trace = tuple(self.machine.steps)
        again = replay(self.scheme, self.scope, trace, target=self.target, observer=self.observer)
        if not self.wants(list(again.violations)) or again.step != len(trace):
            raise EngineError(
                f"the walk with seed {self.seed} violated something at step {len(trace)}, "
                f"but its replay went otherwise and ended at step {again.step}"
            )
        return self.result(Status.VIOLATED, violations=again.violations, trace=trace)


def sample(
    scheme: "type[Scheme]",
    scope: "Scope",
    *,
    steps: int,
    seed: int,
    max_seconds: float | None = None,
    restart: int = 60,
    target: str = "",
    observer: Observer | None = None,
) -> WalkResult:
    """Try `steps` random operations, at most `restart` of them in one run.

    The verdict is VIOLATED with the trace that was met (not a shortest one), SAMPLED, or UNKNOWN
    if no step could be made. `target`: only a violation of this invariant ends the walk; a run
    goes on from any other, except an oops. Raises SchemeError for a scheme that breaks its
    interface, EngineError if a trace does not replay.
    """
    walker = Walker(scheme, scope, seed=seed, target=target, observer=observer)
    in_run = 0
    for tried in range(steps):
        if tried % CHECK_EVERY == 0 and max_seconds is not None:
            if time.monotonic() - walker.started > max_seconds:
                break
        found = walker.step()
        in_run += 1
        if found and walker.wants(found):
            return walker.violated()
        if found is None or walker.machine.outcome.oops is not None or in_run == restart:
            walker.restart()
            in_run = 0
    if walker.steps == 0:
        return walker.result(Status.UNKNOWN, why="no step could be made")
    return walker.result(Status.SAMPLED, how=f"{walker.steps} steps in {walker.runs} runs")


def walk(
    scheme: "type[Scheme]",
    scope: "Scope",
    *,
    steps: int,
    seed: int,
    max_seconds: float | None = None,
    restart: int = 60,
    target: str = "",
) -> Verdict:
    """Return the verdict of `sample`, which see."""
    return sample(
        scheme,
        scope,
        steps=steps,
        seed=seed,
        max_seconds=max_seconds,
        restart=restart,
        target=target,
    ).verdict
