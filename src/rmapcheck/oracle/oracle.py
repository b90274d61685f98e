"""The oracle: runs steps on the model and on the kernel, and compares the two after each step.

A run consists of many episodes. An episode starts with an empty process and ends with a forced
walk: all pages are reclaimed. After it no page may be mapped, and processes that shared a page
must share its swap slot.
"""

import errno
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.branches import BEYOND
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import KernelOops
from rmapcheck.model.machine.heap import Pool
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.operations import ADVICE_NAMES, Outcome, Read, Write, boot
from rmapcheck.oracle.comparison import Difference, Step
from rmapcheck.oracle.observe.snapshot import Snapshot
from rmapcheck.oracle.predict import Predictor, entry_text
from rmapcheck.oracle.puppets.allocations import STRUCTS, Tally
from rmapcheck.oracle.puppets.files import FILE_PAGES, FILES
from rmapcheck.oracle.rules import Coverage, choices, rules_met, vmas_of
from rmapcheck.oracle.steps import scenarios
from rmapcheck.oracle.steps.generate import Mix, propose, reclaim_all

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme
    from rmapcheck.oracle.stage import Stage

EPISODE = 60
"""Steps in an episode."""
CANDIDATES = 5
"""How many candidate steps a directed choice compares."""
MAX_DRAWS = 60
"""Attempts to draw a possible step, before the episode ends."""


def scope_for(processes: int, pages: int, *, files: bool = False) -> Scope:
    """Return a scope for so many processes and pages, with enough room for all they can do."""
    entries = processes * pages
    cached = FILES * FILE_PAGES if files else 0
    return Scope(
        mms=processes,
        pages=pages,
        vmas=min(entries + 2, 200),
        folios=min(2 * entries + cached, 200),
        swaps=min(2 * entries, 200),
        objects=249,
        protections=4,
        files=FILES if files else 0,
        file_pages=FILE_PAGES if files else 1,
    )


@attrs.frozen
class StepResult:
    """A step that was carried out, and how kernel and model differed after it."""

    step: Step
    error: int
    rules: frozenset[str]
    differences: tuple[Difference, ...]


