"""kernel: compares the model with the running kernel, operation by operation."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from rmapcheck.cases.case import CaseError, save_case
from rmapcheck.cli.common import Out, Progress, command, kernel_app
from rmapcheck.cli.results import FOLDER, good, plain_table
from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.scheme import Scheme
from rmapcheck.oracle import eras
from rmapcheck.oracle.calibrate import calibrated_stage
from rmapcheck.oracle.episode import StepResult
from rmapcheck.oracle.minimize import minimize_steps
from rmapcheck.oracle.oracle import Oracle, Settings, Tallies
from rmapcheck.oracle.report import case_of, coverage_rows, steps_text
from rmapcheck.oracle.rules import RULES
from rmapcheck.oracle.stage import TIERS, Stage, StageOptions
from rmapcheck.verdict import Exit

MOST_PROCESSES = 8
MOST_PAGES = 16


@command(group=kernel_app, bare=True)
def kernel_command(
    out: Out,
    operations: Annotated[int, typer.Option(help="Number of operations.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same operations.")] = 1,
    processes: Annotated[int, typer.Option(help=f"From 1 to {MOST_PROCESSES}.")] = 6,
    pages: Annotated[int, typer.Option(help=f"Of each process, from 1 to {MOST_PAGES}.")] = 10,
    directed: Annotated[
        float, typer.Option(help="Share of operations, 0 to 1, chosen to reach rare rules.")
    ] = 0.5,
    tier: Annotated[
        str, typer.Option(help="How much to compare, if possible: L0, L1 or L2.")
    ] = "L1",
    files: Annotated[bool, typer.Option(help="Map files, too.")] = True,
    structure: Annotated[
        bool, typer.Option("--structure", help="Compare the anon_vma graph, too (BPF): L2.")
    ] = False,
    swap: Annotated[
        bool, typer.Option(help="Swap to a file made for the run, and force walks.")
    ] = True,
    shared_swap: Annotated[
        bool, typer.Option("--shared-swap", help="Use the swap that the machine has.")
    ] = False,
    scheme: Annotated[
        str, typer.Option(metavar="BUG", help="Predict with this seeded bug instead.")
    ] = "",
    max_seconds: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    save: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Save the run of a difference here.")
    ] = Path(FOLDER),
) -> int:
    """Compare the model with the running kernel, after every operation.

    0: no difference; 1: a difference, explained and saved; 3: nothing could be compared.
    """
    _check(operations, processes, pages, directed, tier)
    options = StageOptions(
        processes=processes,
        pages=pages,
        swap=swap,
        files=files,
        allocations=tier != "L0",
        structure=structure or tier == "L2",
        shared_swap=shared_swap,
        wait=1.0,
    )
    settings = Settings(
        operations=operations, seed=seed, directed=directed, max_seconds=max_seconds
    )
    try:
        cls = eras.bug_of(scheme) if scheme else eras.running()
        return _compare(out, cls, options, settings, save)
    except Unavailable as error:
        out.data({"skipped": {t: str(error) for t in TIERS}, "exit": int(Exit.INCONCLUSIVE)})
        out.verdict(f"nothing was compared: {error}", good=None)
        return Exit.INCONCLUSIVE


def _check(operations: int, processes: int, pages: int, directed: float, tier: str) -> None:
    for name, value, most in (
        ("operations", operations, 1_000_000_000),
        ("processes", processes, MOST_PROCESSES),
        ("pages", pages, MOST_PAGES),
    ):
        if not 1 <= value <= most:
            raise ModelError(f"--{name} must be from 1 to {most}, not {value}")
    if not 0 <= directed <= 1:
        raise ModelError(f"--directed must be from 0 to 1, not {directed:g}")
    if tier not in ("L0", "L1", "L2"):
        raise ModelError(f"--tier must be L0, L1 or L2, not {tier!r}")


def _compare(
    out: Out, cls: type[Scheme], options: StageOptions, settings: Settings, save: Path
) -> int:
    progress = out.progress()
    with calibrated_stage(options) as stage:
        _show_stage(out, stage, cls)
        oracle = Oracle(stage, cls, settings, lambda t: _advance(progress, t))
        done = oracle.tallies
        out.covered = lambda: f"{done.operations} operations without a difference"
        try:
            tallies = oracle.run()
        except OracleError as error:
            said = f"{error}, after {done.operations} operations without a difference"
            return out.error(said, Exit.INCONCLUSIVE)
        finally:
            progress.end()
        shortest = tallies.failed
        if tallies.failed:
            out.show("a difference; minimizing its run")
            with suppress(OracleError):
                shortest = minimize_steps(stage, cls, oracle.scope, tallies.failed)
    code = Exit.UNEXPECTED if tallies.failed else Exit.EXPECTED
    _show_result(out, stage, tallies)
    result = _json(stage, cls, settings, tallies, code)
    if tallies.failed:
        result |= _tell_difference(out, oracle, shortest, settings, save)
    out.data(result)
    return code


def _show_stage(out: Out, stage: Stage, cls: type[Scheme]) -> None:
    out.show(f"kernel  {os.uname().release}, predicted by {cls.name}")
    for undone in stage.footprint.undone:
        out.show(f"undone  {undone}, which a killed run had left")
    for tier in TIERS:
        out.show(
            f"{tier:7} {'skipped: ' + stage.skipped[tier] if tier in stage.skipped else 'yes'}"
        )


def _advance(progress: Progress, tallies: Tallies) -> None:
    met = len(tallies.coverage.wanted) - len(tallies.coverage.missing())
    progress.say(
        f"{tallies.operations} operations, {_rate(tallies):.0f} a second, "
        f"{met} of {len(tallies.coverage.wanted)} rules, {tallies.walks} forced walks"
    )


def _rate(tallies: Tallies) -> float:
    return tallies.operations / tallies.seconds if tallies.seconds else 0.0


def _show_result(out: Out, stage: Stage, tallies: Tallies) -> None:
    table = plain_table("rules", "met", "of", "never met")
    for row in coverage_rows(tallies.coverage):
        table.add_row(*row)
    out.show(table)
    out.show(
        f"{tallies.walks} forced walks unmapped {tallies.walked} pages, {tallies.shared} of them "
        f"shared; {stage.retries} reclaims were repeated; nothing happened at the same time"
    )
    met = len(tallies.coverage.wanted) - len(tallies.coverage.missing())
    what = "the first difference in" if tallies.failed else "no difference in"
    skipped = f"; skipped: {', '.join(stage.skipped)}" if stage.skipped else ""
    out.verdict(
        f"{what} {tallies.operations} operations, {_rate(tallies):.0f} a second, "
        f"{met} of {len(tallies.coverage.wanted)} rules ({' '.join(stage.tiers)}{skipped})",
        good=good(Exit.UNEXPECTED if tallies.failed else Exit.EXPECTED),
    )


def _tell_difference(
    out: Out, oracle: Oracle, failed: tuple[StepResult, ...], settings: Settings, save: Path
) -> dict[str, Any]:
    """Explain the difference step by step, and save its run as a case."""
    for line in steps_text(failed):
        out.show(line)
    case = case_of(oracle, failed, settings.seed)
    try:
        path: str | None = str(save_case(case, save))
        out.verdict(f"saved     {path}", good=None)
    except CaseError as error:
        path = None
        out.complain(str(error))
    return {"differences": [str(d) for d in failed[-1].differences], "saved": path}


def _json(
    stage: Stage, cls: type[Scheme], settings: Settings, tallies: Tallies, code: Exit
) -> dict[str, Any]:
    return {
        "kernel": os.uname().release,
        "scheme": cls.name,
        "tiers": list(stage.tiers),
        "skipped": stage.skipped,
        "settings": attrs.asdict(settings),
        "operations": tallies.operations,
        "seconds": round(tallies.seconds, 2),
        "episodes": tallies.episodes,
        "forced_walks": tallies.walks,
        "pages_walked": tallies.walked,
        "shared_pages_walked": tallies.shared,
        "retries": stage.retries,
        "rules": {rule: tallies.coverage[rule] for rule in RULES},
        "never_met": list(tallies.coverage.missing()),
        "exit": int(code),
    }
