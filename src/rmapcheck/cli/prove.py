"""prove: proves invariants for any number of processes, VMAs, pages and anon_vmas."""

from pathlib import Path
from typing import Annotated

import typer

from rmapcheck.cli.common import Out, command
from rmapcheck.cli.engines import WORST

SPEC_HELP = "A built-in spec (the name of a scheme or bug), FILE.py, FILE.py:Class, module:Class."


@command(name="prove")
def prove_command(
    out: Out,
    specs: Annotated[list[str] | None, typer.Argument(metavar="SPEC...", help=SPEC_HELP)] = None,
    every: Annotated[bool, typer.Option("--all", help="All schemes that have a spec.")] = False,
    solver: Annotated[
        str, typer.Option("--solver", help="z3, cvc5, or both; then the two must agree.")
    ] = "z3",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the solvers.")] = 0,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Time for each query.")
    ] = 10.0,
    why: Annotated[
        bool, typer.Option("--why", help="Show which lemmas each proof needs.")
    ] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Propose lemmas that would help.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FOLDER", help="Write each obligation as SMT-LIB 2."),
    ] = None,
    run_seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Time to look for a run that leads to a CTI."),
    ] = 60.0,
) -> int:
    """Prove that a spec keeps its invariants, by induction. With Z3, for any number of objects.

    A counterexample to induction (CTI) is a state that satisfies all invariants, and a step after
    which one fails. The state may be unreachable, so a CTI need not be a bug.
    """
    from rmapcheck.cli.proofs import ProveOptions, run

    options = ProveOptions(solver, seed, timeout, why, suggest, export, run_seconds)
    codes = run(out, specs or [], options, every=every)
    return next(code for code in WORST if code in codes)
