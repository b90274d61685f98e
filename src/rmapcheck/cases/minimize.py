"""Shortens a trace without losing its violation.

Single steps are deleted, then pairs of steps, and arguments are made simpler, until nothing more
can be removed (Zeller and Hildebrandt call deleting single steps 1-minimal; pairs go one step
further). Every candidate is replayed from boot. A candidate with a step that is no longer possible
is dropped.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import attrs

from rmapcheck.cases.case import Case, CaseError, Expect
from rmapcheck.cases.replay import scheme_of
from rmapcheck.cases.schema import CHOICES
from rmapcheck.model.machine.errors import ScopeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork, Operation, rename
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import NotPossible, replay
from rmapcheck.verdict import Status, Verdict

Trace = tuple[Operation, ...]

PLACES = ("start", "address", "to")
"""Fields that hold the number of a page."""

SIZES = {"length": "start", "new_length": "to"}
"""Fields that hold a number of pages, each with the field that holds the first of these pages."""


class _Search:
    """What is searched for: a shorter trace that violates `invariant`, before time is up."""

    def __init__(
        self, scheme: type[Scheme], scope: Scope, invariant: str, max_seconds: float
    ) -> None:
        self.scheme = scheme
        self.scope = scope
        self.invariant = invariant
        self.end = time.monotonic() + max_seconds
        self.tried: set[Trace] = set()

    def time_left(self) -> bool:
        return time.monotonic() < self.end

    def fails(self, steps: Sequence[Operation]) -> Trace:
        """Return `steps` up to the one that violates the invariant, or () if none does."""
        if any(op.beyond(self.scope) for op in steps):
            return ()
        try:
            done = replay(self.scheme, self.scope, steps, target=self.invariant)
        except NotPossible:
            return ()
        return tuple(steps[: done.step]) if done.violations else ()

    def improve(self, best: Trace, candidates: Iterator[Trace]) -> Trace:
        """Return the first candidate that still fails, or `best`."""
        for steps in candidates:
            if not self.time_left():
                break
            if steps not in self.tried:
                self.tried.add(steps)
                shorter = self.fails(steps)
                if shorter:
                    return shorter
        return best


def _without(steps: Trace, gone: tuple[int, ...]) -> Trace:
    return tuple(op for i, op in enumerate(steps) if i not in gone)


def _deletions(steps: Trace, count: int) -> Iterator[Trace]:
    """Yield `steps` without `count` of them, the last steps first."""
    for gone in combinations(reversed(range(len(steps))), count):
        yield _without(steps, gone)


def _values(op: Operation, name: str) -> list[Any]:
    """Return the simpler values that the field could have, simplest first."""
    value = getattr(op, name)
    if isinstance(value, bool):
        return [False] if value else []
    if isinstance(value, str):
        choices = CHOICES[name]
        return list(choices[: choices.index(value)])
    lowest = {"mm": 1, "child": 1, "length": 1, "new_length": 1, "to": 0}.get(name, 0)
    return list(range(lowest, value))


def _simpler(op: Operation) -> Iterator[Operation]:
    """Yield operations that are simpler than `op` in one argument, or in mremap's two lengths."""
    for field in sorted(attrs.fields(type(op)), key=lambda a: a.name != "fail"):
        for value in _values(op, field.name):
            changes = {field.name: value}
            yield attrs.evolve(op, **changes)
            if field.name == "length" and hasattr(op, "new_length"):
                changes["new_length"] = value
                yield attrs.evolve(op, **changes)


def _simplifications(steps: Trace) -> Iterator[Trace]:
    for i, op in enumerate(steps):
        for other in _simpler(op):
            yield (*steps[:i], other, *steps[i + 1 :])


def _renamings(steps: Trace) -> Iterator[Trace]:
    """Yield `steps` with one child given a smaller number."""
    for i, op in enumerate(steps):
        if isinstance(op, Fork):
            for number in range(1, op.child):
                names = {n: n for n in range(256)} | {op.child: number, number: op.child}
                fork = attrs.evolve(op, child=number)
                yield (*steps[:i], fork, *(rename(o, names) for o in steps[i + 1 :]))


def _without_forks(steps: Trace) -> Iterator[Trace]:
    """Yield `steps` without one fork; the parent does what the child did."""
    for i, op in enumerate(steps):
        if isinstance(op, Fork):
            names = {n: n for n in range(256)} | {op.child: op.mm}
            yield (*steps[:i], *(rename(o, names) for o in steps[i + 1 :]))


