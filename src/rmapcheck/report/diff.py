"""The same operations on several schemes: what differs for processes, and what only in the books.

Processes can tell two schemes apart only by what a call returns, by what is mapped where, and by
which entries share a page. Everything else, the number of objects kept and the entries that a walk
visits, is bookkeeping; there schemes are meant to differ.
"""

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rmapcheck.cases.case import Case
from rmapcheck.invariants.completeness import mappers
from rmapcheck.invariants.isolation import projection
from rmapcheck.model.machine.errors import KernelOops, ModelError
from rmapcheck.model.machine.structs import CORE, RmapWalkControl
from rmapcheck.model.scheme import Scheme
from rmapcheck.report.recording import Recording, record
from rmapcheck.report.state_text import place, pool_of, state_lines

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@attrs.frozen(kw_only=True)
class Look:
    """What one scheme shows after one step."""

    error: int
    visible: tuple[tuple[int, ...], ...]
    """Per page of each process: mm, flags of the VMA, folio, swap slot, zero page; folios and
    slots are numbered in the order in which they are met."""
    violates: tuple[str, ...]
    counts: dict[str, int]
    """Live objects, by pool."""
    walks: tuple[tuple[str, tuple[str, ...]], ...]
    """For each mapped page, called by its first entry: the entries that rmap_walk visits."""
    picture: tuple[str, ...]


@attrs.frozen(kw_only=True)
class DiffStep:
    """One step: what differs, as sentences; () where all schemes agree."""

    number: int
    """From 1; 0 is the state at boot."""
    op: str
    looks: dict[str, Look]
    visible: tuple[str, ...]
    """What processes could notice."""
    books: tuple[str, ...]
    """What only the bookkeeping shows."""


@attrs.frozen(kw_only=True)
class Diff:
    """A comparison of schemes, step by step."""

    schemes: tuple[str, ...]
    steps: tuple[DiffStep, ...]
    stopped: dict[str, str]
    """By scheme: why it could not go on."""

    @property
    def first_visible(self) -> int | None:
        """Number of the first step that processes can tell apart."""
        return next((s.number for s in self.steps if s.visible), None)

    @property
    def first_books(self) -> int | None:
        """Number of the first step after which the bookkeeping differs."""
        return next((s.number for s in self.steps if s.books), None)

    def pictures(self, number: int) -> str:
        """Return how the states after step `number` differ, each scheme against the first."""
        looks = next(s.looks for s in self.steps if s.number == number)
        first = self.schemes[0]
        parts: list[str] = []
        for name in self.schemes[1:]:
            if first in looks and name in looks:
                old, new = looks[first].picture, looks[name].picture
                parts += difflib.unified_diff(old, new, first, name, n=1, lineterm="")
        return "\n".join(parts)

    def __str__(self) -> str:
        """Return where the schemes part, in whole sentences."""
        names = f"{', '.join(self.schemes[:-1])} and {self.schemes[-1]}"
        lines = [f"{name} stops: {why}." for name, why in self.stopped.items()]
        seen = self.first_visible
        if seen is None:
            lines.append(f"{names}: processes see no difference in {len(self.steps) - 1} steps.")
        else:
            lines.append(f"{names} part for processes at {self._at(seen).op}:")
            lines += [f"  {text}" for text in self._at(seen).visible]
        books = self.first_books
        if books is not None:
            lines.append(f"Their books first differ at {self._at(books).op}:")
            lines += [f"  {text}" for text in self._at(books).books]
        return "\n".join(lines)

    def _at(self, number: int) -> DiffStep:
        return next(s for s in self.steps if s.number == number)


def diff(case: Case, schemes: Sequence[type[Scheme]]) -> Diff:
    """Run the case's operations on two schemes or more and compare them after every step.

    A scheme that cannot go on is left out from there. Raise ModelError for fewer than two schemes.
    """
    names = [s.name for s in schemes]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ModelError("a comparison needs two different schemes or more; name another")
    recordings = {s.name: record(s, case.scope, case.steps) for s in schemes}
    first = _step(0, "boot", {name: _boot(f) for name, f in recordings.items()})
    steps = [first]
    for number, op in enumerate(case.steps, 1):
        looks = {
            name: _look(f, number) for name, f in recordings.items() if number <= len(f.frames)
        }
        if looks:
            steps.append(_step(number, f"step {number}, {op}", looks))
    stopped = {name: f.stopped for name, f in recordings.items() if f.stopped}
    return Diff(schemes=tuple(names), steps=tuple(steps), stopped=stopped)


