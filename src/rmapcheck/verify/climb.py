"""The ladder: everything that rmapcheck can do to a scheme, from cheap to dear.

1. interface   short random lives under the guard: no peeking, no nonsense, no endless loop
2. goals       a seeded walk that looks whether the interesting states are reached at all
3. exhaustive  scope after scope, each searched to its end, while the budget lasts: first those
               without which nothing is said to hold, then those in which bugs of the scheme's
               relatives were found; then, of each goal still missing, the smallest scope that can
               reach it
4. walk, fuzz  random runs in a scope far too large to search

It stops at the first violation. What it says at the end is no more than was shown: HOLDS names the
scopes that were exhausted, and is not said at all where the smallest of them were not, or where
a goal was never reached.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from rmapcheck.cases.minimize import fit_scope, minimize
from rmapcheck.explore import explore
from rmapcheck.invariants.goals import goals_anywhere
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Bug, Scheme
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.plugins.guard import check_behaviour, is_plugin, scheme_errors, watchdog
from rmapcheck.run import replay
from rmapcheck.sampling.walk import sample
from rmapcheck.search.interpreted import Reporter
from rmapcheck.verdict import Exit, Status, Verdict

BUDGET = 60.0
"""Seconds."""
QUICK = 20.0
MEMORY_MB = 6000
GRACE = 5
"""The least that must be searched may take so many times the budget: compiling a scheme for a
scope takes seconds on a busy machine, and UNKNOWN would be no help there."""
REQUIRED = 9
"""How many of `LADDER`, from the first, must be exhausted before HOLDS is said."""


def _scope(mms: int, pages: int, folios: int, ops: str, **more: Any) -> Scope:  # noqa: ANN401
    chosen = {"swaps": int("swap" in ops.split()), "protections": 1, **more}
    return Scope(mms=mms, pages=pages, folios=folios, ops=tuple(ops.split()), **chosen)


LONG_FORKS = _scope(
    3, 2, 1, "mprotect fault fork exit", protections=2, premapped=2, vmas=8, objects=40
)
DEPTHS = {LONG_FORKS: 9}
"""Scopes of the ladder that have no end in sight, and how many operations deep they are searched:
"bounded", which does not count as exhausted."""

LADDER: tuple[Scope, ...] = (
    Scope(mms=1, pages=1),
    _scope(3, 1, 2, "fault fork swap", premapped=1),
    _scope(1, 2, 2, "mmap munmap mprotect fault mremap", protections=2),
    _scope(1, 2, 2, "mmap munmap mprotect fault mremap brk", protections=2, alloc_fail=True),
    _scope(1, 3, 1, "munmap mprotect fault", protections=2, premapped=3),
    _scope(3, 1, 1, "fault fork exit", premapped=1, objects=20),
    _scope(2, 2, 2, "mprotect fault fork", protections=2, premapped=2),
    _scope(3, 2, 1, "munmap fault fork", premapped=2, objects=20, alloc_fail=True),
    _scope(1, 3, 2, "mmap fault mremap"),
    _scope(3, 1, 2, "fault fork exit", premapped=1, objects=20),
    _scope(2, 2, 2, "fault fork swap mremap_move", premapped=1),
    _scope(3, 1, 2, "fault fork exit referenced", premapped=1, young=True),
    _scope(2, 1, 2, "mmap munmap fault fork exec exit madvise swap"),
    _scope(2, 2, 2, "mprotect fault fork", protections=2, premapped=2, alloc_fail=True),
    _scope(2, 2, 2, "munmap fault fork mremap", premapped=2),
    _scope(2, 2, 2, "mprotect fault fork swap", protections=2, premapped=2),
    _scope(2, 2, 2, "mprotect fault fork exit", protections=2, premapped=2),
    _scope(3, 2, 1, "mprotect fault fork", protections=2, premapped=2),
    LONG_FORKS,
    Scope(mms=1, pages=2, folios=2),
    _scope(1, 3, 2, "mmap munmap mprotect fault mremap", protections=2),
    Scope(mms=2, pages=1, folios=3),
    _scope(2, 2, 1, "mprotect fault fork mremap", protections=2, premapped=2),
    _scope(2, 2, 1, "munmap mprotect fault fork mremap swap", protections=2, premapped=2),
    _scope(2, 3, 2, "munmap mprotect fault fork exit mremap swap", protections=2, premapped=3),
)
"""Scopes to exhaust, the cheapest first. Of avc-7.0 the required ones have 65 … 13500 states and
take half a minute together, interpreted. Those after them have up to 120000 and take four to seven
seconds each with a C compiler, most of which is its, the first time; the last three have 0.6 and
2.4 million (a minute), and too many for any budget yet."""

FILES: tuple[Scope, ...] = (
    _scope(2, 1, 2, "munmap fault fork exit file reclaim truncate", files=1),
    _scope(1, 3, 1, "munmap fault file truncate", files=1, file_pages=3),
    _scope(
        1, 2, 2, "munmap mprotect fault mremap file truncate", protections=2, files=1, file_pages=2
    ),
    _scope(1, 2, 2, "file fault reclaim remap", files=1, file_pages=2),
)
"""Scopes with files, which a scheme that maps files must hold in as well; the last is for those
whose kernels had remap_file_pages(). They have up to 700, 27000, 6000 and 4000 states."""

LIMITED = _scope(2, 2, 2, "mmap munmap fault fork", premapped=2, rss_limit=2)
"""For schemes whose walk looks at the resident set's limit."""
CHUNKS = _scope(7, 1, 1, "fault fork", premapped=1, vmas=7)
"""For schemes whose chains have chunks: a page has three of these."""