class Episode:
    """One run of model and kernel side by side, from an empty process."""

    def __init__(self, stage: "Stage", scheme: "type[Scheme]", scope: Scope) -> None:
        self.stage = stage
        self.st = Kernel(scope, scheme())
        boot(self.st)
        self.predictor = Predictor(self.st)
        self.results: list[StepResult] = []
        self.spoilt = False
        """A step did not fit into the scope, and no snapshot of the state before it was taken."""
        stage.begin()

    def run_step(self, step: Step, before: Snapshot | None = None) -> StepResult | None:
        """Run a step on the kernel and in the model, and compare the two.

        Return None if the scope is too small for the step. Then the state is restored from
        `before`, a snapshot of it; without a snapshot the episode is over (`spoilt`).
        """
        st = self.st
        live = {pool: getattr(st, pool).live for pool in STRUCTS.values()}
        content = self._content_before(step)
        outcomes, freed, rules = self._predict(step)
        if any(o.exhausted for o in outcomes):
            if before is None:
                self.spoilt = True
            else:
                before.restore()
            return None
        returned = self.stage.perform(step)
        found = list(self._returned(step, outcomes, returned, content))
        if not any(o.oops for o in outcomes):
            found += self.predictor.compare(self.stage.observe(step))
            found += self._allocated(step, live, freed)
            if self.stage.structure is not None:
                found += self.stage.structure.compare(st)
        done = StepResult(step, outcomes[0].error, frozenset(rules), tuple(found))
        self.results.append(done)
        return done

    def _predict(self, step: Step) -> tuple[list[Outcome], dict[str, int], set[str]]:
        """Run the step in the model; return outcomes, freed objects by pool, and rules met."""
        outcomes: list[Outcome] = []
        freed = dict.fromkeys(STRUCTS.values(), 0)
        rules = choices(self.st, step.ops[0])
        for outcome in self.predictor.run(step):
            outcomes.append(outcome)
            rules |= rules_met(self.st)
            for pool, _ in self.st.freed:
                if pool in freed:
                    freed[pool] += 1
        return outcomes, freed, rules

    def _content_before(self, step: Step) -> int:
        """Return the number stored in the page that a Read or Write accesses; 0 for others."""
        op = step.ops[0]
        if not isinstance(op, Read | Write):
            return 0
        return self.predictor.content.get(self.predictor.place(op.mm, op.address), 0)

    def _returned(
        self, step: Step, outcomes: list[Outcome], returned: int, content: int
    ) -> "list[Difference]":
        """Compare what the system call (or the load) returned."""
        op = step.ops[0]
        expected = outcomes[0].error
        oops = next((o.oops for o in outcomes if o.oops is not None), None)
        if isinstance(oops, KernelOops):
            return [Difference("oops", "", "none", str(oops))]
        if isinstance(op, Read | Write) and not expected:
            if isinstance(op, Write):
                content = self.stage.performer.written
            else:
                expected = content
            self.predictor.content[self.predictor.place(op.mm, op.address)] = content
        if BEYOND in self.st.passed:
            expected = -errno.ENXIO  # a puppet answers -ENXIO for SIGBUS, -EFAULT for SIGSEGV
        if returned != expected:
            return [Difference("return value", str(op), str(returned), str(expected))]
        return []

    def _allocated(
        self, step: Step, live: dict[str, int], freed: dict[str, int]
    ) -> "list[Difference]":
        """Compare which rmap objects were allocated and freed."""
        st = self.st
        op = step.ops[0]
        child = getattr(op, "child", 0)
        tally = self.stage.allocations(len(vmas_of(st, child)) if child else None)
        if tally is None:
            return []
        made = {}
        for pool in STRUCTS.values():
            objects: Pool[object] = getattr(st, pool)
            made[pool] = objects.live - live[pool] + freed[pool]
        expected = Tally(made, freed)
        if tally.same(expected):
            return []
        return [Difference("allocations", str(step), str(tally), str(expected))]

    def end(self) -> list[StepResult]:
        """Check the content of all pages, then reclaim them all; return what each step showed."""
        done = [self._contents()]
        step = reclaim_all(self.st)
        if step is not None and self.stage.memcg is not None:
            result = self.run_step(step)
            if result is not None:
                done.append(result)
        return [p for p in done if p is not None]

    def _contents(self) -> StepResult | None:
        """Read each mapped page and compare what it holds; None if nothing differs."""
        found = []
        for m in self.st.mm.indices():
            for address in range(self.st.pages):
                p = self.st.pte[pte_offset(self.st, m, address)]
                if p.folio:
                    expected = self.predictor.content.get(self.predictor.place(m, address), 0)
                    seen = self.stage.puppets.call(m, "READ", address)
                    # A page that is not readable now (-EFAULT) is compared in another episode.
                    if seen not in (expected, -14):
                        where = f"page {address} of process {m}, {entry_text(p.folio)}"
                        found.append(Difference("content", where, str(seen), str(expected)))
        if not found:
            return None
        read = Step((Read(mm=1, address=0),))
        return StepResult(read, 0, frozenset(), tuple(found))


@attrs.frozen(kw_only=True)
class Settings:
    """How long a run is, and how its steps are chosen."""

    operations: int
    seed: int
    directed: float = 0.5
    """Share of the steps that are chosen for rarely met rules; the others are plain random."""
    max_seconds: float | None = None
    until_covered: bool = False


@attrs.define
class Tallies:
    """What a run has done so far."""

    coverage: Coverage
    operations: int = 0
    episodes: int = 0
    walks: int = 0
    walked: int = 0
    """Pages that forced walks unmapped."""
    shared: int = 0
    """Pages among these that several entries mapped."""
    seconds: float = 0.0
    cut: int = 0
    """Steps dropped because the scope was too small for them."""
    failed: tuple[StepResult, ...] = ()
    """All steps of the episode with the first difference; its last step shows it."""


