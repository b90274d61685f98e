"""The interpreted engine: one exhaustive search, breadth first, and what it has found.

See rmapcheck.explore, which runs it.
"""

import time
from array import array
from typing import TYPE_CHECKING, Protocol

import attrs

from rmapcheck.invariants.goals import Goal, goals_of
from rmapcheck.invariants.isolation import projection
from rmapcheck.invariants.registry import (
    Step,
    Violation,
    applicable,
    check_state,
    check_step,
    wanted,
)
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import (
    OPERATIONS,
    Operation,
    Outcome,
    boot,
    possible_operations,
    rename,
    run,
)
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import Observer, replay
from rmapcheck.verdict import Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


class EngineError(Exception):
    """The search contradicts itself; nothing it says can be believed."""


class CannotCompileError(EngineError):
    """The search was to be compiled, and cannot be."""


def out_of_range(op: Operation, error: ValueError) -> Violation:
    """Return the violation that a number which no byte holds is; the replay words it better."""
    let = f"n be a number that {op} sets"
    return Violation(let, "n must fit", str(error), invariant="out_of_range")


class Reporter(Protocol):
    """Is told of a search as it goes on; knows the terminal, so that the search need not."""

    def progress(self, search: "Search") -> None:
        """Called a few times a second at most."""


@attrs.define
class Count:
    """How often one kind of operation was offered, and how often it led to a new state."""

    enabled: int = 0
    fired: int = 0


@attrs.frozen(kw_only=True)
class Exploration:
    """The result of a search, and what it covered."""

    verdict: Verdict
    generated: int
    """Transitions taken."""
    distinct: int
    """States stored (orbits, with symmetry)."""
    depth: int
    """Operations from boot to the last state reached."""
    seconds: float
    per_operation: dict[str, Count]
    reached: tuple[str, ...]
    """Goals that some state or step reached."""
    vacuous: tuple[str, ...]
    """Goals that the scope has room for and no state reached."""
    cut: dict[str, int]
    """Steps dropped because the scope had no more of a pool's objects."""
    engine: str = "python"
    """"native", "python", or "python: " and why it was not native."""
    notes: tuple[str, ...] = ()
    """What was asked of the search and did not come to pass."""


class Search:
    """One exhaustive search. `explore` runs it; reporters and tests look into it."""

    def __init__(
        self,
        scheme: type[Scheme],
        scope: Scope,
        *,
        symmetry: bool = True,
        named: tuple[str, ...] = (),
        target: str = "",
        observer: Observer | None = None,
    ) -> None:
        self.scheme = scheme
        self.scope = scope
        self.symmetry = symmetry
        self.named_pools = named
        self.target = target
        self.st = Kernel(scope, scheme(), named=named)
        self.st.every_name = not symmetry
        self.invariants = applicable(scheme)
        self.observer = observer
        if observer is not None:
            self.st.observer = observer
            self.invariants += (observer.invariant,)
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
        self.per_operation = {cls.name: Count() for cls in OPERATIONS if cls.exists(scope)}
        self.goals = goals_of(scheme, scope)
        self.wanted: list[Goal] = [g for g in self.goals if g.predicate]
        self.words: set[str] = set()
        self.started = time.monotonic()
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
        """Time since the search began."""
        return time.monotonic() - self.started

    def key(self) -> bytes:
        """Return the stored form of the machine's state."""
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
        """Store the machine's state, reached from `parent` by `op`; False if it is known."""
        if key in self.visited:
            return False
        self.visited[key] = len(self.keys)
        self.keys.append(key)
        self.parent.append(parent)
        self.by.append(0 if op is None else self.operations.setdefault(op, len(self.operations)))
        self.see()
        return True

    def see(self) -> None:
        """Note the goals that the machine's state reaches."""
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
        """Carry `op` out in state `key`, then once more for each of its allocations failing."""
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
        for offered in possible_operations(self.st):
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
        """Check one step and, if its state is new, that state."""
        if outcome.oops or outcome.splats or before is not None or self.observer:
            step = Step(op=op, outcome=outcome, before=before)
            found = check_step(self.st, step, self.invariants)
            if self.wants(found):
                return found
            if outcome.oops:
                return []
        try:
            key = self.key()
        except ValueError as error:
            found = [out_of_range(op, error)]
            return found if self.wants(found) else []
        if self.add(key, index, op):
            count.fired += 1
            found = check_state(self.st, self.invariants)
            if self.wants(found):
                return found
        return []

    def wants(self, found: list[Violation]) -> bool:
        """Tell whether the search may end with these violations."""
        return any(wanted(self.target, v.invariant) for v in found)

    def ending(self, found: list[Violation]) -> str:
        """Return the name of the first violation that may end the search."""
        return next(v.invariant for v in found if wanted(self.target, v.invariant))

    def trace(self, index: int, last: Operation | None) -> tuple[Operation, ...]:
        """Return the operations from boot to state `index` and then `last`, consistently named."""
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
        """Undo the renaming of processes from step to step."""
        st = Kernel(self.scope, self.scheme(), named=self.named_pools)
        boot(st)
        names: list[Operation] = []
        for op, key in stored:
            real = self._real(st, op)
            run(st, real)
            names.append(real)
            if st.layout.canonical(st)[0] != key:
                raise EngineError(f"{real} leads elsewhere than it did in the search")
        if last:
            names.append(self._real(st, last))
        return tuple(names)

    @staticmethod
    def _real(st: Kernel, op: Operation) -> Operation:
        _, order = st.layout.canonical(st)
        return rename(op, dict(enumerate(order, 1)))

    def result(self, status: Status, **extra: object) -> Exploration:
        """Sum up."""
        verdict = Verdict(
            status=status,
            scheme=self.scheme.name,
            scope=self.scope,
            engine="explore",
            **extra,  # type: ignore[arg-type]
        )
        reached = tuple(g.name for g in self.goals if g.name in self.words)
        return Exploration(
            verdict=verdict,
            generated=self.generated,
            distinct=self.distinct,
            depth=self.depth,
            seconds=self.seconds,
            per_operation=self.per_operation,
            reached=reached,
            vacuous=tuple(g.name for g in self.goals if g.name not in self.words),
            cut=dict(sorted(self.cut.items())),
            engine=self.engine,
        )

    def violated(self, invariant: str, last: Operation | None, index: int) -> Exploration:
        """Replay the trace to what was found, and report it if the replay agrees."""
        trace = self.trace(index, last)
        again = replay(self.scheme, self.scope, trace, target=self.target, observer=self.observer)
        names = {v.invariant for v in again.violations}
        if again.step != len(trace) or invariant not in names:
            raise EngineError(
                f"the search found {invariant} after {len(trace)} operations, "
                f"but its replay found {sorted(names) or 'nothing'} after {again.step}"
            )
        return self.result(Status.VIOLATED, violations=again.violations, trace=trace)
