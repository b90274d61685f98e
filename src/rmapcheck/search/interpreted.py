"""The interpreted engine: an exhaustive search, breadth first, of the model as it is in Python.

States are stored exactly, in their canonical form: one stored state stands for all states that
differ only in the names of processes, pages, slots and rmap objects. So each stored step may use
other names than the step before. A trace is rewritten with names that stay the same from step to
step, and another machine replays it before it is reported.
"""

import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from rmapcheck.invariants.goals import Goal, goals_of
from rmapcheck.invariants.isolation import projection
from rmapcheck.invariants.registry import (
    Step,
    Violation,
    applicable,
    check_state,
    check_step,
)
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.operations import (
    OPERATIONS,
    Operation,
    Outcome,
    boot,
    possible_operations,
    rename,
    run,
)
from rmapcheck.search import arms, memory
from rmapcheck.search.question import (
    Answer,
    Count,
    EngineError,
    Figures,
    Limits,
    Question,
    Reporter,
)
from rmapcheck.verdict import Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK_EVERY = 256
"""How many states are expanded between two checks of time and memory."""


def out_of_range(op: Operation, error: ValueError) -> Violation:
    """Return the violation for a number that does not fit into a byte.

    Only its name is used: the replay of the trace finds the violation again, and says more.
    """
    let = f"n be a number that {op} sets"
    return Violation(let, "n must fit", str(error), invariant="out_of_range")


