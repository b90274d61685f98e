"""Runs a saved case on a real kernel: exports and compiles it, and compares it with the model."""

import re
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from rmapcheck.cases.case import Case, CaseError
from rmapcheck.cases.replay import scheme_of
from rmapcheck.host.boot import Log, run_kernel, run_session
from rmapcheck.host.footprint import Footprint, undo_cgroup
from rmapcheck.host.swapping import check_swap, memory_cgroups, own_swap
from rmapcheck.model.scheme import Scheme
from rmapcheck.oracle.puppets.build import build_program
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.reproduce.prediction import Prediction, predict
from rmapcheck.reproduce.program import to_c
from rmapcheck.verdict import Exit

FLAGS = ("-Wall", "-Wextra", "-O2", "-static")

VERDICT = re.compile(r"^(?:# )?VERDICT: (OK|BUG|SKIP)(?: (.*))?$", re.MULTILINE)
MAPPED = re.compile(r"^(?:# )?mapped: process (\d+) page (\d+): (\d+) of (\d+)\b.*$", re.MULTILINE)
RELEASE = re.compile(r"^(?:# )?kernel: (.*)$", re.MULTILINE)
SPLAT = re.compile(
    r"\b(BUG: KASAN: .*|BUG: .*|kernel BUG at .*|WARNING: CPU.*|Kernel panic - .*|Oops\b.*|"
    r"Kernel mode fault at addr .*|general protection fault.*|list_(?:add|del) corruption.*)$",
    re.MULTILINE,
)

Place = tuple[int, int]
"""Process and page."""


@attrs.frozen(kw_only=True)
class Reproduction:
    """What a kernel did with a case, and what the model predicts."""

    case: Case
    prediction: Prediction
    fixed: Prediction | None
    """The prediction for a kernel without the bug; None if the case is not about a seeded bug."""
    log: Log
    kernel: str = ""
    verdict: str = ""
    """OK, BUG, SKIP, or "" if the program printed no verdict."""
    reason: str = ""
    mapped: dict[Place, tuple[int, int]] = attrs.Factory(dict)
    """Page → the number of arenas in which it stayed mapped, and the number of arenas."""
    splats: tuple[str, ...] = ()
    """Lines in which the kernel reports a bug or a warning."""

    @property
    def stayed(self) -> set[Place]:
        """Return the pages that stayed mapped in at least half of the arenas."""
        return {place for place, (some, of) in self.mapped.items() if 2 * some >= of}

    @property
    def distinguishes(self) -> bool:
        """Return whether this run can distinguish a kernel with the bug from one without.

        If the case is not about a bug, there is nothing to distinguish.
        """
        if not self.case.expect.invariant:
            return True
        return bool(self.prediction.stays) or bool(_own_stays(self.case))

    def agrees(self, prediction: Prediction) -> bool:
        """Return whether the kernel did exactly what was predicted."""
        wanted = prediction.places
        broke = any(page.freed for page in prediction.stays) and bool(self.splats)
        if not self.verdict:
            return broke
        fine = self.verdict == ("BUG" if wanted else "OK") and self.stayed == wanted
        return fine and (broke or not self.splats)

    @property
    def exit(self) -> Exit:
        """Return 0 if model and kernel agree, 1 if they do not, 3 if that cannot be decided."""
        if self.verdict == "SKIP" or (not self.verdict and not self.splats):
            return Exit.INCONCLUSIVE
        if not self.agrees(self.prediction):
            return Exit.UNEXPECTED
        return Exit.EXPECTED if self.distinguishes else Exit.INCONCLUSIVE


def _own_stays(case: Case) -> tuple[object, ...]:
    """Return the pages that stay mapped by the case's own scheme; none if that is a plug-in."""
    try:
        return predict(case, scheme_of(case)).stays
    except CaseError:
        return ()


def reproduce(
    case: Case,
    scheme: type[Scheme] | None = None,
    *,
    kernel: Path | None = None,
    seconds: float = 120,
    arenas: int = 200,
    memory: int = 256,
    modules: Sequence[Path] = (),
    shared_swap: bool = False,
) -> Reproduction:
    """Run the case on `kernel`, or on the running kernel if that is None.

    The time limit is in seconds, the memory of a booted kernel in MB. Raise ModelError if no
    program can carry out the case, or if the kernel cannot be run.
    """
    cls = scheme or scheme_of(case)
    prediction = predict(case, cls)
    program = build_program(to_c(case, cls), "reproducer", FLAGS)
    arguments = ("-n", str(arenas))
    if kernel is not None:
        log = run_kernel(
            kernel, program, seconds=seconds, memory=memory, modules=modules, arguments=arguments
        )
    else:
        log = _run_here(program, arguments, seconds, shared_swap=shared_swap)
    return read_log(case, prediction, log)


def _run_here(
    program: Path, arguments: Sequence[str], seconds: float, *, shared_swap: bool
) -> Log:
    """Run the program on the running kernel, with a swap file of its own."""
    with ExitStack() as stack:
        footprint = stack.enter_context(Footprint(wait=seconds))
        if not check_swap(allowed=shared_swap):
            own_swap(stack, footprint)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rmapcheck-")))
        log = run_session([str(program), *arguments], folder, seconds)
        for parent in memory_cgroups():
            undo_cgroup(parent / f"rmapcheck-reproducer-{log.pid}")
        return log


def read_log(case: Case, prediction: Prediction, log: Log) -> Reproduction:
    """Return what a kernel did, according to its log."""
    verdict = VERDICT.search(log.text)
    release = RELEASE.search(log.text)
    mapped = {
        (int(mm), int(page)): (int(some), int(of))
        for mm, page, some, of in MAPPED.findall(log.text)
    }
    without = None
    if prediction.scheme.bug is not None:
        without = predict(case, without_bug(prediction.scheme))
    return Reproduction(
        case=case,
        prediction=prediction,
        fixed=without,
        log=log,
        kernel=release[1].strip() if release else "",
        verdict=verdict[1] if verdict else "",
        reason=(verdict[2] or "").strip() if verdict else _why_no_verdict(log),
        mapped=mapped if verdict else {},
        splats=tuple(dict.fromkeys(found.strip() for found in SPLAT.findall(log.text))),
    )


def _why_no_verdict(log: Log) -> str:
    if log.timed_out:
        return f"no verdict in {log.seconds:.0f} s"
    return "the kernel ended without a verdict"
