"""explore: the command that searches every state of a scope."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from rmapcheck.cli.common import Choice, Out, Progress, command
from rmapcheck.cli.engines import (
    OneScheme,
    Save,
    Target,
    Workers,
    check_target,
    checked_plugin,
    counted,
    default_scope,
    finish,
    target_of,
)
from rmapcheck.cli.refine import Refine, finish_refined, observer_of, refine_target
from rmapcheck.cli.results import plain_table
from rmapcheck.cli.stages import Stage, Stages, search_stages, stages_of
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import scheme_errors, watchdog
from rmapcheck.search.auto import ENGINES, engine_for
from rmapcheck.search.checkpoint import EVERY, Checkpoints, check_place
from rmapcheck.search.question import Answer, CannotCompileError, Engine, Limits, Question
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import LADDER

Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Save the search here, from time to time and at its end."),
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Continue from this checkpoint, and save here, too."),
]


@command(scope=True, name="explore")
def explore_command(
    out: Out,
    scheme: OneScheme,
    scope: Choice,
    symmetry: Annotated[
        bool, typer.Option(help="Count states that differ only in numbers of objects as one.")
    ] = True,
    max_depth: Annotated[
        int | None,
        typer.Option(help="Most operations of a run; then HOLDS(bounded …) with exit code 0."),
    ] = None,
    max_states: Annotated[int | None, typer.Option(help="Stop after so many states.")] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Stop after so many seconds of CPU time, of all workers.")
    ] = None,
    max_memory_mb: Annotated[int | None, typer.Option(help="Stop at so many megabytes.")] = 6000,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help=", ".join(ENGINES))
    ] = "auto",
    workers: Workers = 0,
    fingerprint: Annotated[
        bool,
        typer.Option(
            "--fingerprint", help="Keep 64 bits of each state; the verdict says how sure that is."
        ),
    ] = False,
    checkpoint: Checkpoint = None,
    checkpoint_every: Annotated[float, typer.Option(metavar="SECONDS")] = EVERY,
    resume: Resume = None,
    target: Target = "",
    save: Save = None,
    refine: Refine = "",
    stage: Stages = [],  # noqa: B006 - typer's form for an option that may be repeated
) -> int:
    """Search every state of a scope. Breadth first, so the trace of a violation is a shortest one.

    Without scope options: a bug's own scope, or a small one that takes seconds.
    """
    if engine not in ENGINES:
        raise ModelError(f"--engine must be {', '.join(ENGINES)}, not {engine!r}")
    checkpoints = _checkpoints(checkpoint, resume, checkpoint_every)
    live = out.progress()
    out.covered = covered_by(live, checkpoint or resume)
    cls = checked_plugin(find_scheme(scheme))
    wanted = refine_target(refine, check_target(target, cls) or target_of(cls))
    observer = observer_of(cls, refine)
    stages = stages_of(scope.over(default_scope(cls, scope, LADDER[6])), stage)
    if stage and (checkpoints or observer):
        raise ModelError("--stage cannot be used with --checkpoint, --resume or --refine")

    question = Question(cls, stages[0][1], symmetry=symmetry, target=wanted, observer=observer)
    limits = Limits(
        depth=max_depth, states=max_states, seconds=max_seconds, memory_mb=max_memory_mb
    )
    chosen = engine_for(
        question, engine, workers=workers, fingerprint=fingerprint, checkpoints=checkpoints
    )
    done, covered = _search(out, live, chosen, question, limits, stages)
    for note in done.notes:
        out.complain(note)
    show_exploration(out, done)
    if observer:
        return finish_refined(out, cls, done.verdict, observer)
    figures = exploration_json(done) | ({"stages": covered} if stage else {})
    return finish(out, cls, done.verdict, wanted, scheme, save, figures)


def _checkpoints(path: Path | None, resume: Path | None, every: float) -> Checkpoints | None:
    """Return where a search is saved and from where it continues; None without these options.

    Raise ModelError if a checkpoint cannot be written to `path`.
    """
    if path:
        check_place(path)
    place = path or resume
    return Checkpoints(path=place, every=every, resume=resume) if place else None


def _search(
    out: Out,
    live: Progress,
    engine: Engine,
    question: Question,
    limits: Limits,
    stages: list[Stage],
) -> tuple[Answer, list[dict[str, Any]]]:
    """Answer the question for each stage. HOLDS after a search without steps becomes UNKNOWN."""
    cls = question.scheme

    def search(scope: Scope) -> Answer:
        live.begin(f"{cls.name} {scope}")
        return engine.answer(attrs.evolve(question, scope=scope), limits, live)

    try:
        with scheme_errors(cls), watchdog(cls):
            done, covered = search_stages(out, stages, search)
    except CannotCompileError as error:
        raise ModelError(f"{error}; run it without --engine") from None
    finally:
        live.end()
    if done.verdict.status is Status.HOLDS and done.generated == 0:
        idle = attrs.evolve(done.verdict, status=Status.UNKNOWN, how="", why="no step was taken")
        done = attrs.evolve(done, verdict=idle)
    return done, covered


def covered_by(live: Progress, path: Path | None) -> Callable[[], str]:
    """Return a function that says how far an interrupted search was, and whether it was saved."""
    before = _stamp(path)

    def covered() -> str:
        saved = _stamp(path) != before
        figures = live.figures()
        done = "before the search began"
        if figures or saved:
            done = ", ".join(filter(None, (figures, "nothing violated so far")))
        if path is None:
            return done
        return (
            f"{done}; {f'continue with --resume {path}' if saved else 'no checkpoint was written'}"
        )

    return covered


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """Return a value that changes when the file is written again; None if there is no file."""
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_ino


def show_exploration(out: Out, done: Answer) -> None:
    """Print what a search covered."""
    out.show(f"scope  {done.verdict.scope}")
    table = plain_table("operation", "possible", "new states", right=(1, 2))
    for name, count in done.per_operation.items():
        table.add_row(name, str(count.enabled), str(count.fired))
    out.show(table)
    idle = [name for name, count in done.per_operation.items() if not count.enabled]
    if idle:
        out.show(f"never possible in this scope: {', '.join(idle)}")
    out.show(
        f"{done.distinct} states, {done.generated} steps, depth {done.depth}, {done.seconds:.1f} s"
    )
    if done.cut:
        out.show(f"dropped, because the scope had no room: {counted(done.cut)}")
    if done.reached:
        out.show(f"reached: {', '.join(done.reached)}")
    if done.vacuous:
        out.show(f"vacuous (possible in this scope, but not reached): {', '.join(done.vacuous)}")


def exploration_json(done: Answer) -> dict[str, Any]:
    """Return the figures of a search as JSON."""
    return {
        "generated": done.generated,
        "distinct": done.distinct,
        "depth": done.depth,
        "seconds": round(done.seconds, 2),
        "per_operation": {n: attrs.asdict(c) for n, c in done.per_operation.items()},
        "reached": list(done.reached),
        "vacuous": list(done.vacuous),
        "cut": done.cut,
        "engine_used": done.engine,
        "notes": list(done.notes),
    }