NARROW = Scope(mms=3, pages=2, folios=4, objects=40, alloc_fail=True)
WIDE = Scope(mms=3, pages=4, vmas=12, folios=8, swaps=2, objects=60, alloc_fail=True, young=True)
"""Where random runs go."""


def required(scheme: type[Scheme]) -> tuple[Scope, ...]:
    """Return the scopes that must be exhausted before HOLDS is said of `scheme`."""
    return (*LADDER[:REQUIRED], *(s for s in FILES if _has_all(scheme, s)))


def where_relatives_failed(scheme: type[Scheme]) -> tuple[Scope, ...]:
    """Return the scopes in which bugs of the scheme's relatives are found, the smallest first.

    What went wrong once in a design is what its next variant is likely to get wrong.
    """
    scopes = [LIMITED] if "rsslimit" in scheme.invariants else []
    scopes += [CHUNKS] if hasattr(scheme, "nrpte") else []
    for bug in bugs().values():
        scope = bug_scope(bug)
        if scope is not None and _related(scheme, bug) and _has_all(scheme, scope):
            scopes.append(scope)
    scopes.sort(key=lambda s: (s.mms * s.pages, len(s.ops)))
    already = required(scheme)
    return tuple(s for s in dict.fromkeys(scopes) if s not in already)


def _related(scheme: type[Scheme], other: type[Scheme]) -> bool:
    shared = set(scheme.__mro__) & set(other.__mro__)
    return bool(shared - set(Scheme.__mro__))


def _has_all(scheme: type[Scheme], scope: Scope) -> bool:
    """Tell whether the scheme's kernels had what the scope is about."""
    files = scheme.maps_files or not scope.files
    return files and not (scope.nonlinear and "remap_file_pages" in scheme.era.lacks)


@attrs.frozen(kw_only=True)
class Rung:
    """One step of the ladder and what it showed."""

    name: str
    verdict: Verdict
    states: int = 0
    """States stored by a search; operations carried out by a random run."""
    seconds: float
    reached: frozenset[str] = frozenset()
    cut: dict[str, int] = attrs.Factory(dict)
    """Steps that a search dropped, by the pool that had no object left for them."""


@attrs.frozen(kw_only=True)
class Report:
    """All rungs climbed and the verdict over all of them."""

    scheme: type[Scheme]
    rungs: tuple[Rung, ...]
    verdict: Verdict
    exhausted: tuple[Scope, ...]
    missed: tuple[str, ...]
    """Goals that no rung reached."""

    @property
    def cut(self) -> dict[str, int]:
        """Steps that the searches dropped for want of room, by pool."""
        total: dict[str, int] = {}
        for rung in self.rungs:
            for pool, number in rung.cut.items():
                total[pool] = total.get(pool, 0) + number
        return total

    @property
    def exit(self) -> Exit:
        """The exit code; a seeded bug expects its violation."""
        return exit_code(self.scheme, self.verdict)


def expected_bug(scheme: type[Scheme]) -> Bug | None:
    """Return the bug that the class itself declares; a plug-in that mends one inherits none."""
    return vars(scheme).get("bug")


