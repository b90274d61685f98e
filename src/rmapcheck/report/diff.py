"""Runs the same operations on several schemes and compares the states.

Two kinds of differences are kept apart. Visible to processes are what a call returns, what is
mapped where, and which entries share a page. Everything else is bookkeeping: the number of objects
and the entries that a walk visits. Schemes are meant to differ in their bookkeeping, but no
process should see a difference between two correct ones.
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
from rmapcheck.model.mm.rmap import rmap_visits
from rmapcheck.model.scheme import Scheme
from rmapcheck.report.recording import Recording, record
from rmapcheck.report.state_text import place, pool_of, state_lines

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@attrs.frozen(kw_only=True)
class View:
    """What is compared of one scheme's state after one step."""

    error: int
    """What the operation returned: 0 or -errno."""
    visible: tuple[tuple[int, ...], ...]
    """For each page of each process: mm, flags of the VMA, folio, swap slot, zero page. Folios and
    slots are numbered in the order in which they first appear."""
    violates: tuple[str, ...]
    """Names of the invariants that the step violates."""
    counts: dict[str, int]
    """Number of live objects in each pool."""
    walks: tuple[tuple[str, tuple[str, ...]], ...]
    """For each mapped page, named by its first entry: the entries that rmap_walk visits."""
    picture: tuple[str, ...]
    """The state as text, line by line."""


@attrs.frozen(kw_only=True)
class DiffStep:
    """One step and the differences after it."""

    number: int
    """From 1; 0 is the state at boot."""
    op: str
    views: dict[str, View]
    """By name of the scheme."""
    visible: tuple[str, ...]
    """Differences that processes can see, as sentences; () if there are none."""
    bookkeeping: tuple[str, ...]
    """Differences in the bookkeeping alone, as sentences."""


@attrs.frozen(kw_only=True)
class Diff:
    """A comparison of schemes, step by step."""

    schemes: tuple[str, ...]
    steps: tuple[DiffStep, ...]
    stopped: dict[str, str]
    """By name of the scheme: why it could not continue."""

    @property
    def first_visible(self) -> int | None:
        """Number of the first step after which processes see a difference; None without one."""
        return next((s.number for s in self.steps if s.visible), None)

    @property
    def first_bookkeeping(self) -> int | None:
        """Number of the first step after which the bookkeeping differs; None without one."""
        return next((s.number for s in self.steps if s.bookkeeping), None)

    def pictures(self, number: int) -> str:
        """Return a unified diff of the states after step `number`: each scheme and the first."""
        views = next(s.views for s in self.steps if s.number == number)
        first = self.schemes[0]
        parts: list[str] = []
        for name in self.schemes[1:]:
            if first in views and name in views:
                old, new = views[first].picture, views[name].picture
                parts += difflib.unified_diff(old, new, first, name, n=1, lineterm="")
        return "\n".join(parts)

    def __str__(self) -> str:
        """Return the first differences as whole sentences."""
        names = f"{', '.join(self.schemes[:-1])} and {self.schemes[-1]}"
        lines = [f"{name} stops: {why}." for name, why in self.stopped.items()]
        visible = self.first_visible
        if visible is None:
            lines.append(f"{names}: processes see no difference in {len(self.steps) - 1} steps.")
        else:
            lines.append(f"{names}: processes first see a difference at {self._at(visible).op}:")
            lines += [f"  {text}" for text in self._at(visible).visible]
        first = self.first_bookkeeping
        if first is not None:
            lines.append(f"Their bookkeeping first differs at {self._at(first).op}:")
            lines += [f"  {text}" for text in self._at(first).bookkeeping]
        return "\n".join(lines)

    def _at(self, number: int) -> DiffStep:
        return next(s for s in self.steps if s.number == number)


