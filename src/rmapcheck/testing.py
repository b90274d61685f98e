"""The conformance kit: tests for a scheme of your own, in five lines.

    from my_scheme import MyScheme
    from rmapcheck.testing import SchemeConformance

    class TestMyScheme(SchemeConformance):
        scheme = MyScheme

Override the attributes of SchemeConformance for larger scopes, longer walks or another folder of
saved cases.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from rmapcheck.cases.case import Case, case_from, load_case, save_case
from rmapcheck.cases.minimize import shortened
from rmapcheck.cases.replay import command_for
from rmapcheck.explore import Answer, explore
from rmapcheck.invariants.goals import goals_of
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.guard import check_behaviour, is_plugin, scheme_errors, watchdog
from rmapcheck.plugins.interface import check_interface
from rmapcheck.pytest_plugin import SCHEMA, is_about, replay_failure
from rmapcheck.report.explain import render
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status, Verdict

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme

SMALL = (
    Scope(mms=1, pages=2, folios=2, swaps=0, ops=("mmap", "mprotect", "fault", "mremap")),
    Scope(
        mms=2, pages=1, folios=2, protections=1, ops=("mmap", "munmap", "fault", "fork", "swap")
    ),
    Scope(mms=3, pages=1, folios=1, swaps=0, premapped=1, ops=("fault", "fork", "exit")),
)
"""Scopes that an exhaustive search finishes in a few seconds."""

WIDE = Scope(mms=3, pages=3, vmas=9, folios=6, objects=60, alloc_fail=True, young=True)
"""A scope for random runs; it is far too large for an exhaustive search."""


class SchemeConformance:
    """Base class for the tests of one scheme; pytest runs only its subclasses."""

    __test__: ClassVar[bool] = False
    scheme: "ClassVar[type[Scheme]]"
    """The scheme under test."""
    scopes: ClassVar[tuple[Scope, ...]] = SMALL
    """Scopes for exhaustive search."""
    wide: ClassVar[Scope] = WIDE
    """The scope of the random walker and of Hypothesis."""
    seconds: ClassVar[float] = 60.0
    """Most seconds of CPU time for each search; a search that takes longer fails the test."""
    walk_steps: ClassVar[int] = 10_000
    """Operations of the random walk."""
    examples: ClassVar[int] = 50
    """Runs of Hypothesis."""
    seed: ClassVar[int] = 0
    """For the random walk and Hypothesis."""
    cases: ClassVar[str | Path] = "counterexamples"
    """Folder of saved cases, relative to the test's file. Cases of this scheme are replayed, and
    violations that the tests find are saved there."""
    unreached: ClassVar[tuple[str, ...]] = ()
    """Names of goals that this scheme cannot reach."""

    def __init_subclass__(cls) -> None:
        """Let pytest collect the subclass if it has a scheme."""
        super().__init_subclass__()
        cls.__test__ = hasattr(cls, "scheme")

    def test_interface(self) -> None:
        """The hooks have the right signatures, read no page tables and return valid values."""
        with errors_fail_the_test():
            if is_plugin(self.scheme):
                check_interface(self.scheme, self.scheme.__name__)
            check_behaviour(self.scheme, self.wide, seed=self.seed)

    def test_small_scopes(self) -> None:
        """Every invariant holds in every state of the small scopes, and every goal is reached."""
        reached: set[str] = set()
        for scope in self.scopes:
            done = self._search(scope)
            self._require(done.verdict, Status.HOLDS)
            reached.update(done.reached)
        goals = [g.name for scope in self.scopes for g in goals_of(self.scheme, scope)]
        self._require_goals(goals, reached)

    def _search(self, scope: Scope) -> Answer:
        with errors_fail_the_test(), scheme_errors(self.scheme), watchdog(self.scheme):
            return explore(self.scheme, scope, max_seconds=self.seconds)

    def _require_goals(self, goals: list[str], reached: set[str]) -> None:
        missing = [g for g in dict.fromkeys(goals) if g not in reached | set(self.unreached)]
        if missing:
            pytest.fail(
                f"No state of {self.scheme.name} reaches {', '.join(missing)}, so the search says "
                "nothing about such states. If the scheme cannot reach them, add their names to "
                "`unreached`; otherwise search larger `scopes`.",
                pytrace=False,
            )

    def test_walk(self) -> None:
        """A long random walk in the wide scope violates nothing."""
        with errors_fail_the_test(), scheme_errors(self.scheme), watchdog(self.scheme):
            walker, limits = Walker(seed=self.seed), Limits(steps=self.walk_steps)
            done = walker.answer(Question(self.scheme, self.wide), limits)
        self._require(done.verdict, Status.SAMPLED)

    def test_hypothesis(self) -> None:
        """Runs that Hypothesis generates in the wide scope violate nothing."""
        from rmapcheck.sampling.fuzz import Hypothesis

        with errors_fail_the_test(), scheme_errors(self.scheme), watchdog(self.scheme):
            engine, limits = Hypothesis(seed=self.seed), Limits(runs=self.examples)
            done = engine.answer(Question(self.scheme, self.wide), limits)
        self._require(done.verdict, Status.SAMPLED)

    def test_cases(self) -> None:
        """The saved cases of the scheme violate nothing: the bugs that they showed are fixed."""
        folder = self._folder()
        if "cases" in vars(type(self)) and not folder.is_dir():
            pytest.fail(f"`cases` is {folder}, which is not a folder; correct it", pytrace=False)
        with errors_fail_the_test():
            for path in sorted(p for p in folder.glob("*.json") if p.name != SCHEMA):
                case = load_case(path)
                why = replay_failure(case, self.scheme) if is_about(case, self.scheme) else ""
                if why:
                    pytest.fail(f"{path.name}: {why}", pytrace=False)

    def _folder(self) -> Path:
        """Return the folder of saved cases."""
        file = sys.modules[type(self).__module__].__file__
        return Path(file or ".").parent / self.cases

    def _require(self, verdict: Verdict, wanted: Status) -> None:
        """Fail the test unless the verdict is `wanted`.

        For a violation, show the shortest run, save it, and print the command that repeats it.
        """
        if verdict.status is wanted:
            return
        if verdict.status is not Status.VIOLATED:
            pytest.fail(f"{self.scheme.name}: {verdict}", pytrace=False)
        short = shortened(self.scheme, verdict)
        case = case_from(short, scheme=name_of(self.scheme), minimized=True)
        text = f"{self.scheme.name}: {short}\n\n{render(case, 'text', self.scheme)}"
        pytest.fail(f"{text}\n{saved(case, self._folder())}", pytrace=False)


@contextmanager
def errors_fail_the_test() -> Iterator[None]:
    """Fail the test with the sentence of a ModelError, without a traceback."""
    try:
        yield
        return
    except ModelError as error:
        sentence = f"{error}."
    pytest.fail(sentence, pytrace=False)


def name_of(scheme: "type[Scheme]") -> str:
    """Return what to call the scheme on the command line: its name, or FILE.py:Class."""
    file = sys.modules[scheme.__module__].__file__
    if not is_plugin(scheme) or file is None:
        return scheme.name
    return f"{_shown(Path(file))}:{scheme.__qualname__}"


def saved(case: Case, folder: Path) -> str:
    """Save the case. Return its path and the command that replays it, or why there is none."""
    try:
        path = _shown(save_case(case, folder))
    except ModelError as error:
        return f"not saved  {error}."
    return f"saved  {path}\nagain  {command_for(path, case)}"


def _shown(path: Path) -> Path:
    """Return the path relative to the current folder, if it is in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