def known_flaw(scheme: type[Scheme], verdict: Verdict) -> str:
    """Return the bug that the kernels of a built-in scheme had and that this is, or ""."""
    names = [v.invariant for v in verdict.violations]
    for flaw in () if is_plugin(scheme) or expected_bug(scheme) else scheme.era.flaws:
        bug = bugs()[flaw].bug
        if bug is not None and bug.violates in names:
            return flaw
    return ""


def exit_code(scheme: type[Scheme], verdict: Verdict, target: str = "") -> Exit:
    """Return what a command whose result is `verdict` exits with.

    A seeded bug is expected to violate what it says, or what the user looks for as `target`.
    """
    bug = expected_bug(scheme)
    if verdict.status is Status.VIOLATED:
        names = [v.invariant for v in verdict.violations]
        caught = bug is not None and any(n in names for n in (bug.violates, *target.split(",")))
        return Exit.EXPECTED if caught or known_flaw(scheme, verdict) else Exit.UNEXPECTED
    if verdict.status is not Status.HOLDS:
        return Exit.INCONCLUSIVE
    return Exit.UNEXPECTED if bug else Exit.EXPECTED


def bug_scope(scheme: type[Scheme]) -> Scope | None:
    """Return the scope in which a seeded bug is found soonest, or None."""
    bug = scheme.bug
    if bug is None:
        return None
    given: dict[str, Any] = dict(bug.scope)
    if "ops" in given:
        given["ops"] = tuple(given["ops"])
    return Scope(**given)


