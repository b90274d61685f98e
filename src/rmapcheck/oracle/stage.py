"""The stage: sets up all that a run needs on this machine, and removes it at the end.

A tier is a part of the comparison. A tier that is not available is skipped, and the reason is
reported:

    L0   VMAs, frames, swap entries, mapcounts     root, /proc/kpagecount, /proc/kpageflags
    swap forced walks                              a swap file and a memory cgroup of our own
    files ranges that map files, and the page cache memfd_create()
    L1   allocations of rmap objects               a tracefs instance of our own
    L2   the anon_vma graph itself                 BPF and BTF; only on request
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
from rmapcheck.oracle.observe.proc import Observation, Observer
from rmapcheck.oracle.puppets.allocations import Recorder, Tally
from rmapcheck.oracle.puppets.build import build_program, source_of
from rmapcheck.oracle.puppets.files import Files
from rmapcheck.oracle.puppets.perform import Performer
from rmapcheck.oracle.puppets.processes import FLAGS, Puppets

if TYPE_CHECKING:
    from rmapcheck.oracle.comparison import Step
    from rmapcheck.oracle.observe.structure import Structure

CHURN = 1024
"""Pages that the nursery maps and unmaps to move the cgroup's counters."""
TIERS = ("L0", "swap", "files", "L1", "L2")


@attrs.frozen(kw_only=True)
class StageOptions:
    """What a stage should provide."""

    processes: int = 6
    pages: int = 10
    swap: bool = True
    files: bool = True
    allocations: bool = True
    structure: bool = False
    shared_swap: bool = False
    """Use the swap devices that are already in use on this machine."""
    wait: float = 0.0
    """Seconds to wait for another run to end."""


def _check_proc() -> None:
    """Raise Unavailable if /proc is missing, or belongs to another PID namespace."""
    try:
        shown = Path("/proc/self").readlink().name
    except OSError as error:
        raise Unavailable(f"/proc cannot be read ({error.strerror})") from None
    if shown != str(os.getpid()):
        raise Unavailable("/proc is that of another PID namespace; mount it again")


class Stage:
    """The puppets and their observers. Use it in a `with`; raises Unavailable if not possible.

    `skipped` gives the reason for each tier that is missing. `calibrate.calibrated_stage` also
    checks that the tiers work, and sets up L2 if that is wanted.
    """

    def __init__(self, options: StageOptions) -> None:
        self.options = options
        self.stack = ExitStack()
        self.skipped: dict[str, str] = {}
        self.memcg: Memcg | None = None
        self.files: Files | None = None
        self.recorder: Recorder | None = None
        self.structure: Structure | None = None
        self.retries = 0
        """How often a reclaim had to be repeated."""

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
        """The tiers that are available."""
        return tuple(t for t in TIERS if t not in self.skipped)

    def _set_up(self) -> None:
        if os.geteuid() != 0:
            raise Unavailable("only root may look at page frames; run it as root")
        _check_proc()
        self.footprint = self.stack.enter_context(Footprint(wait=self.options.wait))
        self.observer = Observer(self.options.pages)
        self.stack.callback(self.observer.close)
        program = build_program(source_of("puppet.c"), "puppet", FLAGS)
        self.attempt("swap", self._swap, wanted=self.options.swap)
        self.attempt("files", self._make_files, wanted=self.options.files)
        self.attempt("L1", self._record, wanted=self.options.allocations)
        fds = self.files.fds if self.files is not None else ()
        self.puppets = self.stack.enter_context(
            Puppets(program, self.options.processes, self.options.pages, fds)
        )
        nursery = self.puppets.nursery.pid
        if self.memcg is not None:
            self.memcg.add(nursery)
        if self.recorder is not None:
            self.recorder.follow(nursery)
        self.performer = Performer(self.puppets, self.memcg)

    def attempt(self, tier: str, make: Callable[[], None], *, wanted: bool) -> None:
        """Set up a tier with `make`, or note why it is skipped."""
        if not wanted:
            self.skipped[tier] = "not requested"
            return
        try:
            make()
        except Unavailable as error:
            self.skipped[tier] = str(error)

    def _swap(self) -> None:
        shared = check_swap(allowed=self.options.shared_swap)
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

    def read_structure(self) -> None:
        """Read the kernel's own structures from now on. Raise Unavailable if that fails."""
        from rmapcheck.oracle.observe.structure import Structure

        with ExitStack() as stack:
            self.structure = Structure(stack, self.puppets)
            self.stack.push(stack.pop_all())

    # The steps of an episode.

    def begin(self) -> None:
        """Start an episode with one process, number 1, whose arena is empty."""
        self.puppets.exit_all()
        if self.files is not None:
            self.files.reset()
        self.puppets.fork(0, 1)
        self.allocations(None)
        if self.recorder is not None:
            self.recorder.ours.clear()

    def perform(self, step: "Step") -> int:
        """Carry out a step, wait until it is complete, and return its result or -errno."""
        before = [] if not step.swaps else list(self.observer.observe(self.puppets).frames)
        result = self.performer.do(step)
        if step.swaps:
            self._settle(before)
        return result

    def _settle(self, frames: list[int]) -> None:
        self.observer.settle(frames)
        if self.memcg is not None:
            self.memcg.drain()

    def observe(self, step: "Step") -> Observation:
        """Return what the kernel shows now.

        After a reclaim, reclaim again until no page is mapped, at most TRIES times.
        """
        seen = self.observer.observe(self.puppets)
        for _ in range(TRIES if step.reclaim else 0):
            if not seen.frames and not seen.cached:
                break
            self.retries += 1
            self._churn()
            self.performer.reclaim()
            self._settle(list(seen.frames))
            seen = self.observer.observe(self.puppets)
        return seen

    def _churn(self) -> None:
        """Change the cgroup's counters so much that the kernel adds them up again.

        Otherwise they are up to two seconds old, and reclaim, which uses them, may not look at
        active pages (prepare_scan_control(), mm/vmscan.c).
        """
        with self.recorder.paused() if self.recorder is not None else nullcontext():
            self.puppets.call(0, "BALLAST", CHURN)

    def allocations(self, forked_vmas: int | None) -> Tally | None:
        """Return what the arena allocated and freed since the last call; None if not recorded."""
        return None if self.recorder is None else self.recorder.take(forked_vmas)
