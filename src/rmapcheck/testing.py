"""The conformance kit: the tests that a scheme of your own should pass, in five lines.

    from my_scheme import MyScheme
    from rmapcheck.testing import SchemeConformance

    class TestMyScheme(SchemeConformance):
        scheme = MyScheme

Every attribute below may be overridden: larger scopes, longer walks, a folder of saved cases.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from rmapcheck.cases.case import case_from, load_case
from rmapcheck.explore import Exploration, explore
from rmapcheck.invariants.goals import goals_of
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.guard import check_behaviour, is_plugin, scheme_errors, watchdog
from rmapcheck.plugins.interface import check_interface
from rmapcheck.pytest_plugin import is_about, is_case_file, replayed
from rmapcheck.report.explain import render
from rmapcheck.sampling.walk import sample
from rmapcheck.verdict import Status, Verdict
from rmapcheck.verify.climb import shortened

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme

SMALL = (
    Scope(mms=1, pages=2, folios=2, swaps=0, ops=("mmap", "mprotect", "fault", "mremap")),
    Scope(
        mms=2, pages=1, folios=2, protections=1, ops=("mmap", "munmap", "fault", "fork", "swap")
    ),
    Scope(mms=3, pages=1, folios=1, swaps=0, premapped=1, ops=("fault", "fork", "exit")),
)
"""Scopes that are searched through in a few seconds."""

WIDE = Scope(mms=3, pages=3, vmas=9, folios=6, objects=60, alloc_fail=True, young=True)
"""A scope far too large to search through, for random runs."""


class SchemeConformance:
    """Base of the tests of one scheme; pytest runs only its subclasses."""

    __test__: ClassVar[bool] = False
    scheme: "ClassVar[type[Scheme]]"
    scopes: ClassVar[tuple[Scope, ...]] = SMALL
    """Searched through, state by state."""
    wide: ClassVar[Scope] = WIDE
    """Where the walker and Hypothesis go."""
    seconds: ClassVar[float] = 60.0
    """For each search; one that takes longer fails as inconclusive."""
    walk_steps: ClassVar[int] = 10_000
    examples: ClassVar[int] = 50
    """Runs of Hypothesis."""
    seed: ClassVar[int] = 0
    cases: ClassVar[str | Path] = "counterexamples"
    """Folder of saved cases, seen from the test's file; those of this scheme are replayed."""
    unreached: ClassVar[tuple[str, ...]] = ()
    """Goals that the scheme may miss, since it never does such a thing."""

    def __init_subclass__(cls) -> None:
        """Make the subclass a test, unless it is a base without a scheme."""
        super().__init_subclass__()
        cls.__test__ = hasattr(cls, "scheme")

    def test_interface(self) -> None:
        """The hooks have their signatures, leave page tables alone, and answer sensibly."""
        with explained():
            if is_plugin(self.scheme):
                check_interface(self.scheme, self.scheme.__name__)
            check_behaviour(self.scheme, self.wide, seed=self.seed)

    def test_small_scopes(self) -> None:
        """Every invariant holds in every state of the small scopes, and every goal is reached."""
        reached: set[str] = set()
        for scope in self.scopes:
            done = self._search(scope)
            require(self.scheme, done.verdict, Status.HOLDS)
            reached.update(done.reached)
        offered = [g.name for scope in self.scopes for g in goals_of(self.scheme, scope)]
        self._require_goals(offered, reached)

    def _search(self, scope: Scope) -> Exploration:
        with explained(), scheme_errors(self.scheme), watchdog(self.scheme):
            return explore(self.scheme, scope, max_seconds=self.seconds)

    def _require_goals(self, offered: list[str], reached: set[str]) -> None:
        missing = [g for g in dict.fromkeys(offered) if g not in reached | set(self.unreached)]
        if missing:
            pytest.fail(
                f"No state of {self.scheme.name} reaches {', '.join(missing)}, so that the search "
                "is vacuous there. A goal that the scheme cannot reach belongs in `unreached`.",
                pytrace=False,
            )

    def test_walk(self) -> None:
        """A long random walk in the wide scope violates nothing."""
        with explained(), scheme_errors(self.scheme), watchdog(self.scheme):
            done = sample(self.scheme, self.wide, steps=self.walk_steps, seed=self.seed)
        require(self.scheme, done.verdict, Status.SAMPLED)

    def test_hypothesis(self) -> None:
        """Nor do the runs that Hypothesis makes up."""
        from rmapcheck.sampling.fuzz import fuzz

        with explained(), scheme_errors(self.scheme), watchdog(self.scheme):
            verdict = fuzz(self.scheme, self.wide, examples=self.examples, seed=self.seed)
        require(self.scheme, verdict, Status.SAMPLED)

    def test_cases(self) -> None:
        """No saved case of the scheme is violated any more; what it showed once is mended."""
        file = sys.modules[type(self).__module__].__file__
        folder = Path(file or ".").parent / self.cases
        with explained():
            for path in sorted(p for p in folder.glob("*.json") if is_case_file(p)):
                case = load_case(path)
                why = replayed(case, self.scheme) if is_about(case, self.scheme) else ""
                if why:
                    pytest.fail(f"{path.name}: {why}", pytrace=False)


@contextmanager
def explained() -> Iterator[None]:
    """Let a mistake in the scheme fail the test with its one sentence."""
    try:
        yield
        return
    except ModelError as error:
        sentence = f"{error}."
    pytest.fail(sentence, pytrace=False)


def require(scheme: "type[Scheme]", verdict: Verdict, wanted: Status) -> None:
    """Fail the test unless the verdict is `wanted`; of a violation, show the shortest run."""
    if verdict.status is wanted:
        return
    if verdict.status is not Status.VIOLATED:
        pytest.fail(f"{scheme.name}: {verdict}", pytrace=False)
    short = shortened(scheme, verdict)
    pytest.fail(
        f"{scheme.name}: {short}\n\n{render(case_from(short), 'text', scheme)}", pytrace=False
    )