class Climber:
    """One climb. `verify` runs it; after an interruption, `rungs` tells what was done."""

    def __init__(
        self,
        scheme: type[Scheme],
        *,
        budget: float = BUDGET,
        seed: int = 0,
        reporter: Reporter | None = None,
        told_of: Callable[[str], None] = lambda _: None,
        workers: int = 1,
    ) -> None:
        self.scheme = scheme
        self.budget = budget
        self.seed = seed
        self.reporter = reporter
        self.told_of = told_of
        self.workers = workers
        self.rungs: list[Rung] = []
        self.started = time.monotonic()
        bug = expected_bug(scheme)
        self.target = bug.violates if bug else ""

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def climb(self) -> Report:
        """Climb until something is violated or the budget is used up."""
        with scheme_errors(self.scheme), watchdog(self.scheme):
            for rung in self._rungs():
                self.rungs.append(rung)
                if rung.verdict.status is Status.VIOLATED:
                    break
        return self.report()

    def _rungs(self) -> Iterator[Rung]:
        if is_plugin(self.scheme):
            self.told_of("interface")
            yield self._interface()
        self.told_of("goals")
        yield self._goals()
        yield from self._exhaustive()
        for scope, part in ((NARROW, 1 / 3), (WIDE, 1 / 2)):
            self.told_of(f"walk {scope}")
            yield self._walk(scope, max((self.budget - self.used) * part, 0.5))
        self.told_of(f"fuzz {WIDE}")
        yield self._fuzz()

    def _interface(self) -> Rung:
        start = time.monotonic()
        steps = check_behaviour(self.scheme, WIDE, seed=self.seed, seconds=self.budget * 0.05)
        verdict = self._sampled("interface", f"{steps} steps under the guard")
        return Rung(
            name="interface", verdict=verdict, states=steps, seconds=time.monotonic() - start
        )

    def _sampled(self, engine: str, how: str) -> Verdict:
        return Verdict(
            status=Status.SAMPLED,
            scheme=self.scheme.name,
            scope=WIDE,
            engine=engine,
            how=how,
            seed=self.seed,
        )

    def _goals(self) -> Rung:
        """Walk on past violations, which a search will report with a shorter trace."""
        seconds = max(self.budget * 0.05, 0.5)
        walked = sample(
            self.scheme, WIDE, steps=10**6, seed=self.seed, max_seconds=seconds, target="-"
        )
        reached = frozenset(name for name, runs in walked.goals.items() if runs)
        how = f"{len(reached)} of {len(walked.goals)} goals reached"
        verdict = self._sampled("goals", how)
        return Rung(
            name="goals",
            verdict=verdict,
            states=walked.steps,
            seconds=walked.seconds,
            reached=reached,
        )

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
            left = round(self.budget * part - self.used, 1)
            if left > 0:
                yield self._search(scope, round(left * share, 1))

    def _search(self, scope: Scope, seconds: float) -> Rung:
        self.told_of(f"exhaustive {scope}")
        done = explore(
            self.scheme,
            scope,
            max_seconds=seconds,
            max_memory_mb=MEMORY_MB,
            max_depth=DEPTHS.get(scope),
            target=self.target,
            reporter=self.reporter,
            workers=self.workers,
        )
        return Rung(
            name="exhaustive",
            verdict=done.verdict,
            states=done.distinct,
            seconds=done.seconds,
            reached=frozenset(done.reached),
            cut=done.cut,
        )

    def _walk(self, scope: Scope, left: float) -> Rung:
        walked = sample(
            self.scheme,
            scope,
            steps=10**7,
            seed=self.seed,
            max_seconds=left,
            target=self.target,
        )
        return Rung(
            name="walk",
            verdict=walked.verdict,
            states=walked.steps,
            seconds=walked.seconds,
            reached=frozenset(name for name, runs in walked.goals.items() if runs),
        )

    def _fuzz(self) -> Rung:
        """Run Hypothesis in rounds of a second or so, each with a seed of its own."""
        from rmapcheck.sampling.fuzz import fuzz

        start = time.monotonic()
        steps = 0
        seed = self.seed
        while True:
            verdict = fuzz(self.scheme, WIDE, examples=20, seed=seed, target=self.target)
            if verdict.status is Status.SAMPLED:
                steps += int(verdict.how.split()[0])
                verdict = attrs.evolve(verdict, how=f"{steps} steps by Hypothesis", seed=self.seed)
            seconds = time.monotonic() - start
            if verdict.status is not Status.SAMPLED or self.used > self.budget:
                return Rung(name="fuzz", verdict=verdict, states=steps, seconds=seconds)
            seed += 1

    # The sum.

    def report(self) -> Report:
        """Sum up what was shown so far."""
        exhausted = tuple(
            r.verdict.scope for r in self.rungs if r.name == "exhaustive" and exhaustive(r.verdict)
        )
        reached = self._reached()
        missed = tuple(g.name for g in goals_anywhere(self.scheme) if g.name not in reached)
        return Report(
            scheme=self.scheme,
            rungs=tuple(self.rungs),
            verdict=self._verdict(exhausted, missed),
            exhausted=exhausted,
            missed=missed,
        )

    def _reached(self) -> set[str]:
        return {name for rung in self.rungs for name in rung.reached}

    def _verdict(self, exhausted: tuple[Scope, ...], missed: tuple[str, ...]) -> Verdict:
        for rung in self.rungs:
            if rung.verdict.status is Status.VIOLATED:
                return shortened(self.scheme, target_first(rung.verdict, self.target))
        base: dict[str, Any] = {"scheme": self.scheme.name, "engine": "verify", "seed": self.seed}
        needed = [scope for scope in required(self.scheme) if scope not in exhausted]
        if needed:
            why = f"the budget of {self.budget:g} s ended before {needed[0]} was exhausted"
            return Verdict(status=Status.UNKNOWN, scope=needed[0], why=why, **base)
        if missed:
            why = f"vacuous: no run reached {', '.join(missed)}"
            return Verdict(status=Status.UNKNOWN, scope=WIDE, why=why, **base)
        sizes = ", ".join(dict.fromkeys(f"{scope.mms}×{scope.pages}" for scope in exhausted))
        how = f"exhaustive in {len(exhausted)} scopes of {sizes} processes × pages"
        return Verdict(status=Status.HOLDS, scope=exhausted[-1], how=how, **base)


def exhaustive(verdict: Verdict) -> bool:
    """Tell whether every state of the verdict's scope was seen."""
    return verdict.status is Status.HOLDS and verdict.how == "exhaustive"


def target_first(verdict: Verdict, target: str) -> Verdict:
    """Return the verdict with the violation that was looked for before the others."""
    ordered = sorted(verdict.violations, key=lambda v: v.invariant != target)
    return attrs.evolve(verdict, violations=tuple(ordered))


def shortened(scheme: type[Scheme], verdict: Verdict) -> Verdict:
    """Return a VIOLATED verdict with its trace minimised, in the smallest scope, and replayed.

    A search's trace is a shortest one already, and is left as it is.
    """
    if verdict.engine == "explore" or verdict.status is not Status.VIOLATED:
        return verdict
    invariant = verdict.violations[0].invariant
    trace = minimize(scheme, verdict.scope, verdict.trace, invariant)
    scope = fit_scope(scheme, verdict.scope, trace, invariant)
    again = replay(scheme, scope, trace, target=invariant)
    short = attrs.evolve(verdict, scope=scope, trace=trace, violations=again.violations)
    return target_first(short, invariant)