class Oracle:
    """A run of many episodes on one stage."""

    def __init__(
        self,
        stage: "Stage",
        scheme: "type[Scheme]",
        settings: Settings,
        progress: Callable[[Tallies], None] = lambda _: None,
    ) -> None:
        self.stage = stage
        self.scheme = scheme
        self.settings = settings
        self.progress = progress
        files = stage.files is not None
        self.scope = scope_for(stage.options.processes, stage.options.pages, files=files)
        self.rng = Random(settings.seed)
        self.swap = stage.memcg is not None
        self.advices = tuple(a for a in ADVICE_NAMES if a not in stage.skipped)
        lacks = () if "dontfork" in self.advices else ("fork leaves out a VMA",)
        self.tallies = Tallies(Coverage(swap=self.swap, files=files, lacks=lacks))

    def run(self) -> Tallies:
        """Run episodes until a limit of the settings is reached, or a difference is found."""
        started = time.monotonic()
        while not self._enough():
            self._episode()
            self.tallies.seconds = time.monotonic() - started
            self.progress(self.tallies)
            if self.tallies.failed:
                break
        return self.tallies

    def _enough(self) -> bool:
        t, s = self.tallies, self.settings
        late = s.max_seconds is not None and t.seconds > s.max_seconds
        done = s.until_covered and not t.coverage.missing()
        return late or done or t.operations >= s.operations

    def _episode(self) -> None:
        options = self.stage.options
        mix = Mix.drawn(
            self.rng,
            options.pages,
            options.processes,
            swap=self.swap,
            files=self.scope.files,
            advices=self.advices,
        )
        episode = Episode(self.stage, self.scheme, self.scope)
        self.tallies.episodes += 1
        for op in scenarios.draw(self.rng, options.pages, files=mix.files > 0):
            possible = not op.beyond(self.scope) and op.enabled(episode.st)
            if possible and not self._run_step(episode, Step((op,)), None):
                return
        for _ in range(EPISODE):
            directed = self.rng.random() < self.settings.directed
            before = Snapshot(episode.st) if directed else None
            step = self._choose(episode.st, mix, before)
            if step is None:
                break
            if not self._run_step(episode, step, before):
                return
        self._walk(episode)

    def _run_step(self, episode: Episode, step: Step, before: Snapshot | None) -> bool:
        """Run a step; return whether the episode goes on."""
        return not self._failed(episode, episode.run_step(step, before)) and not episode.spoilt

    def _walk(self, episode: Episode) -> None:
        expected = [episode.st.folio[f].mapcount for f in episode.st.folio.indices()]
        for result in episode.end():
            if self._failed(episode, result):
                return
            self.tallies.walks += 1
            self.tallies.walked += sum(n > 0 for n in expected)
            self.tallies.shared += sum(n > 1 for n in expected)

    def _failed(self, episode: Episode, result: StepResult | None) -> bool:
        """Count a step; return whether it shows a difference, which ends the run."""
        if result is None:
            self.tallies.cut += 1
            return False
        self.tallies.operations += 1
        self.tallies.coverage.update(result.rules)
        if result.differences:
            kept = episode.results if result in episode.results else [*episode.results, result]
            self.tallies.failed = tuple(kept)
        return bool(result.differences)

    def _choose(self, st: Kernel, mix: Mix, before: Snapshot | None) -> Step | None:
        """Draw a step; if there is a snapshot to go back to, the best of several candidates."""
        if before is None:
            return self._draw(st, mix)
        best, most = None, -1.0
        for _ in range(CANDIDATES):
            step = self._draw(st, mix)
            if step is None:
                break
            score = self._score(st, step)
            before.restore()
            if score > most:
                best, most = step, score
        return best

    def _draw(self, st: Kernel, mix: Mix) -> Step | None:
        for _ in range(MAX_DRAWS):
            step = propose(st, self.rng, mix)
            if step is not None:
                return step
        return None

    def _score(self, st: Kernel, step: Step) -> float:
        """Run a step in the model alone; return a higher score for rules that were met seldom."""
        rules = choices(st, step.ops[0])
        for outcome in Predictor(st).run(step):
            rules |= rules_met(st)
            if outcome.exhausted or outcome.oops:
                return 0.0
        return self.tallies.coverage.score(rules)


def replay_steps(
    stage: "Stage", scheme: "type[Scheme]", scope: Scope, steps: Sequence[Step]
) -> tuple[StepResult, ...]:
    """Run steps again, leaving out those that are not possible now.

    Return the results up to the first difference; nothing if there is none.
    """
    episode = Episode(stage, scheme, scope)
    for step in steps:
        again = reclaim_all(episode.st) if step.reclaim else step
        if again is None or not all(op.enabled(episode.st) for op in again.ops):
            continue
        result = episode.run_step(again)
        if episode.spoilt:
            return ()
        if result is not None and result.differences:
            break
    else:
        if not episode.end():
            return ()
    return tuple(episode.results) if episode.results and episode.results[-1].differences else ()


def minimize_steps(
    stage: "Stage",
    scheme: "type[Scheme]",
    scope: Scope,
    failed: Sequence[StepResult],
    *,
    max_seconds: float = 20.0,
) -> tuple[StepResult, ...]:
    """Return the results of fewer steps that end in the same sort of difference.

    Large chunks are left out first, single steps last. `max_seconds` limits the time.
    """
    end = time.monotonic() + max_seconds
    what = failed[-1].differences[0].what
    best = tuple(failed)
    size = max(len(best) // 2, 1)
    while size and time.monotonic() < end:
        at = len(best)
        while at > 0 and time.monotonic() < end:
            at = max(at - size, 0)
            steps = [p.step for i, p in enumerate(best) if not at <= i < at + size]
            found = replay_steps(stage, scheme, scope, steps)
            if found and found[-1].differences[0].what == what and len(found) < len(best):
                best = found
        size //= 2
    return best
