"""Chooses the engine of an exhaustive search: interpreted, or translated to C and compiled.

Both find the same states, counts and traces. C is much faster, but first it must be compiled.
"""

import os
from collections.abc import Iterable, Sequence

import attrs

from rmapcheck.host import compile as build
from rmapcheck.host.cache import CacheError
from rmapcheck.model.machine.errors import ScopeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.checkpoint import CheckpointError, Checkpoints
from rmapcheck.search.interpreted import Interpreted, Search, advance, to_end
from rmapcheck.search.native.explore import Native
from rmapcheck.search.native.general import General
from rmapcheck.search.native.search import translated
from rmapcheck.search.native.translator.source import Untranslatable
from rmapcheck.search.question import (
    Answer,
    CannotCompileError,
    Engine,
    EngineError,
    Limits,
    Question,
    Reporter,
)

ENGINES = ("auto", "native", "python")
INSTEAD = "python: "
"""Begins the name of the engine if a search was interpreted instead of in C; why follows."""
HEAD_START = 1000
"""How many states "auto" searches interpreted before it calls the C compiler. A small search ends
before a compiler would have started."""
PAST_KNOWN = "python: it continues past what the base violates too"
"""C stops at the first violation, and cannot ask the base whether that is known."""


def engine_for(
    question: Question,
    name: str = "auto",
    *,
    workers: int = 1,
    fingerprint: bool = False,
    checkpoints: Checkpoints | None = None,
    general: General | None = None,
) -> Engine:
    """Return the engine `name`, ready for this question; see `rmapcheck.explore`.

    A `general` library is used if it can answer. Raise EngineError if there is no such engine, and
    CheckpointError if `checkpoints` are given and the engine cannot write them.
    """
    name = _chosen(name)
    native = Native(workers=workers, fingerprint=fingerprint, checkpoints=checkpoints)
    if general and general.answers(question):
        native = attrs.evolve(native, translation=general.translation, building=general.building)
    if name != "python" and question.observer is None:
        return native if name == "native" else Auto(native)
    if checkpoints:
        raise CheckpointError("the interpreted search has no checkpoints; run it without --engine")
    return Interpreted(notes=native.unmet())


def general_for(scheme: type[Scheme], scopes: Sequence[Scope]) -> General | None:
    """Return a library for many scopes, whose compiler runs; None if these are not to be compiled.

    Why they cannot be compiled is in the answers of the searches.
    """
    if _chosen("auto") == "python" or build.compiler() is None:
        return None
    try:
        general = General.of(scheme, scopes)
    except (Untranslatable, ScopeError):  # no scope is as wide as the widest of each limit
        return None
    general.building.start()
    return general


def why_interpreted(answers: Iterable[Answer]) -> str:
    """Return why one of the searches could not be in C; "" if none was prevented from it."""
    engines = (done.engine for done in answers if done.engine != PAST_KNOWN)
    return next((e.removeprefix(INSTEAD) for e in engines if e.startswith(INSTEAD)), "")


def _chosen(name: str) -> str:
    """Return the name of an engine, or for "auto" the one that the environment names, if any."""
    if name == "auto":
        name = os.environ.get("RMAPCHECK_ENGINE") or name
    if name not in ENGINES:
        raise EngineError(f"no engine is called {name!r}; choose among {', '.join(ENGINES)}")
    return name


@attrs.frozen
class Auto:
    """The engine that compiles the search if it can, and if the search is not small."""

    native: Native

    def answer(
        self, question: Question, limits: Limits, reporter: Reporter | None = None
    ) -> Answer:
        """Search HEAD_START states interpreted, then in C; only in C if it is compiled already."""
        search = Search(question)
        try:
            done = self._compiled(search, limits, reporter)
        except (Untranslatable, build.BuildError, CannotCompileError) as error:
            why = error.args[0] if isinstance(error, CannotCompileError) else error
            if self.native.checkpoints:
                raise CheckpointError(f"checkpoints need the search in C, but: {why}") from None
            search.engine = f"{INSTEAD}{why}"
            no_room = isinstance(error, CacheError) or isinstance(error.__cause__, CacheError)
            notes = (f"the search is interpreted: {why}",) if no_room else ()
            return self._noted(to_end(search, limits, reporter), *notes)
        if done is not None and search.question.knows(done.verdict):
            search = Search(search.question)
            search.engine = PAST_KNOWN
            done = None
        return done or self._noted(to_end(search, limits, reporter))

    def _compiled(
        self, search: Search, limits: Limits, reporter: Reporter | None
    ) -> Answer | None:
        """Return the answer of the head start, or of the search in C.

        Return None if C cannot continue past what the head start has found.
        """
        translation = self.native.translation or translated(search.question)
        if not self.native.checkpoints and not build.library_path(translation.source).exists():
            done = advance(search, limits, reporter, lambda: self._enough(search))
            if done is not None:
                return self._noted(done)
            if search.known:
                search.engine = PAST_KNOWN
                return None
        native = attrs.evolve(self.native, translation=translation, after=search)
        return native.answer(search.question, limits, reporter)

    def _enough(self, search: Search) -> bool:
        """Return whether the head start is over."""
        building = self.native.building
        return search.next >= HEAD_START or (building is not None and building.ready())

    def _noted(self, done: Answer, *notes: str) -> Answer:
        return attrs.evolve(done, notes=(*notes, *self.native.unmet()))
