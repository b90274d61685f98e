"""The ladder: everything that rmapcheck can do to a scheme, from cheap to expensive.

1. interface   short random lives under the guard: no peeking, no nonsense, no endless loop
2. goals       a seeded walk that looks whether the interesting states are reached at all
   trees       a walk that only fills and empties the tree of a file's VMAs
3. exhaustive  scope after scope, each searched to its end, while the budget lasts: first those
               without which nothing is said to hold, then those in which bugs of the scheme's
               relatives were found; then, of each goal still missing, the smallest scope that can
               reach it
4. walk, fuzz  random runs in a scope far too large to search

It stops at the first violation. Which scopes: ladder.py. What is said at the end: expectation.py.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import count

import attrs

from rmapcheck.cases.minimize import shortened
from rmapcheck.invariants.goals import goals_anywhere
from rmapcheck.invariants.registry import Violation
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.guard import check_behaviour, is_plugin, scheme_errors, watchdog
from rmapcheck.sampling.trees import TREES, TreeWalk
from rmapcheck.sampling.walk import Walk, Walker
from rmapcheck.search.auto import engine_for, general_for, why_interpreted
from rmapcheck.search.coverage import Arm, measured
from rmapcheck.search.native.general import General
from rmapcheck.search.question import Answer, Limits, Question, Reporter
from rmapcheck.verdict import Exit, Status, Verdict
from rmapcheck.verify.expectation import Shown, claim, exit_code, expected_bug
from rmapcheck.verify.flaws import Flaw, base_of, flaws_of
from rmapcheck.verify.ladder import (
    DEPTHS,
    LADDER,
    LONG,
    MEMORY_MB,
    NARROW,
    REQUIRED,
    WIDE,
    bug_scope,
    required,
    scopes_for,
    where_relatives_failed,
    with_files,
)
from rmapcheck.verify.own_lines import not_run, own_functions

BUDGET = 60.0
"""Seconds of CPU time, by the clock of Limits."""
QUICK = 5.0
TREE_PART = 1 / 20
"""The part of the budget for a walk that only fills and empties a tree of VMAs."""
GRACE = 5
"""The least that must be searched may take so many times the budget, if it is searched in C."""


@attrs.frozen
class Rung:
    """One step of the ladder and what it showed."""

    name: str
    answer: Answer

    @property
    def verdict(self) -> Verdict:
        """What the engine says."""
        return self.answer.verdict

    @property
    def states(self) -> int:
        """States stored by a search; operations carried out by random runs."""
        return self.answer.distinct or self.answer.generated

    @property
    def cut(self) -> dict[str, int]:
        """Steps that a search dropped, by the pool that had no object left for them."""
        return self.answer.cut if self.name == "exhaustive" else {}


@attrs.frozen(kw_only=True)
class Report:
    """All rungs climbed and the verdict over all of them."""

    scheme: type[Scheme]
    rungs: tuple[Rung, ...]
    verdict: Verdict
    exhausted: tuple[Scope, ...]
    missed: tuple[str, ...]
    """Goals that no rung reached."""
    not_run: tuple[Arm, ...] = ()
    """Lines of the author that no completed search ran."""
    flaws: tuple[Flaw, ...] = ()
    """What the scheme's base violates in the same runs."""

    @property
    def cut(self) -> dict[str, int]:
        """Steps that the searches dropped for lack of room, by pool."""
        total: dict[str, int] = {}
        for rung in self.rungs:
            for pool, number in rung.cut.items():
                total[pool] = total.get(pool, 0) + number
        return total

    @property
    def exit(self) -> Exit:
        """The exit code; a seeded bug expects its violation."""
        return exit_code(self.scheme, self.verdict)


