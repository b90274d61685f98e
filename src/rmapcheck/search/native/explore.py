"""Runs a search in C from its start, or from a checkpoint, to its verdict."""

import math
import time
from typing import Any

import attrs

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.checkpoint import Checkpoints, Reader, write
from rmapcheck.search.interpreted import Exploration, Reporter, Search
from rmapcheck.search.native import memory
from rmapcheck.search.native.search import Ended, NativeSearch, OutOfMemory
from rmapcheck.search.native.translate import Translation
from rmapcheck.verdict import Status

SLICE = 0.05
"""Seconds of search between two returns to Python, for Ctrl-C and reporters."""
DOUBTFUL = 1e-3
"""If a collision of fingerprints is more probable than this, a finished search is UNKNOWN."""


@attrs.define(kw_only=True)
class _Run:
    """One search, its limits, and its checkpoints."""

    search: NativeSearch
    max_depth: int | None
    max_states: int | None
    max_seconds: float | None
    max_memory_mb: int | None
    reporter: Reporter | None
    checkpoints: Checkpoints
    saved: float = attrs.Factory(time.monotonic)

    def go(self) -> Exploration:
        """Search to the end, and write a checkpoint there unless a violation was found."""
        if self.checkpoints.resume:
            self._resume()
        else:
            first = self.search.start()
            if self.search.wants(first):
                return self.search.violated(self.search.ending(first), None, 0)
        try:
            done = self._slices()
        except KeyboardInterrupt:
            self.save()
            raise
        if done.verdict.status is not Status.VIOLATED:
            self.save()
        return done

    def _slices(self) -> Exploration:
        search = self.search
        while True:
            left = SLICE if self.max_seconds is None else self.max_seconds - search.seconds
            ended = search.run(self.max_states, self.max_depth, min(left, SLICE))
            if ended is Ended.VIOLATION:
                return search.violated(search.found(), search.last(), search.report.parent)
            if ended is Ended.BROKEN:
                return search.broken()
            if ended is not Ended.SLICE:
                return self._summary(ended)
            if self.max_seconds is not None and search.seconds > self.max_seconds:
                return self._unknown(f"{self.max_seconds:g} s used")
            if self.reporter:
                self.reporter.progress(search)
            if time.monotonic() - self.saved > self.checkpoints.every:
                self.save()

    def _unknown(self, why: str) -> Exploration:
        why = f"{why}, depth {self.search.depth} not finished"
        return self.search.result(Status.UNKNOWN, why=why)

    def _summary(self, ended: Ended) -> Exploration:
        if ended is Ended.STATES:
            return self._unknown(f"{self.max_states} states reached")
        if ended is Ended.MEMORY:
            return self._unknown(out_of_memory(self.max_memory_mb))
        how = "exhaustive" if ended is Ended.EXHAUSTED else f"bounded, depth {self.max_depth}"
        if not self.search.fingerprint:
            return self.search.result(Status.HOLDS, how=how)
        p = collision(self.search.distinct)
        if p > DOUBTFUL:
            why = f"{how}, but two states may share a fingerprint, p < {_below(p)}"
            return self.search.result(Status.UNKNOWN, why=why)
        return self.search.result(
            Status.HOLDS, how=f"{how} up to a hash collision, p < {_below(p)}"
        )

    def save(self) -> None:
        """Write a checkpoint, if checkpoints are requested."""
        path = self.checkpoints.path
        if path is None:
            return
        search = self.search
        header = {"is": search.identity(), "has": search.counters(), "seconds": search.seconds}
        write(path, header, search.packed())
        self.saved = time.monotonic()

    def _resume(self) -> None:
        assert self.checkpoints.resume is not None  # noqa: S101 - for mypy
        reader = Reader(self.checkpoints.resume)
        try:
            header = reader.header()
            theirs, ours = header.get("is"), self.search.identity()
            seconds, counters = header.get("seconds"), header.get("has")
            if not (isinstance(theirs, dict) and isinstance(counters, dict)):
                raise reader.refuse("makes no sense")
            if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
                raise reader.refuse("makes no sense")
            for name, value in ours.items():
                if theirs.get(name) != value:
                    raise reader.refuse(_foreign(name, theirs.get(name), value))
            self.search.restore(counters, reader)
        finally:
            reader.close()
        self.search.started -= seconds


def _foreign(name: str, theirs: object, ours: object) -> str:
    if name == "model":
        return "was written by another version of the model or of rmapcheck"
    return f"is of a search with {name} {theirs or 'none'}, not {ours or 'none'}"


def _below(p: float) -> str:
    """Return `p` as text with one digit, rounded up."""
    exponent = math.floor(math.log10(p))
    return f"{math.ceil(p / 10**exponent)}e{exponent}"


def collision(states: int) -> float:
    """Return a bound on the probability that two of so many states share a 64-bit fingerprint."""
    return max(states, 2) ** 2 / 2**65


def out_of_memory(limit_mb: int | None) -> str:
    """Return which memory limit ended a search, as a part of a sentence; the limit is in MB."""
    if limit_mb is None:
        return "the memory of this machine used"
    return f"{limit_mb} MB used"


def explore_native(
    scheme: type[Scheme],
    scope: Scope,
    *,
    symmetry: bool = True,
    named: tuple[str, ...] = (),
    max_depth: int | None = None,
    max_states: int | None = None,
    max_seconds: float | None = None,
    max_memory_mb: int | None = None,
    target: str = "",
    reporter: Reporter | None = None,
    workers: int = 1,
    fingerprint: bool = False,
    checkpoints: Checkpoints | None = None,
    translation: Translation | None = None,
    started: float | None = None,
    defines: tuple[str, ...] = (),
) -> Exploration:
    """Search as `explore` does, in C. Raises Untranslatable and BuildError before it begins."""
    options: dict[str, Any] = {"symmetry": symmetry, "named": named, "target": target}
    try:
        search = NativeSearch(
            scheme,
            scope,
            **options,
            memory_mb=max_memory_mb,
            workers=workers,
            fingerprint=fingerprint,
            translation=translation,
            defines=defines,
        )
        search.started = started or search.started
        return _Run(
            search=search,
            max_depth=max_depth,
            max_states=max_states,
            max_seconds=max_seconds,
            max_memory_mb=max_memory_mb,
            reporter=reporter,
            checkpoints=checkpoints or Checkpoints(),
        ).go()
    except (OutOfMemory, MemoryError):
        nothing = Search(scheme, scope, **options)
        nothing.engine = "native"
        python = f"{memory.used() // memory.MEGABYTE} MB by Python"
        why = f"{out_of_memory(max_memory_mb)}, {python}, depth 0 not finished"
        return nothing.result(Status.UNKNOWN, why=why)
