"""Hypothesis: one state machine for every scheme, drawn from the operations possible now.

There is one generic rule. It draws a class of operations among those that have something to do,
then one of its operations, so that no step is wasted on the impossible. Before the first step the
machine draws how much it likes each class, some not at all (swarm testing;
`rmapcheck.sampling.walk` does the same). At the end of each run, `target()` gets how rare its
states were, so that Hypothesis looks for more of that kind.

Hypothesis shrinks such runs slowly and stops early, so it may do so only for a while; our own
`minimize` does the rest.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from hypothesis import HealthCheck, Phase, Verbosity, configuration, reject, settings
from hypothesis import seed as seeded
from hypothesis import strategies as draw
from hypothesis import target as aim_at
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from rmapcheck.cases.minimize import minimize
from rmapcheck.invariants.completeness import mappers
from rmapcheck.model.machine.structs import CORE
from rmapcheck.run import Run, replay
from rmapcheck.sampling.walk import ALWAYS, WEIGHTS, classes_of, failing_once_more
from rmapcheck.search.question import Answer, EngineError, Limits, Question, Reporter
from rmapcheck.verdict import Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmapcheck.invariants.registry import Violation
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.operations import Operation
    from rmapcheck.model.scheme import Scheme


RUNS = 200
"""Runs of Hypothesis, unless a limit says otherwise."""


class InvariantViolated(AssertionError):  # noqa: N818 - it is the program under test that errs
    """A run whose last step violates an invariant; its text is the reason and the run."""

    def __init__(
        self,
        scheme: "type[Scheme]",
        scope: "Scope",
        steps: "Sequence[Operation]",
        violations: "Sequence[Violation]",
    ) -> None:
        self.steps = tuple(steps)
        self.violations = tuple(violations)
        first = violations[0]
        super().__init__(
            f"{scheme.name} violates {first.invariant} at step {len(steps)}.\n{first}\n\n"
            f"{program(scheme, scope, steps)}"
        )


@cache
def violation_of(invariant: str) -> type[InvariantViolated]:
    """Return the exception for one invariant.

    Hypothesis tells failures apart by their type; so it never shrinks one into another.
    """
    return type("InvariantViolated", (InvariantViolated,), {"invariant": invariant})


class Enough(KeyboardInterrupt):
    """Ends Hypothesis from within: the one exception after which it does not look for a reason."""


def program(scheme: "type[Scheme]", scope: "Scope", steps: "Sequence[Operation]") -> str:
    """Return a Python program that repeats a run."""
    names = sorted({type(op).__name__ for op in steps})
    given = [
        f"{a.name}={getattr(scope, a.name)!r}"
        for a in attrs.fields(type(scope))
        if getattr(scope, a.name) != a.default
    ]
    return "\n".join(
        [
            f"from rmapcheck.model.operations import {', '.join(names)}",
            "from rmapcheck.model.machine.scope import Scope",
            "from rmapcheck.run import replay",
            f"from {scheme.__module__} import {scheme.__qualname__}",
            "",
            f"scope = Scope({', '.join(given)})",
            "steps = [",
            *(f"    {op}," for op in steps),
            "]",
            f"print(*replay({scheme.__qualname__}, scope, steps).violations)",
        ]
    )


def rarities(st: "Kernel") -> dict[str, int]:
    """Return what makes a state rare, by name: the more, the rarer."""
    pools = [n for n in st.layout.structs if n not in CORE]
    longest = max((getattr(st, n).live for n in pools), default=0)
    sharers = max((len(pteps) for pteps in mappers(st).values()), default=0)
    return {"rmap objects of one kind": longest, "mappings of one page": sharers}


class RmapMachine(RuleBasedStateMachine):
    """Base of all machines; `machine_for` makes one for a scheme in a scope."""

    question: ClassVar[Question]
    taken: ClassVar[int] = 0
    """Steps of all runs so far."""
    runs: ClassVar[int] = 0
    limits: ClassVar[Limits] = Limits()
    started: ClassVar[float] = 0.0
    """When the limits began to count."""
    shrinks: ClassVar[int | None] = None
    """How many more runs Hypothesis may make after the first failure; None: do not count."""
    best: ClassVar[InvariantViolated | None] = None
    """The shortest failure so far."""
    broken: ClassVar[BaseException | None] = None
    """What the scheme raised, if it broke down."""

    def __init__(self) -> None:
        super().__init__()
        self.stop_if_enough()
        type(self).runs += 1
        question = self.question
        self.machine = Run(question.scheme, question.scope, observer=question.observer)
        self.classes: list[type[Operation]] = []
        self.rarest: dict[str, int] = {}

    @initialize(data=draw.data())
    def choose(self, data: draw.DataObject) -> None:
        """Draw how often this run is to draw each class of operations."""
        for cls in classes_of(self.question.scope):
            weights = WEIGHTS[1:] if cls.group in ALWAYS else WEIGHTS
            self.classes += [cls] * data.draw(draw.sampled_from(weights), cls.name)

    @rule(data=draw.data())
    def step(self, data: draw.DataObject) -> None:
        """Draw an operation that is possible now, carry it out, and check every invariant."""
        st = self.machine.st
        ready = {cls for cls in set(self.classes) if next(cls.possible(st), None)}
        classes = [cls for cls in self.classes if cls in ready]
        if not classes:
            reject()
        cls = data.draw(draw.sampled_from(classes))
        op = data.draw(draw.sampled_from(list(cls.possible(st))))
        self.judge(self.carry_out(op, data))

    def stop_if_enough(self) -> None:
        """Raise Enough when the time or the runs for shrinking are used up."""
        made = type(self)
        if made.limits.left(made.started) < 0:
            raise Enough
        if made.best is not None and made.shrinks is not None:
            made.shrinks -= 1
            if made.shrinks < 0:
                raise Enough

    def carry_out(self, op: "Operation", data: draw.DataObject) -> "list[Violation]":
        """Apply `op`, and perhaps again with one of its allocations failing."""
        st = self.machine.st
        raw = st.layout.encode_raw(st) if self.question.scope.alloc_fail else b""
        found = self.attempt(lambda: self.machine.apply(op))
        outcome = self.machine.outcome
        if raw and outcome.allocations and not found and not outcome.exhausted:
            k = data.draw(draw.integers(0, outcome.allocations), "fail")
            if k:
                found = self.attempt(lambda: failing_once_more(self.machine, raw, op, k))
        type(self).taken += not self.machine.outcome.exhausted
        return found

    def attempt(self, step: "Callable[[], list[Violation]]") -> "list[Violation]":
        """Take a step; if the scheme breaks down, let `fuzz` say so at once, without shrinking."""
        try:
            return step()
        except (Exception, SystemExit) as error:
            if self.shrinks is None:
                raise
            type(self).broken = error
            raise Enough from error

    def judge(self, found: "list[Violation]") -> None:
        """Raise what counts, give up a run after another oops, else note how rare the state is."""
        wanted = [v for v in found if self.question.wants([v])]
        if wanted:
            raise self.failure([*wanted, *(v for v in found if v not in wanted)])
        if self.machine.outcome.oops is not None:
            reject()
        for name, value in rarities(self.machine.st).items():
            self.rarest[name] = max(value, self.rarest.get(name, 0))

    def failure(self, found: "Sequence[Violation]") -> InvariantViolated:
        """Return the exception for a run that ends in `found`; minimised, unless `fuzz` runs."""
        made = type(self)
        scheme, scope = self.question.scheme, self.question.scope
        steps = tuple(self.machine.steps)
        if made.shrinks is None:
            steps = minimize(scheme, scope, steps, found[0].invariant, max_seconds=5)
            found = replay(scheme, scope, steps, target=found[0].invariant).violations
        error = violation_of(found[0].invariant)(scheme, scope, steps, found)
        if made.best is None or len(steps) < len(made.best.steps):
            made.best = error
        return error

    def teardown(self) -> None:
        """Tell Hypothesis how rare the states of this run were."""
        for name, value in self.rarest.items():
            aim_at(value, label=name)


def machine_for(scheme: "type[Scheme]", scope: "Scope", *, target: str = "") -> type[RmapMachine]:
    """Return the machine of `scheme` in `scope`; its `TestCase` is a test for pytest.

    `target`: only a violation of this invariant counts as a failure. The test leaves shrinking to
    `minimize`, since Hypothesis would take minutes for it.
    """
    made = _machine_of(Question(scheme, scope, target=target))
    made.TestCase.settings = settings(
        deadline=None,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        phases=[phase for phase in settings().phases if phase is not Phase.shrink],
    )
    return made


def _machine_of(question: Question) -> type[RmapMachine]:
    body: dict[str, Any] = {"question": question, "__module__": __name__}
    made: type[RmapMachine] = type(f"{question.scheme.__name__}Machine", (RmapMachine,), body)
    return made


@contextmanager
def no_trace_left() -> Iterator[None]:
    """Let Hypothesis keep its notes in a folder that is gone afterwards, not in the user's."""
    before = configuration.storage_directory()
    with tempfile.TemporaryDirectory(prefix="rmapcheck-") as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(Path(str(before)))


