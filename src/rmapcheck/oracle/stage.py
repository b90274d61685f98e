"""The stage: everything of this machine that a run needs, set up, and cleared away at the end.

Tiers: what can be compared here. Each that is missing has its reason, which is reported.

    L0   VMAs, frames, swap entries, mapcounts     root, /proc/kpagecount, /proc/kpageflags
    swap forced walks                              a swap file and a memory cgroup of our own
    files ranges that map files, and the page cache memfd_create()
    L1   allocations of rmap objects               a tracefs instance of our own
    L2   the anon_vma graph itself                 BPF and BTF; only when asked for
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

from rmapcheck.host.errors import Unavailable
from rmapcheck.host.footprint import Footprint
from rmapcheck.host.swapping import TRIES, Memcg, check_swap, own_memcg, own_swap
from rmapcheck.oracle.observe.look import Look, Observer
from rmapcheck.oracle.puppets.allocations import Recorder, Tally
from rmapcheck.oracle.puppets.build import build_program, source_of
from rmapcheck.oracle.puppets.files import Files
from rmapcheck.oracle.puppets.perform import Performer
from rmapcheck.oracle.puppets.processes import FLAGS, Puppets

if TYPE_CHECKING:
    from rmapcheck.oracle.comparison import Step
    from rmapcheck.oracle.observe.structure import Structure

CHURN = 1024
"""Pages that the nursery uses for a moment."""
TIERS = ("L0", "swap", "files", "L1", "L2")


@attrs.frozen(kw_only=True)
class Wishes:
    """What a stage is to be like."""

    processes: int = 6
    pages: int = 10
    swap: bool = True
    files: bool = True
    allocations: bool = True
    structure: bool = False
    shared_swap: bool = False
    """Use the swap that the machine has already."""
    wait: float = 0.0
    """Seconds to wait for another run to end."""


def _check_proc() -> None:
    """Raise Unavailable if /proc is missing, or would show other processes than the puppets."""
    try:
        shown = Path("/proc/self").readlink().name
    except OSError as error:
        raise Unavailable(f"/proc cannot be read ({error.strerror})") from None
    if shown != str(os.getpid()):
        raise Unavailable("/proc is that of another PID namespace; mount it anew")


class Stage:
    """Puppets, and what observes them. Use it in a `with`; raise Unavailable where there is none.

    `skipped` says of each tier that is missing why it is. `calibrate.calibrated` makes a stage
    whose tiers have shown that they work, and L2, if wanted.
    """

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.stack = ExitStack()
        self.skipped: dict[str, str] = {}
        self.memcg: Memcg | None = None
        self.files: Files | None = None
        self.recorder: Recorder | None = None
        self.structure: Structure | None = None
        self.retries = 0
        """How often pages had to be reclaimed once more."""

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers that are there."""
        return tuple(t for t in TIERS if t not in self.skipped)

    def _set_up(self) -> None:
        if os.geteuid() != 0:
            raise Unavailable("only root may look at page frames; run it as root")
        _check_proc()
        self.footprint = self.stack.enter_context(Footprint(wait=self.wishes.wait))
        self.observer = Observer(self.wishes.pages)
        self.stack.callback(self.observer.close)
        program = build_program(source_of("puppet.c"), "puppet", FLAGS)
        self.attempt("swap", self._swap, wanted=self.wishes.swap)
        self.attempt("files", self._make_files, wanted=self.wishes.files)
        self.attempt("L1", self._record, wanted=self.wishes.allocations)
        fds = self.files.fds if self.files is not None else ()
        self.puppets = self.stack.enter_context(
            Puppets(program, self.wishes.processes, self.wishes.pages, fds)
        )
        nursery = self.puppets.nursery.pid
        if self.memcg is not None:
            self.memcg.add(nursery)
        if self.recorder is not None:
            self.recorder.follow(nursery)
        self.performer = Performer(self.puppets, self.memcg)

    def attempt(self, tier: str, make: Callable[[], None], *, wanted: bool) -> None:
        """Make a tier ready, or note why it is skipped."""
        if not wanted:
            self.skipped[tier] = "not asked for"
            return
        try:
            make()
        except Unavailable as error:
            self.skipped[tier] = str(error)

    def _swap(self) -> None:
        shared = check_swap(allowed=self.wishes.shared_swap)
        with ExitStack() as stack:
            if not shared:
                own_swap(stack, self.footprint)
            self.memcg = own_memcg(stack, self.footprint)
            self.stack.push(stack.pop_all())

    def _make_files(self) -> None:
        with ExitStack() as stack:
            self.files = self.observer.files = Files(stack)
            self.stack.push(stack.pop_all())

    def _record(self) -> None:
        with ExitStack() as stack:
            self.recorder = Recorder(stack, self.footprint)
            self.stack.push(stack.pop_all())

    def look_inside(self) -> None:
        """Read the kernel's own structures from now on. Raise Unavailable where that fails."""
        from rmapcheck.oracle.observe.structure import Structure

        with ExitStack() as stack:
            self.structure = Structure(stack, self.puppets)
            self.stack.push(stack.pop_all())

    # What an episode does.

    def begin(self) -> None:
        """Start an episode: process 1, with an empty arena."""
        self.puppets.exit_all()
        if self.files is not None:
            self.files.reset()
        self.puppets.fork(0, 1)
        self.allocations(None)
        if self.recorder is not None:
            self.recorder.ours.clear()

    def perform(self, step: "Step") -> int:
        """Carry out a step, and wait until it is over."""
        before = [] if not step.swaps else list(self.observer.look(self.puppets).frames)
        result = self.performer.do(step)
        if step.swaps:
            self._settle(before)
        return result

    def _settle(self, frames: list[int]) -> None:
        self.observer.settle(frames)
        if self.memcg is not None:
            self.memcg.drain()

    def look(self, step: "Step") -> Look:
        """Return what there is now; a reclaim is repeated until all is out, or long enough."""
        seen = self.observer.look(self.puppets)
        for _ in range(TRIES if step.reclaim else 0):
            if not seen.frames and not seen.cached:
                break
            self.retries += 1
            self._churn()
            self.performer.reclaim()
            self._settle(list(seen.frames))
            seen = self.observer.look(self.puppets)
        return seen

    def _churn(self) -> None:
        """Let the cgroup's counters change so much that reading memory.stat sums them up.

        Until then they are up to two seconds old, and reclaim, which goes by them, may find no
        active page to look at (prepare_scan_control(), mm/vmscan.c).
        """
        with self.recorder.deaf() if self.recorder is not None else nullcontext():
            self.puppets.call(0, "BALLAST", CHURN)

    def allocations(self, forked_vmas: int | None) -> Tally | None:
        """Return what the arena allocated and freed since the last call, if that is recorded."""
        return None if self.recorder is None else self.recorder.take(forked_vmas)
