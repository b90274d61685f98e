"""Runs a search in C from its start, or from a checkpoint, to its verdict."""

import math
import os
import time

import attrs

from rmapcheck.host import compile as build
from rmapcheck.host.background import Building
from rmapcheck.search import memory
from rmapcheck.search.checkpoint import Checkpoints, Reader, write
from rmapcheck.search.interpreted import Search
from rmapcheck.search.native.search import Ended, NativeSearch, OutOfMemory
from rmapcheck.search.native.translate import Translation
from rmapcheck.search.native.translator.source import Untranslatable
from rmapcheck.search.question import Answer, CannotCompileError, Limits, Question, Reporter
from rmapcheck.verdict import Status

SLICE = 0.05
"""Seconds of search between two returns to Python, for Ctrl-C and reporters."""
DOUBTFUL = 1e-3
"""If a collision of fingerprints is more probable than this, a finished search is UNKNOWN."""


@attrs.define(kw_only=True)
class _Run:
    """One search, its limits, and its checkpoints."""

    search: NativeSearch
    limits: Limits
    reporter: Reporter | None
    checkpoints: Checkpoints
    saved: float = attrs.Factory(time.monotonic)

    def go(self) -> Answer:
        """Search to the end, and write a checkpoint there unless a violation was found."""
        if self.checkpoints.resume:
            self._resume()
        else:
            first = self.search.start()
            if self.search.question.wants(first):
                return self.search.violated(self.search.question.ending(first), None, 0)
        try:
            done = self._slices()
        except KeyboardInterrupt:
            self.save()
            raise
        if done.verdict.status is not Status.VIOLATED:
            self.save()
        return done

    def _slices(self) -> Answer:
        search, limits = self.search, self.limits
        while True:
            ended = search.run(
                limits.states, limits.depth, min(limits.left(search.started), SLICE)
            )
            if ended is Ended.VIOLATION:
                return search.violated(search.found(), search.last(), search.report.parent)
            if ended is Ended.BROKEN:
                return search.broken()
            if ended is not Ended.SLICE:
                return self._summary(ended)
            if limits.left(search.started) < 0:
                return search.unfinished(f"{limits.seconds:g} s used")
            if self.reporter:
                self.reporter.progress(search.figures())
            if time.monotonic() - self.saved > self.checkpoints.every:
                self.save()

    def _summary(self, ended: Ended) -> Answer:
        limits = self.limits
        if ended is Ended.STATES:
            return self.search.unfinished(f"{limits.states} states reached")
        if ended is Ended.MEMORY:
            return self.search.unfinished(out_of_memory(limits.memory_mb))
        how = "exhaustive" if ended is Ended.EXHAUSTED else f"bounded, depth {limits.depth}"
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
                if type(theirs.get(name)) is not type(value):
                    raise reader.refuse("makes no sense")
                if theirs.get(name) != value:
                    raise reader.refuse(_foreign(name, theirs.get(name), value))
            self.search.restore(counters, reader)
        finally:
            reader.close()
        self.search.started -= seconds
        self.search.began -= seconds


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


@attrs.frozen(kw_only=True)
class Native:
    """The engine that translates the model to C: the same states, counts and traces, but faster.

    See docs/adr/0002-model-to-c.md and 0007-workers-and-checkpoints.md.
    """

    workers: int = 1
    """Threads; 0: one for each core."""
    fingerprint: bool = False
    """Whether only 64 bits of each expanded state are kept."""
    checkpoints: Checkpoints | None = None
    translation: Translation | None = None
    """Of the question, if it has been translated already."""
    building: Building | None = None
    """The library of `translation`, if its compiler has been started already."""
    after: Search | None = None
    """The interpreted search that this one replaces: its time counts, too."""
    defines: tuple[str, ...] = ()
    """Faults to plant, for tests."""

    def unmet(self) -> tuple[str, ...]:
        """Return what is not done if the search is interpreted instead, in sentences."""
        notes = []
        if self.workers > 1:
            notes.append("the interpreted search runs with one worker")
        if self.fingerprint:
            notes.append("the interpreted search stores its states exactly, not as fingerprints")
        return tuple(notes)

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Search every state. Raise CannotCompileError if the search cannot be compiled."""
        try:
            return self._search(question, limits, reporter)
        except (Untranslatable, build.BuildError) as why:
            raise CannotCompileError(str(why)) from why
        except (OutOfMemory, MemoryError):
            nothing = Search(question)
            nothing.engine = "native"
            python = f"{memory.used() // memory.MEGABYTE} MB by Python"
            return nothing.unfinished(f"{out_of_memory(limits.memory_mb)}, {python}")

    def _search(self, question: Question, limits: Limits, reporter: Reporter | None) -> Answer:
        search = NativeSearch(
            question,
            memory_mb=limits.memory_mb,
            workers=self.workers or len(os.sched_getaffinity(0)),
            fingerprint=self.fingerprint,
            translation=self.translation,
            building=self.building,
            defines=self.defines,
        )
        if self.after:
            search.started, search.began = self.after.started, self.after.began
        checkpoints = self.checkpoints or Checkpoints()
        return _Run(search=search, limits=limits, reporter=reporter, checkpoints=checkpoints).go()
