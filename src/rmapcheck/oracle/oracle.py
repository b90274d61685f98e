"""The oracle: runs many episodes, and chooses their steps so that rarely met rules are tried."""

import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.kernel import Kernel
from rmapcheck.model.operations import ADVICE_NAMES
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.episode import Episode, StepResult, scope_for
from rmapcheck.oracle.observe.snapshot import Snapshot
from rmapcheck.oracle.predict import Predictor
from rmapcheck.oracle.rules import Coverage, choices, rules_met
from rmapcheck.oracle.steps import scenarios
from rmapcheck.oracle.steps.generate import Mix, propose

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme
    from rmapcheck.oracle.stage import Stage

EPISODE = 60
"""Steps in an episode."""
CANDIDATES = 5
"""How many candidate steps a directed choice compares."""
MAX_DRAWS = 60
"""Attempts to draw a possible step, before the episode ends."""


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