def _without_page(op: Operation, page: int) -> Operation:
    """Return `op` changed for an address space from which `page` has been cut out."""
    changes: dict[str, Any] = {}
    for name in PLACES:
        first = getattr(op, name, -1)
        if first > page:
            changes[name] = first - 1
    for name, start in SIZES.items():
        if hasattr(op, name):
            first = getattr(op, start, -1)
            first = getattr(op, "start", 0) if first == -1 else first
            if first <= page < first + getattr(op, name):
                changes[name] = getattr(op, name) - 1
    return attrs.evolve(op, **changes)


def _fewer_pages(steps: Trace, pages: int) -> Iterator[Trace]:
    for page in range(pages):
        changed = tuple(_without_page(op, page) for op in steps)
        if changed != steps:
            yield changed


def _candidates(steps: Trace, scope: Scope) -> Iterator[Trace]:
    """Yield all simpler variants of `steps`, the ones that save most first."""
    yield from _deletions(steps, 1)
    yield from _deletions(steps, 2)
    yield from _without_forks(steps)
    yield from _fewer_pages(steps, scope.pages)
    yield from _renamings(steps)
    yield from _simplifications(steps)


def minimize(
    scheme: type[Scheme],
    scope: Scope,
    steps: Sequence[Operation],
    invariant: str,
    *,
    max_seconds: float = 20.0,
) -> Trace:
    """Return a shorter and simpler version of `steps` that violates `invariant`.

    No step and no pair of steps of it can be left out. If `max_seconds` end first, return the best
    version so far. Raise CaseError if `steps` do not violate the invariant.
    """
    search = _Search(scheme, scope, invariant, max_seconds)
    best = search.fails(tuple(steps))
    if not best:
        raise CaseError(
            f"these {len(steps)} steps do not violate {invariant} on {scheme.name}; "
            "name an invariant that they violate"
        )
    while True:
        better = search.improve(best, _candidates(best, scope))
        if better == best:
            return best
        best = better


def fit_scope(
    scheme: type[Scheme], scope: Scope, steps: Sequence[Operation], invariant: str
) -> Scope:
    """Return the scope with as few processes and pages as the trace needs for its violation."""
    best = scope
    for name in ("mms", "pages"):
        for number in range(1, getattr(best, name)):
            try:
                changes: dict[str, Any] = {name: number}
                smaller = attrs.evolve(best, **changes)
            except ScopeError:  # such as one with fewer pages than are premapped
                continue
            if _Search(scheme, smaller, invariant, 0).fails(steps) == tuple(steps):
                best = smaller
                break
    return best


def minimize_case(
    case: Case, scheme: type[Scheme] | None = None, *, max_seconds: float = 20.0
) -> Case:
    """Return the case with its steps minimized, in the smallest scope that fits them.

    Raise CaseError if the case expects no violation, or if its steps do not lead to it.
    """
    invariant = case.expect.invariant
    if not invariant:
        raise CaseError(
            "the case expects no violation, so it cannot be minimized; name a case that does"
        )
    cls = scheme or scheme_of(case)
    steps = minimize(cls, case.scope, case.steps, invariant, max_seconds=max_seconds)
    return attrs.evolve(
        case,
        scope=fit_scope(cls, case.scope, steps, invariant),
        steps=steps,
        results=(),
        expect=Expect(verdict="VIOLATED", invariant=invariant, step=len(steps)),
        found=attrs.evolve(case.found, minimized=True),
    )


def shortened(scheme: type[Scheme], verdict: Verdict) -> Verdict:
    """Return a VIOLATED verdict with its trace minimized and its scope reduced to fit.

    Other verdicts are returned unchanged, and so are those of exhaustive search: their traces are
    already the shortest.
    """
    if verdict.engine == "explore" or verdict.status is not Status.VIOLATED:
        return verdict
    invariant = verdict.violations[0].invariant
    trace = minimize(scheme, verdict.scope, verdict.trace, invariant)
    scope = fit_scope(scheme, verdict.scope, trace, invariant)
    again = replay(scheme, scope, trace, target=invariant)
    short = attrs.evolve(verdict, scope=scope, trace=trace, violations=again.violations)
    return short.target_first(invariant)