class Search:
    """One exhaustive search. `Interpreted` runs it; tests read its attributes."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.scope = question.scope
        self.symmetry = question.symmetry
        self.st = Kernel(self.scope, question.scheme(), named=question.named)
        self.st.every_name = not question.symmetry
        self.invariants = applicable(question.scheme)
        self.observer = question.observer
        if self.observer is not None:
            self.st.observer = self.observer
            self.invariants += (self.observer.invariant,)
        self.visited: dict[bytes, int] = {}
        self.keys: list[bytes] = []
        self.parent = array("L")
        self.by = array("L")
        self.operations: dict[Operation, int] = {}
        self.depth = 0
        """Operations from boot to the states that are being expanded."""
        self.layer_end = 1
        self.next = 0
        self.generated = 0
        self.cut: dict[str, int] = {}
        self.per_operation = {cls.name: Count() for cls in OPERATIONS if cls.exists(self.scope)}
        self.goals = goals_of(question.scheme, self.scope)
        self.wanted: list[Goal] = [g for g in self.goals if g.predicate]
        self.words: set[str] = set()
        self.known: dict[frozenset[str], tuple[Violation, ...]] = {}
        self.abandoned: set[int] = set()
        """States that violate what the question's base violates too; they are not expanded."""
        arms.begin()
        self.started = Limits.clock()
        self.began = time.monotonic()
        self.engine = "python"

    @property
    def distinct(self) -> int:
        """States stored."""
        return len(self.keys)

    @property
    def frontier(self) -> int:
        """States stored and not yet expanded."""
        return self.distinct - self.next

    @property
    def seconds(self) -> float:
        """Time since the search began, by the clock on the wall."""
        return time.monotonic() - self.began

    def figures(self) -> Figures:
        """Return how far the search is."""
        return Figures(self.distinct, self.generated, self.depth, self.frontier, self.seconds)

    def key(self) -> bytes:
        """Return the form in which the machine's state is stored."""
        if self.symmetry:
            return self.st.layout.canonical(self.st)[0]
        return self.st.layout.encode_raw(self.st)

    def load(self, key: bytes) -> None:
        """Put the machine into a stored state."""
        if self.symmetry:
            self.st.layout.load(self.st, key)
        else:
            self.st.layout.load_raw(self.st, key)

    def add(self, key: bytes, parent: int, op: Operation | None) -> bool:
        """Store the machine's state, reached from `parent` by `op`. Return whether it is new."""
        if key in self.visited:
            return False
        self.visited[key] = len(self.keys)
        self.keys.append(key)
        self.parent.append(parent)
        self.by.append(0 if op is None else self.operations.setdefault(op, len(self.operations)))
        self.see()
        return True

    def see(self) -> None:
        """Record the goals that the machine's state reaches."""
        for goal in self.wanted:
            if goal.predicate and goal.predicate(self.st):
                self.words.add(goal.name)
        if self.words:
            self.wanted = [g for g in self.wanted if g.name not in self.words]

    def start(self) -> list[Violation]:
        """Store the first state and return what it violates."""
        boot(self.st)
        self.add(self.key(), 0, None)
        return check_state(self.st, self.invariants)

    def variants(self, key: bytes, op: Operation) -> "Iterator[tuple[Operation, Outcome, object]]":
        """Carry out `op` in state `key`; with alloc_fail, again with each allocation failing."""
        self.load(key)
        outcome = run(self.st, op)
        yield op, outcome, None
        if self.scope.alloc_fail:
            for k in range(1, outcome.allocations + 1):
                failing = attrs.evolve(op, fail=k)
                self.load(key)
                before = projection(self.st) if op.atomic else None
                yield failing, run(self.st, failing), before

    def expand(self) -> tuple[list[Violation], Operation | None]:
        """Take every step from the next state; return the first violation and its operation."""
        index = self.next
        self.next += 1
        key = self.keys[index]
        self.load(key)
        for offered in () if index in self.abandoned else possible_operations(self.st):
            count = self.per_operation[offered.name]
            count.enabled += 1
            for op, outcome, before in self.variants(key, offered):
                self.generated += 1
                if outcome.exhausted:
                    self.cut[outcome.exhausted] = self.cut.get(outcome.exhausted, 0) + 1
                    continue
                self.words.update(outcome.passed)
                found = self.judge(index, op, outcome, before, count)
                if found:
                    return found, op
        if self.next == self.layer_end and self.frontier:
            self.layer_end = self.distinct
            self.depth += 1
        return [], None

    def judge(
        self, index: int, op: Operation, outcome: Outcome, before: object, count: Count
    ) -> list[Violation]:
        """Check one step and, if it leads to a new state, that state."""
        if outcome.oops or outcome.splats or before is not None or self.observer:
            step = Step(op=op, outcome=outcome, before=before)
            found = check_step(self.st, step, self.invariants)
            if self.question.wants(found):
                return [] if self.is_known(index, op, found) else found
            if outcome.oops:
                return []
        try:
            key = self.key()
        except ValueError as error:
            found = [out_of_range(op, error)]
            return found if self.question.wants(found) else []
        if self.add(key, index, op):
            count.fired += 1
            found = check_state(self.st, self.invariants)
            if self.question.wants(found):
                if not self.is_known(index, op, found):
                    return found
                self.abandoned.add(self.distinct - 1)
        return []

    def is_known(self, index: int, op: Operation, found: list[Violation]) -> bool:
        """Return whether the question's base violates the same in the same run, and note that."""
        if self.question.base is None or not self.question.is_known(self.trace(index, op), found):
            return False
        self.known.setdefault(frozenset(v.invariant for v in found), tuple(found))
        return True

    def trace(self, index: int, last: Operation | None) -> tuple[Operation, ...]:
        """Return the operations from boot to state `index`, and `last`, with consistent names."""
        stored = self.path(index)
        if not self.symmetry:
            return (*(op for op, _ in stored), *([last] if last else []))
        return self.named(stored, last)

    def path(self, index: int) -> list[tuple[Operation, bytes]]:
        """Return the operations that lead to state `index`, each with the state it led to."""
        path = []
        while index:
            path.append(index)
            index = self.parent[index]
        operations = list(self.operations)
        return [(operations[self.by[i]], self.keys[i]) for i in reversed(path)]

    def named(
        self, stored: list[tuple[Operation, bytes]], last: Operation | None
    ) -> tuple[Operation, ...]:
        """Return the operations of a path and `last`, with the same names in all steps."""
        st = Kernel(self.scope, self.question.scheme(), named=self.question.named)
        boot(st)
        names: list[Operation] = []
        for op, key in stored:
            real = self._real(st, op)
            run(st, real)
            names.append(real)
            if st.layout.canonical(st)[0] != key:
                raise EngineError(f"{real} leads to another state than in the search")
        if last:
            names.append(self._real(st, last))
        return tuple(names)

    @staticmethod
    def _real(st: Kernel, op: Operation) -> Operation:
        _, order = st.layout.canonical(st)
        return rename(op, dict(enumerate(order, 1)))

    def result(self, status: Status, **extra: object) -> Answer:
        """Return the answer with this verdict and the counts of the search."""
        verdict = Verdict(
            status=status,
            scheme=self.question.scheme.name,
            scope=self.scope,
            engine="explore",
            **extra,  # type: ignore[arg-type]
        )
        return Answer(
            verdict=verdict,
            generated=self.generated,
            distinct=self.distinct,
            depth=self.depth,
            seconds=self.seconds,
            per_operation=self.per_operation,
            goals={g.name: int(g.name in self.words) for g in self.goals},
            cut=dict(sorted(self.cut.items())),
            known=tuple(self.known.values()),
            arms=frozenset(self.words | arms.ran()),
            engine=self.engine,
        )

    def unfinished(self, why: str) -> Answer:
        """Return the answer UNKNOWN, because a limit ended the search."""
        return self.result(Status.UNKNOWN, why=f"{why}, depth {self.depth} not finished")

    def violated(self, invariant: str, last: Operation | None, index: int) -> Answer:
        """Return the answer VIOLATED, if a replay of the trace finds the same violation."""
        trace = self.trace(index, last)
        again = self.question.replay(trace)
        names = {v.invariant for v in again.violations}
        if again.step != len(trace) or invariant not in names:
            raise EngineError(
                f"the search found {invariant} after {len(trace)} operations, "
                f"but its replay found {sorted(names) or 'nothing'} after {again.step}"
            )
        return self.result(Status.VIOLATED, violations=again.violations, trace=trace)