def run_quietly(made: type[RmapMachine], examples: int, steps: int) -> None:
    """Run the machine without printing or storing anything; `made.best` is what it found."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    try:
        with no_trace_left():
            run_state_machine_as_test(made, settings=chosen)
    except (InvariantViolated, Enough):
        return
    except Flaky as flaky:
        cause = interruption(flaky)
        if cause is not None:
            raise cause from None
        raise EngineError("the same operations did not lead to the same state twice") from flaky


def interruption(error: BaseException | None) -> BaseException | None:
    """Return what interrupted a run from without, where Hypothesis took that for flakiness."""
    while isinstance(error, Exception):
        error = error.__context__
    return error


def confirmed(question: Question, found: InvariantViolated) -> "tuple[Violation, ...]":
    """Return what a machine of its own finds at the end of the run that Hypothesis found."""
    again = question.replay(found.steps)
    if again.step != len(found.steps) or not again.violations:
        raise EngineError(
            f"Hypothesis violated {found.violations[0].invariant} at step {len(found.steps)}, "
            f"but the replay went otherwise and ended at step {again.step}"
        )
    return again.violations


@attrs.frozen(kw_only=True)
class Hypothesis:
    """The engine that lets Hypothesis draw and shrink; it prints nothing, and stores nothing.

    The verdict is VIOLATED with the trace as Hypothesis shrank it, SAMPLED, or UNKNOWN if no step
    could be made.
    """

    seed: int = 0
    length: int = 50
    """Operations in one run, at most."""
    shrinks: int = 30
    """Further runs after the first failure, at most."""

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Let Hypothesis try `limits.runs` runs, or 200."""
        made = _machine_of(question)
        made.shrinks = self.shrinks
        made.limits, made.started = limits, limits.clock()
        began = time.monotonic()
        runs = RUNS if limits.runs is None else limits.runs
        run_quietly(seeded(self.seed)(made), runs, self.length)
        if made.broken is not None:
            raise made.broken
        return Answer(
            verdict=self._verdict(made),
            generated=made.taken if made.best is None else 0,  # shrinking repeats steps
            runs=made.runs,
            seconds=time.monotonic() - began,
            engine="fuzz",
        )

    def _verdict(self, made: type[RmapMachine]) -> Verdict:
        question = made.question
        base: dict[str, Any] = {"scheme": question.scheme.name, "scope": question.scope}
        base |= {"engine": "fuzz", "seed": self.seed}
        if made.best is not None:
            found = confirmed(question, made.best)
            base |= {"violations": found, "trace": made.best.steps}
            return Verdict(status=Status.VIOLATED, **base)
        if made.taken == 0:
            return Verdict(status=Status.UNKNOWN, why="no step could be made", **base)
        return Verdict(status=Status.SAMPLED, how=f"{made.taken} steps by Hypothesis", **base)