class Climber:
    """One climb. `verify` runs it; after an interruption, `rungs` tells what was done."""

    def __init__(
        self,
        scheme: type[Scheme],
        *,
        budget: float = BUDGET,
        seed: int = 0,
        reporter: Reporter | None = None,
        begin: Callable[[str], None] = lambda _: None,
        workers: int = 1,
    ) -> None:
        self.scheme = scheme
        self.budget = budget
        self.seed = seed
        self.reporter = reporter
        self.begin = begin
        self.workers = workers
        self.rungs: list[Rung] = []
        self.started = Limits.clock()
        self.general: General | None = None
        """The library of all short searches, if there is one."""
        bug = expected_bug(scheme)
        self.target = bug.violates if bug else ""
        self.base = base_of(scheme)
        self.narrow, self.wide = (with_files(scheme, scope) for scope in (NARROW, WIDE))
        self.arms: tuple[Arm, ...] = ()

    @property
    def used(self) -> float:
        """Seconds of CPU time since the start."""
        return Limits.clock() - self.started

    def climb(self) -> Report:
        """Climb until something is violated or the budget is used up."""
        own = own_functions(self.scheme) if is_plugin(self.scheme) else ()
        with (
            scheme_errors(self.scheme),
            watchdog(self.scheme),
            measured(own) as self.arms,
            closing(self._rungs()) as rungs,
        ):
            for rung in rungs:
                self.rungs.append(rung)
                if rung.verdict.status is Status.VIOLATED:
                    break
        return self.report()

    def _rungs(self) -> Generator[Rung, None, None]:
        if is_plugin(self.scheme):
            self.begin("interface")
            yield self._interface()
        with self._compiling():
            self.begin("goals")
            yield self._goals()
            if self.scheme.maps_files:
                self.begin(f"trees {TREES}")
                yield self._trees()
            yield from self._exhaustive()
        for scope, part in ((self.narrow, 1 / 3), (self.wide, 1 / 2)):
            self.begin(f"walk {scope}")
            yield self._random("walk", scope, max((self.budget - self.used) * part, 0.5))
        self.begin(f"fuzz {self.wide}")
        yield self._fuzz()

    @contextmanager
    def _compiling(self) -> Iterator[None]:
        """Compile a library for the searches in the background, from now on."""
        self.general = general_for(self.scheme, scopes_for(self.scheme))
        with self.general.building if self.general else nullcontext():
            yield

    def _interface(self) -> Rung:
        start = time.monotonic()
        # Files have so many mappings that without them other operations come first.
        scopes = tuple(dict.fromkeys((WIDE, self.wide)))
        each = self.budget * 0.05 / len(scopes)
        steps = sum(
            check_behaviour(self.scheme, scope, seed=self.seed, seconds=each) for scope in scopes
        )
        verdict = self._sampled("interface", f"{steps} steps under the guard")
        seconds = time.monotonic() - start
        return Rung(
            "interface",
            Answer(verdict=verdict, generated=steps, seconds=seconds, engine="interface"),
        )

    def _sampled(self, engine: str, how: str, scope: Scope | None = None) -> Verdict:
        return Verdict(
            status=Status.SAMPLED,
            scheme=self.scheme.name,
            scope=scope or self.wide,
            engine=engine,
            how=how,
            seed=self.seed,
        )

    def _goals(self) -> Rung:
        """Walk on past violations, which a search will report with a shorter trace."""
        limits = Limits(steps=10**6, seconds=max(self.budget * 0.05, 0.5))
        walked = Walker(seed=self.seed).answer(
            Question(self.scheme, self.wide, target="-"), limits
        )
        how = f"{len(walked.reached)} of {len(walked.goals)} goals reached"
        return Rung("goals", attrs.evolve(walked, verdict=self._sampled("goals", how)))

    def _exhaustive(self) -> Iterator[Rung]:
        """Search the required scopes, those that goals want, and others while there is time."""
        own = bug_scope(self.scheme) if self.target else None
        yield from self._search_all((own,) if own else (), 1)
        yield from self._search_all(required(self.scheme), GRACE)
        yield from self._search_all(where_relatives_failed(self.scheme), 3 / 4, share=1 / 3)
        yield from self._search_all(LADDER[REQUIRED:], 3 / 4)
        for goal in goals_anywhere(self.scheme):
            if goal.name not in self._reached():
                yield from self._search_all((goal.scope,), GRACE)

    def _search_all(
        self, scopes: Iterable[Scope], part: float, share: float = 1
    ) -> Iterator[Rung]:
        """Search scope after scope until `part` of the budget is used up.

        None may take more than its `share` of what is left.
        """
        for scope in scopes:
            most = self.budget * (min(part, 1) if self._interpreted() else part)
            left = round(most - self.used, 1)
            if left > 0 and scope not in self._held():
                yield self._search(scope, round(left * share, 1))

    def _interpreted(self) -> str:
        """Return why searches are interpreted that should be in C, or ""."""
        return why_interpreted(r.answer for r in self.rungs if r.name == "exhaustive")

    def _held(self) -> list[Scope]:
        """Return the scopes that need not be searched again."""
        found = (r.verdict for r in self.rungs if r.name == "exhaustive")
        return [verdict.scope for verdict in found if verdict.status is Status.HOLDS]

    def _search(self, scope: Scope, seconds: float) -> Rung:
        self.begin(f"exhaustive {scope}")
        question = self._question(scope)
        general = None if scope in LONG else self.general
        engine = engine_for(question, workers=self.workers, general=general)
        limits = Limits(depth=DEPTHS.get(scope), seconds=seconds, memory_mb=MEMORY_MB)
        return Rung("exhaustive", engine.answer(question, limits, self.reporter))

    def _trees(self) -> Rung:
        """Insert many VMAs of a file into its i_mmap, at offsets far apart."""
        return self._random("trees", TREES, self.budget * TREE_PART, walk=TreeWalk)

    def _random(self, name: str, scope: Scope, seconds: float, walk: type[Walk] = Walk) -> Rung:
        """Walk at random; after what the base violates too, begin again with another seed."""
        question = self._question(scope)
        end = Limits.clock() + seconds
        known: list[tuple[Violation, ...]] = []
        steps = 0
        for seed in count(self.seed):
            limits = Limits(steps=10**7, seconds=max(end - Limits.clock(), 0.1))
            walked = Walker(seed=seed, walk=walk).answer(question, limits)
            steps += walked.generated
            if not question.knows(walked.verdict):
                break
            known.append(walked.verdict.violations)
            if Limits.clock() > end:
                walked = attrs.evolve(walked, verdict=self._sampled(name, f"{steps} steps", scope))
                break
        return Rung(name, attrs.evolve(walked, generated=steps, known=tuple(known)))

    def _fuzz(self) -> Rung:
        """Run Hypothesis in rounds of less than a second, each with a seed of its own."""
        from rmapcheck.sampling.fuzz import Hypothesis

        question = self._question(self.wide)
        start = time.monotonic()
        steps = 0
        known: list[tuple[Violation, ...]] = []
        for seed in count(self.seed):
            done = Hypothesis(seed=seed).answer(question, Limits(runs=10))
            steps += done.generated
            verdict = done.verdict
            if question.knows(verdict):
                known.append(verdict.violations)
            elif verdict.status is not Status.SAMPLED:
                break
            verdict = self._sampled("fuzz", f"{steps} steps by Hypothesis")
            if self.used > self.budget:
                break
        seconds = time.monotonic() - start
        return Rung(
            "fuzz",
            attrs.evolve(
                done, verdict=verdict, generated=steps, seconds=seconds, known=tuple(known)
            ),
        )

    def _question(self, scope: Scope) -> Question:
        return Question(self.scheme, scope, target=self.target, base=self.base)

    # The sum.

    def report(self) -> Report:
        """Sum up what was shown so far."""
        exhausted = tuple(
            r.verdict.scope for r in self.rungs if r.name == "exhaustive" and r.verdict.exhaustive
        )
        reached = self._reached()
        missed = tuple(g.name for g in goals_anywhere(self.scheme) if g.name not in reached)
        lines = not_run(self.arms, self._ran())
        flaws = flaws_of(self.base, [k for rung in self.rungs for k in rung.answer.known])
        return Report(
            scheme=self.scheme,
            rungs=tuple(self.rungs),
            verdict=self._verdict(Shown(exhausted, missed, lines, flaws, self._interpreted())),
            exhausted=exhausted,
            missed=missed,
            not_run=lines,
            flaws=flaws,
        )

    def _ran(self) -> frozenset[str]:
        """Return the arms that ran in searches that were completed."""
        completed = (r.answer.arms for r in self.rungs if r.verdict.exhaustive)
        return frozenset().union(*completed)

    def _reached(self) -> set[str]:
        return {name for rung in self.rungs for name in rung.answer.reached}

    def _verdict(self, shown: Shown) -> Verdict:
        for rung in self.rungs:
            if rung.verdict.status is Status.VIOLATED:
                return shortened(self.scheme, rung.verdict.target_first(self.target))
        return claim(self.scheme, shown, budget=self.budget, seed=self.seed)
