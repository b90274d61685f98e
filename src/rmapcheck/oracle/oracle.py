"""The oracle: runs steps on the model and on the kernel, and compares after each.

A run is many episodes from an empty process, each with a forced walk at its end: all pages are
reclaimed, none may stay mapped, and whoever shared a page must share its swap slot.
"""

import errno
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

import attrs

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
from rmapcheck.oracle.rules import BEYOND, Coverage, choices, taken, vmas_of
from rmapcheck.oracle.steps import openings
from rmapcheck.oracle.steps.generate import Mix, propose, reclaim_all

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme
    from rmapcheck.oracle.stage import Stage

EPISODE = 60
"""Steps of an episode."""
CANDIDATES = 5
"""How many steps a directed choice looks at."""
PATIENCE = 60
"""Attempts to draw a step that can be asked for, before the episode ends."""


def scope_for(processes: int, pages: int, *, files: bool = False) -> Scope:
    """Return a scope with so many processes and pages, and room for whatever they do."""
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
class Played:
    """A step that was carried out, and what was found out about it."""

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
        self.played: list[Played] = []
        self.spoilt = False
        """A step for which the scope is too small was begun, and the state was not put aside."""
        stage.begin()

    def play(self, step: Step, before: Snapshot | None = None) -> Played | None:
        """Take a step on both sides and compare. None: the scope is too small for it.

        `before`: the state as it is, put aside, to be restored then; else the episode is over.
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
            found += self.predictor.compare(self.stage.look(step))
            found += self._allocated(step, live, freed)
            if self.stage.structure is not None:
                found += self.stage.structure.compare(st)
        done = Played(step, outcomes[0].error, frozenset(rules), tuple(found))
        self.played.append(done)
        return done

    def _predict(self, step: Step) -> tuple[list[Outcome], dict[str, int], set[str]]:
        """Take the step in the model; return outcomes, objects freed, and rules taken."""
        outcomes: list[Outcome] = []
        freed = dict.fromkeys(STRUCTS.values(), 0)
        rules = choices(self.st, step.ops[0])
        for outcome in self.predictor.run(step):
            outcomes.append(outcome)
            rules |= taken(self.st)
            for pool, _ in self.st.freed:
                if pool in freed:
                    freed[pool] += 1
        return outcomes, freed, rules

    def _content_before(self, step: Step) -> int:
        """Return what the page that a Read or Write touches holds."""
        op = step.ops[0]
        if not isinstance(op, Read | Write):
            return 0
        return self.predictor.content.get(self.predictor.place(op.mm, op.address), 0)

    def _returned(
        self, step: Step, outcomes: list[Outcome], returned: int, content: int
    ) -> "list[Difference]":
        """Compare what the system call (or the load) returned."""
        op = step.ops[0]
        said = outcomes[0].error
        oops = next((o.oops for o in outcomes if o.oops is not None), None)
        if isinstance(oops, KernelOops):
            return [Difference("oops", "", "none", str(oops))]
        if isinstance(op, Read | Write) and not said:
            if isinstance(op, Write):
                content = self.stage.performer.written
            else:
                said = content
            self.predictor.content[self.predictor.place(op.mm, op.address)] = content
        if BEYOND in self.st.rules:
            said = -errno.ENXIO  # how a puppet tells SIGBUS from SIGSEGV
        if returned != said:
            return [Difference("return value", str(op), str(returned), str(said))]
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
        said = Tally(made, freed)
        if tally.same(said):
            return []
        return [Difference("allocations", str(step), str(tally), str(said))]

    def end(self) -> list[Played]:
        """Check the content of all pages, then reclaim them all; return what was found out."""
        done = [self._contents()]
        step = reclaim_all(self.st)
        if step is not None and self.stage.memcg is not None:
            played = self.play(step)
            if played is not None:
                done.append(played)
        return [p for p in done if p is not None]

    def _contents(self) -> Played | None:
        """Read each mapped page and compare what it holds; None if nothing differs."""
        found = []
        for m in self.st.mm.indices():
            for address in range(self.st.pages):
                p = self.st.pte[pte_offset(self.st, m, address)]
                if p.folio:
                    said = self.predictor.content.get(self.predictor.place(m, address), 0)
                    seen = self.stage.puppets.call(m, "READ", address)
                    # A page that the protection forbids to read is compared another time.
                    if seen not in (said, -14):
                        where = f"page {address} of process {m}, {entry_text(p.folio)}"
                        found.append(Difference("content", where, str(seen), str(said)))
        if not found:
            return None
        read = Step((Read(mm=1, address=0),))
        return Played(read, 0, frozenset(), tuple(found))


@attrs.frozen(kw_only=True)
class Settings:
    """How long a run is, and what it is made of."""

    operations: int
    seed: int
    directed: float = 0.5
    """Share of the steps that are chosen by the rules they take; the others are plain random."""
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
    """Those of them that several entries mapped."""
    seconds: float = 0.0
    cut: int = 0
    """Steps dropped because the scope was too small for them."""
    failed: tuple[Played, ...] = ()
    """The episode with the first difference, step by step; the last one has it."""


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
        self.scope = scope_for(stage.wishes.processes, stage.wishes.pages, files=files)
        self.rng = Random(settings.seed)
        self.swap = stage.memcg is not None
        self.advices = tuple(a for a in ADVICE_NAMES if a not in stage.skipped)
        lacks = () if "dontfork" in self.advices else ("fork leaves out a VMA",)
        self.tallies = Tallies(Coverage(swap=self.swap, files=files, lacks=lacks))

    def run(self) -> Tallies:
        """Play episodes until there were enough operations, or the first difference."""
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
        wishes = self.stage.wishes
        mix = Mix.drawn(
            self.rng,
            wishes.pages,
            wishes.processes,
            swap=self.swap,
            files=self.scope.files,
            advices=self.advices,
        )
        episode = Episode(self.stage, self.scheme, self.scope)
        self.tallies.episodes += 1
        for op in openings.drawn(self.rng, wishes.pages, files=mix.files > 0):
            possible = not op.beyond(self.scope) and op.enabled(episode.st)
            if possible and not self._taken(episode, Step((op,)), None):
                return
        for _ in range(EPISODE):
            directed = self.rng.random() < self.settings.directed
            before = Snapshot(episode.st) if directed else None
            step = self._choose(episode.st, mix, before)
            if step is None:
                break
            if not self._taken(episode, step, before):
                return
        self._walk(episode)

    def _taken(self, episode: Episode, step: Step, before: Snapshot | None) -> bool:
        """Take a step; tell whether the episode goes on."""
        return not self._failed(episode, episode.play(step, before)) and not episode.spoilt

    def _walk(self, episode: Episode) -> None:
        said = [episode.st.folio[f].mapcount for f in episode.st.folio.indices()]
        for played in episode.end():
            if self._failed(episode, played):
                return
            self.tallies.walks += 1
            self.tallies.walked += sum(n > 0 for n in said)
            self.tallies.shared += sum(n > 1 for n in said)

    def _failed(self, episode: Episode, played: Played | None) -> bool:
        """Count a step; tell whether it ends the run."""
        if played is None:
            self.tallies.cut += 1
            return False
        self.tallies.operations += 1
        self.tallies.coverage.update(played.rules)
        if played.differences:
            kept = episode.played if played in episode.played else [*episode.played, played]
            self.tallies.failed = tuple(kept)
        return bool(played.differences)

    def _choose(self, st: Kernel, mix: Mix, before: Snapshot | None) -> Step | None:
        """Draw a step: plainly, or the best of several one step ahead."""
        if before is None:
            return self._draw(st, mix)
        best, most = None, -1.0
        for _ in range(CANDIDATES):
            step = self._draw(st, mix)
            if step is None:
                break
            worth = self._worth(st, step)
            before.restore()
            if worth > most:
                best, most = step, worth
        return best

    def _draw(self, st: Kernel, mix: Mix) -> Step | None:
        for _ in range(PATIENCE):
            step = propose(st, self.rng, mix)
            if step is not None:
                return step
        return None

    def _worth(self, st: Kernel, step: Step) -> float:
        """Take a step in the model alone, and return how much it is wanted."""
        rules = choices(st, step.ops[0])
        for outcome in Predictor(st).run(step):
            rules |= taken(st)
            if outcome.exhausted or outcome.oops:
                return 0.0
        return self.tallies.coverage.worth(rules)


def replayed(
    stage: "Stage", scheme: "type[Scheme]", scope: Scope, steps: Sequence[Step]
) -> tuple[Played, ...]:
    """Play steps again, without what cannot be asked for; return them up to a difference."""
    episode = Episode(stage, scheme, scope)
    for step in steps:
        again = reclaim_all(episode.st) if step.reclaim else step
        if again is None or not all(op.enabled(episode.st) for op in again.ops):
            continue
        played = episode.play(again)
        if episode.spoilt:
            return ()
        if played is not None and played.differences:
            break
    else:
        if not episode.end():
            return ()
    return tuple(episode.played) if episode.played and episode.played[-1].differences else ()


def minimized(
    stage: "Stage",
    scheme: "type[Scheme]",
    scope: Scope,
    failed: Sequence[Played],
    *,
    max_seconds: float = 20.0,
) -> tuple[Played, ...]:
    """Return fewer steps that end in a difference of the same sort; chunks first, then singles."""
    end = time.monotonic() + max_seconds
    what = failed[-1].differences[0].what
    best = tuple(failed)
    size = max(len(best) // 2, 1)
    while size and time.monotonic() < end:
        at = len(best)
        while at > 0 and time.monotonic() < end:
            at = max(at - size, 0)
            steps = [p.step for i, p in enumerate(best) if not at <= i < at + size]
            found = replayed(stage, scheme, scope, steps)
            if found and found[-1].differences[0].what == what and len(found) < len(best):
                best = found
        size //= 2
    return best