def advance(
    search: Search,
    limits: Limits,
    reporter: Reporter | None,
    until: Callable[[], bool] = lambda: False,
) -> Answer | None:
    """Search to the end, or `until` that is true before a state is expanded; then return None."""
    question = search.question
    if search.distinct == 0:
        found = search.start()
        if question.wants(found):
            return search.violated(question.ending(found), None, 0)
    while search.frontier:
        if limits.depth is not None and search.depth >= limits.depth:
            return search.result(Status.HOLDS, how=f"bounded, depth {limits.depth}")
        if until():
            return None
        index = search.next
        found, op = search.expand()
        if found:
            return search.violated(question.ending(found), op, index)
        if search.next % CHECK_EVERY == 0 or limits.states is not None:
            why = reached(limits, search)
            if why:
                return search.unfinished(why)
            if reporter:
                reporter.progress(search.figures())
    return search.result(Status.HOLDS, how="exhaustive")


def reached(limits: Limits, search: Search) -> str:
    """Return which limit the search has reached; "" if none."""
    if limits.states is not None and search.distinct >= limits.states:
        return f"{limits.states} states reached"
    if limits.left(search.started) < 0:
        return f"{limits.seconds:g} s used"
    if limits.memory_mb is not None and memory.used() > limits.memory_mb * memory.MEGABYTE:
        return f"{limits.memory_mb} MB used"
    return ""


def to_end(search: Search, limits: Limits, reporter: Reporter | None) -> Answer:
    """Search to the end or to a limit, and return the answer."""
    done = advance(search, limits, reporter)
    if done is None:
        raise EngineError("the search ended without a verdict")
    return done


@attrs.frozen(kw_only=True)
class Interpreted:
    """The engine that runs the model in Python. It needs no compiler, and calls observers."""

    notes: tuple[str, ...] = ()
    """What was requested, but only another engine can do."""

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Search every state, breadth first."""
        return attrs.evolve(to_end(Search(question), limits, reporter), notes=self.notes)