def _boot(run: Recording) -> Look:
    return _look_at(run.state(run.first), 0, ())


def _look(run: Recording, number: int) -> Look:
    frame = run.frames[number - 1]
    names = tuple(v.invariant for v in frame.violations)
    return _look_at(run.state(frame.after), frame.outcome.error, names)


def _look_at(st: "Kernel", error: int, violates: tuple[str, ...]) -> Look:
    pools = [name for name in st.layout.structs if name not in ("mm", "pte")]
    return Look(
        error=error,
        visible=visible(st),
        violates=violates,
        counts={name: pool_of(st, name).live for name in pools},
        walks=tuple(_walks(st)),
        picture=tuple(state_lines(st)),
    )


def visible(st: "Kernel") -> tuple[tuple[int, ...], ...]:
    """Return what processes could see, whatever folios and swap slots are called."""
    folios: dict[int, int] = {0: 0}
    swaps: dict[int, int] = {0: 0}
    seen = []
    for mm, flags, folio, swap, zero in projection(st):
        f = folios.setdefault(folio, len(folios))
        s = swaps.setdefault(swap, len(swaps))
        seen.append((mm, flags, f, s, zero))
    return tuple(seen)


def _walks(st: "Kernel") -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for folio, pteps in mappers(st).items():
        rwc = RmapWalkControl()
        try:
            st.scheme.rmap_walk(st, folio, rwc)
            visited = tuple(place(st, ptep) for ptep in rwc.visited)
        except KernelOops as oops:
            visited = (f"an oops ({oops})",)
        found.append((place(st, pteps[0]), visited))
    return sorted(found)


def _step(number: int, op: str, looks: dict[str, Look]) -> DiffStep:
    names = list(looks)
    seen: list[str] = []
    books: list[str] = []
    for name in names[1:]:
        a, b = looks[names[0]], looks[name]
        seen += _visible_difference(names[0], a, name, b)
        books += _books_difference(names[0], a, name, b)
    return DiffStep(number=number, op=op, looks=looks, visible=tuple(seen), books=tuple(books))


def _visible_difference(one: str, a: Look, other: str, b: Look) -> list[str]:
    found = []
    if a.error != b.error:
        found.append(f"{one} returns {a.error}, {other} returns {b.error}.")
    pages = len(a.visible)
    if len(b.visible) != pages:
        found.append(f"{one} has not as many processes as {other}.")
    elif a.visible != b.visible:
        i = next(i for i in range(pages) if a.visible[i] != b.visible[i])
        found.append(
            f"at {_page(a, i)} {one} has {_content(a.visible[i])}, "
            f"{other} has {_content(b.visible[i])}."
        )
    return found


def _page(look: Look, i: int) -> str:
    mm = look.visible[i][0]
    first = next(n for n, entry in enumerate(look.visible) if entry[0] == mm)
    return f"page {i - first} of process {mm}"


def _content(entry: tuple[int, ...]) -> str:
    _, flags, folio, swap, zero = entry
    if flags < 0:
        return "no VMA"
    what = f"page {folio}" if folio else f"slot {swap}" if swap else "nothing"
    if zero and not folio:
        what = "the zero page"
    return f"{what} under vm_flags {flags}"


def _books_difference(one: str, a: Look, other: str, b: Look) -> list[str]:
    found = []
    if a.violates != b.violates:
        found.append(
            f"{one} violates {_names(a.violates)}, {other} violates {_names(b.violates)}."
        )
    for pool in sorted({*a.counts, *b.counts}, key=lambda p: (p not in CORE, p)):
        x, y = a.counts.get(pool, 0), b.counts.get(pool, 0)
        if x != y:
            found.append(f"{one} has {x} {pool}, {other} has {y}.")
    for (at, x_visits), (_, y_visits) in zip(a.walks, b.walks, strict=False):
        if x_visits != y_visits:
            found.append(
                f"the walk of the page at {at} gives {_names(x_visits)} on {one}, "
                f"{_names(y_visits)} on {other}."
            )
    return found


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
