"""Estimates how many states a scope has, from the first layers of its search.

The number of new states in a layer first grows with the depth, then shrinks. Its logarithm is
close to a parabola over the depth. `doublings` fits a parabola to the last eight layers, and
follows it until a layer would have less than one state.

How good this is was measured (docs/how-to/search-a-wide-scope.md). If the guess is that the states
seen so far will double g times, then they really double between 0.3 g and 1.2 g + 1 times.
"""

import math
import time

import attrs

from rmapcheck.host import compile as build
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.interpreted import Search
from rmapcheck.search.native.search import Ended, NativeSearch
from rmapcheck.search.native.translator.source import Untranslatable
from rmapcheck.search.question import Question

LAYERS = 8
"""To how many layers the parabola is fitted; with fewer than four there is no guess."""
FARTHEST = 10.0
"""If the guess is more doublings than this, it has no upper end: only "many" is known."""
LOW, HIGH = 0.3, 1.2
"""The true number of doublings, as a proportion of the guess."""
EXTRA_BEFORE, EXTRA_AFTER = 1.0, 0.3
"""Doublings added to the upper end: while layers still grow, and after the largest layer."""


@attrs.frozen(kw_only=True)
class Estimate:
    """What the first layers of a search, the sample, say about a scope."""

    seen: int
    """States in the sample."""
    layers: tuple[int, ...]
    """New states at each depth."""
    seconds: float
    """CPU time of the sample."""
    bytes: int
    """Memory of the sample; 0 if it is not known."""
    low: int
    """Lower end of the estimate, in states."""
    high: int | None
    """Upper end of the estimate, in states; None if the sample is too small for one."""
    complete: bool
    """Whether the sample is the whole scope."""
    violated: bool
    """Whether a state or step of the sample violates an invariant."""
    engine: str

    def scaled(self, states: float, what: float) -> float:
        """Return the cost (time or memory) of `states` states; `what` is the sample's cost."""
        return what * states / max(self.seen, 1)


def doublings(new: tuple[int, ...]) -> float | None:
    """Guess how often the states seen so far will double; None if there are too few layers."""
    last = [n for n in new if n][-LAYERS:]
    if len(last) < 4:
        return None
    logs = [math.log(n) for n in last]
    bend, slope = _parabola(logs)
    if bend > -1e-6:
        return None
    seen = total = float(sum(new))
    log, at = logs[-1], len(logs)
    while total < seen * 2**FARTHEST:
        log += slope + bend * (2 * at - 1)
        at += 1
        if log < 0:
            break
        total += math.exp(log)
    return math.log2(total / seen)


def _parabola(values: list[float]) -> tuple[float, float]:
    """Return a and b of the parabola a·x² + b·x + c nearest to the values at 0, 1, 2 …"""
    n = len(values)
    middle = (n - 1) / 2
    squares = sum((x - middle) ** 2 for x in range(n))
    fourths = sum((x - middle) ** 4 for x in range(n))
    slope = sum((x - middle) * y for x, y in enumerate(values)) / squares
    mean = sum(values) / n
    bend = sum(((x - middle) ** 2 - squares / n) * (y - mean) for x, y in enumerate(values))
    bend /= fourths - squares**2 / n
    return bend, slope - 2 * bend * middle


def span(new: tuple[int, ...]) -> tuple[int, int | None]:
    """Return the range in which the number of states probably is; None: no upper end is known."""
    seen = sum(new)
    guess = doublings(new)
    if guess is None:
        return seen, None
    extra = EXTRA_AFTER if len(new) > 1 and new[-1] < new[-2] else EXTRA_BEFORE
    high = None if guess >= FARTHEST else math.ceil(seen * 2 ** (HIGH * guess + extra))
    return int(seen * 2 ** (LOW * guess)), high


def estimate(scheme: type[Scheme], scope: Scope, *, seconds: float = 2.0) -> Estimate:
    """Search for about `seconds` of CPU time, and estimate the whole from that."""
    question = Question(scheme, scope)
    try:
        search: Search = NativeSearch(question)
    except (Untranslatable, build.BuildError):
        search = Search(question)
    violated = bool(search.start())
    began = time.process_time()
    new = [1]
    while not violated and search.frontier and time.process_time() - began < seconds:
        before = search.distinct
        ended = _layer(search, began + seconds)
        violated = ended is Ended.VIOLATION
        if ended is not Ended.DEPTH and search.frontier:
            break
        new.append(search.distinct - before)
    used = time.process_time() - began
    low, high = span(tuple(new))
    complete = not search.frontier
    return Estimate(
        seen=search.distinct,
        layers=tuple(new),
        seconds=used,
        bytes=search.report.bytes if isinstance(search, NativeSearch) else 0,
        low=search.distinct if complete else max(low, search.distinct),
        high=search.distinct if complete else high,
        complete=complete,
        violated=violated,
        engine=search.engine,
    )


def _layer(search: Search, end: float) -> Ended:
    """Expand the states of one layer. Return DEPTH if all were expanded in time."""
    if isinstance(search, NativeSearch):
        return search.run(None, search.depth + 1, max(end - time.process_time(), 0.01))
    depth = search.depth
    while search.frontier and search.depth == depth:
        found, _ = search.expand()
        if search.question.wants(found):
            return Ended.VIOLATION
        if time.process_time() > end:
            return Ended.SLICE
    return Ended.DEPTH
