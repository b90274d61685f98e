"""An episode: steps on the model and on the kernel, compared after each step.

An episode starts with an empty process. It ends with a forced walk: all pages are reclaimed. After
that no page may be mapped, and processes that shared a page must share its swap slot.
"""

import errno
from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.branches import BEYOND
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import KernelOops
from rmapcheck.model.machine.heap import Pool
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.maps import vmas_of
from rmapcheck.model.operations import Outcome, Read, Write, boot
from rmapcheck.oracle.comparison import Difference, Step
from rmapcheck.oracle.observe.snapshot import Snapshot
from rmapcheck.oracle.predict import Predictor, entry_text
from rmapcheck.oracle.puppets.allocations import STRUCTS, Tally
from rmapcheck.oracle.puppets.files import FILE_PAGES, FILES
from rmapcheck.oracle.rules import choices, rules_met
from rmapcheck.oracle.steps.generate import reclaim_all

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme
    from rmapcheck.oracle.stage import Stage


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