def diff(case: Case, schemes: Sequence[type[Scheme]]) -> Diff:
    """Run the case's operations on two schemes or more, and compare them after every step.

    A scheme that cannot continue is left out of the steps after that. Raise ModelError for fewer
    than two schemes, or if one is named twice.
    """
    names = [s.name for s in schemes]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ModelError("a comparison needs at least two different schemes; name another")
    recordings = {s.name: record(s, case.scope, case.steps) for s in schemes}
    first = _step(0, "boot", {name: _view_at_boot(r) for name, r in recordings.items()})
    steps = [first]
    for number, op in enumerate(case.steps, 1):
        views = {n: _view(r, number) for n, r in recordings.items() if number <= len(r.frames)}
        if views:
            steps.append(_step(number, f"step {number}, {op}", views))
    stopped = {name: f.stopped for name, f in recordings.items() if f.stopped}
    return Diff(schemes=tuple(names), steps=tuple(steps), stopped=stopped)


def _view_at_boot(run: Recording) -> View:
    return _view_of(run.state(run.first), 0, ())


def _view(run: Recording, number: int) -> View:
    frame = run.frames[number - 1]
    names = tuple(v.invariant for v in frame.violations)
    return _view_of(run.state(frame.after), frame.outcome.error, names)


def _view_of(st: "Kernel", error: int, violates: tuple[str, ...]) -> View:
    pools = [name for name in st.layout.structs if name not in ("mm", "pte")]
    return View(
        error=error,
        visible=visible(st),
        violates=violates,
        counts={name: pool_of(st, name).live for name in pools},
        walks=tuple(_walks(st)),
        picture=tuple(state_lines(st)),
    )


def visible(st: "Kernel") -> tuple[tuple[int, ...], ...]:
    """Return what processes can see, in the form of View.visible.

    States that differ only in the numbers of folios and swap slots give the same result.
    """
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
            rmap_visits(st, folio, rwc)
            visited = tuple(place(st, ptep) for ptep in rwc.visited)
        except KernelOops as oops:
            visited = (f"an oops ({oops})",)
        found.append((place(st, pteps[0]), visited))
    return sorted(found)


def _step(number: int, op: str, views: dict[str, View]) -> DiffStep:
    names = list(views)
    visible: list[str] = []
    bookkeeping: list[str] = []
    for name in names[1:]:
        a, b = views[names[0]], views[name]
        visible += _visible_differences(names[0], a, name, b)
        bookkeeping += _bookkeeping_differences(names[0], a, name, b)
    return DiffStep(
        number=number,
        op=op,
        views=views,
        visible=tuple(visible),
        bookkeeping=tuple(bookkeeping),
    )


def _visible_differences(one: str, a: View, other: str, b: View) -> list[str]:
    found = []
    if a.error != b.error:
        found.append(f"{one} returns {a.error}, {other} returns {b.error}.")
    pages = len(a.visible)
    if len(b.visible) != pages:
        found.append(f"{one} and {other} have different numbers of processes.")
    elif a.visible != b.visible:
        i = next(i for i in range(pages) if a.visible[i] != b.visible[i])
        found.append(
            f"at {_page(a, i)} {one} has {_content(a.visible[i])}, "
            f"{other} has {_content(b.visible[i])}."
        )
    return found


def _page(view: View, i: int) -> str:
    mm = view.visible[i][0]
    first = next(n for n, entry in enumerate(view.visible) if entry[0] == mm)
    return f"page {i - first} of process {mm}"


def _content(entry: tuple[int, ...]) -> str:
    _, flags, folio, swap, zero = entry
    if flags < 0:
        return "no VMA"
    what = f"page {folio}" if folio else f"slot {swap}" if swap else "nothing"
    if zero and not folio:
        what = "the zero page"
    return f"{what} under vm_flags {flags}"


def _bookkeeping_differences(one: str, a: View, other: str, b: View) -> list[str]:
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
                f"the walk for the page at {at} visits {_names(x_visits)} on {one}, "
                f"{_names(y_visits)} on {other}."
            )
    return found


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
