"""sweep: many searches and random runs on many processes, and a report of their results."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from rmapcheck.cli.common import Choice, Out, app, command
from rmapcheck.cli.engines import Schemes, named, short
from rmapcheck.cli.results import plain_table
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins import catalogue
from rmapcheck.search.question import Limits
from rmapcheck.sweep.jobs import ENGINES, Job, matrix
from rmapcheck.sweep.results import Results, decided, merged
from rmapcheck.verdict import Exit
from rmapcheck.verify.ladder import LADDER

sweep_app = typer.Typer(
    name="sweep",
    help="Do many searches and random runs, on one or many machines, and collect the results.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(sweep_app)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A file of results.")]
WORST = (Exit.USAGE, Exit.UNEXPECTED, Exit.INCONCLUSIVE)


@command(scope=True, name="run", group=sweep_app)
def sweep_run_command(
    out: Out,
    scope: Choice,
    schemes: Schemes = None,
    every: Annotated[
        bool, typer.Option("--all", help="All schemes and bugs that come with rmapcheck.")
    ] = False,
    into: Annotated[
        Path, typer.Option("--into", metavar="FILE", help="The file of results; may exist.")
    ] = Path("sweep.sqlite"),
    ladder: Annotated[
        int | None, typer.Option(min=1, max=len(LADDER), help="Use the first N scopes of verify.")
    ] = None,
    engines: Annotated[
        str, typer.Option(metavar="NAMES", help=f"Some of {','.join(ENGINES)}.")
    ] = "explore",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each random engine.")] = 1,
    max_seconds: Annotated[float, typer.Option(help="Seconds of CPU time for each job.")] = 60.0,
    max_states: Annotated[int | None, typer.Option(help="States of each search.")] = None,
    max_memory_mb: Annotated[int, typer.Option(help="Megabytes of each worker.")] = 2000,
    steps: Annotated[int, typer.Option(min=100, help="Operations of each random run.")] = 20_000,
    workers: Annotated[
        int, typer.Option(min=0, max=256, help="Local processes; 0: one for each core.")
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a dask scheduler, such as tcp://HOST:8786.")
    ] = "",
    retry: Annotated[
        bool, typer.Option("--retry", help="Do jobs that ended with UNKNOWN again.")
    ] = False,
) -> int:
    """Do the jobs schemes × scopes × engines × seeds. Jobs in FILE are not done again.

    Without scope options: a bug gets its own scope, a scheme the first seven scopes of verify.
    """
    from rmapcheck.sweep import cluster

    names = named(schemes, every=every, there=lambda: [*catalogue.schemes(), *catalogue.bugs()])
    if not names:
        raise ModelError("a sweep needs schemes; name some (built-in, FILE.py), or use --all")
    limits = Limits(states=max_states, seconds=max_seconds, memory_mb=max_memory_mb, steps=steps)
    jobs = matrix(
        names,
        scopes=_scopes(scope, ladder),
        engines=_engines(engines),
        seeds=range(seeds),
        limits=limits,
    )
    todo = list({job.id: job for job in jobs}.values())
    with cluster.client(scheduler, workers) as connected, closing(Results(into, new=True)) as rows:
        waiting = [job for job in todo if _wanted(rows.get(job), retry=retry)]
        out.covered = lambda: f"finished jobs are in {into}; the same command continues"

        def done(job: Job, result: dict[str, Any], seconds: float) -> None:
            rows.put(job, result, seconds)
            out.show(f"{job.scheme}  {job.engine}  {seconds:.1f} s  {result['text'][:60]}")

        cluster.run(waiting, connected, done)
        results = [rows.get(job) for job in todo]
    return _end(out, [r for r in results if r is not None], done=len(waiting), into=into)


def _wanted(result: dict[str, Any] | None, *, retry: bool) -> bool:
    return result is None or (retry and not decided(result))


def _scopes(scope: Choice, ladder: int | None) -> tuple[Scope, ...]:
    if scope.given and ladder is not None:
        raise ModelError("--ladder and scope options both choose scopes; use only one of them")
    if ladder is not None:
        return LADDER[:ladder]
    return (scope.over(Scope()),) if scope.given else ()


def _engines(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in ENGINES:
            raise ModelError(f"there is no engine {name!r}; choose from {', '.join(ENGINES)}")
    return names or list(ENGINES)


def _end(
    out: Out,
    results: list[dict[str, Any]],
    *,
    done: int,
    into: Path,
    rows: list[dict[str, Any]] | None = None,
) -> Exit:
    codes = [Exit(result["exit"]) for result in results]
    code = next((code for code in WORST if code in codes), Exit.EXPECTED)
    counts = {v: sum(r["verdict"] == v for r in results) for v in sorted({*_verdicts(results)})}
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    unexpected = sum(code == Exit.UNEXPECTED for code in codes)
    line = f"{len(results)} jobs: {verdicts}; {unexpected} unexpected; {done} done now, in {into}"
    out.verdict(line, good={Exit.EXPECTED: True, Exit.INCONCLUSIVE: None}.get(code, False))
    figures = {"jobs": len(results), "done": done, "verdicts": counts, "exit": int(code)}
    out.data(figures if rows is None else {**figures, "rows": rows})
    return code


def _verdicts(results: list[dict[str, Any]]) -> list[str]:
    return [str(result["verdict"]) for result in results]


@command(name="merge", group=sweep_app)
def sweep_merge_command(
    out: Out,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of results.")],
    into: Annotated[Path, typer.Option("--into", metavar="FILE", help="The merged file.")],
) -> int:
    """Merge files of results. Results for the same job must not contradict each other."""
    number = merged(files, into)
    out.verdict(f"{into} has {number} results", good=True)
    out.data({"into": str(into), "results": number})
    return Exit.EXPECTED


@command(name="report", group=sweep_app)
def sweep_report_command(out: Out, file: File) -> int:
    """Show the results of a sweep. The exit code is that of its worst job."""
    with closing(Results(file)) as results:
        rows = list(results.rows())
    table = plain_table(
        "scheme", "engine", "seed", "scope", "verdict", "states", "steps", "s", right=(2, 5, 6, 7)
    )
    for job, result, seconds in rows:
        scope = Scope(**{**job.scope, "ops": tuple(job.scope["ops"])})
        detail = ", ".join(map(str, result.get("invariants", [])[:1]))
        verdict = f"{result['verdict']} {detail}".rstrip()
        states, steps = result.get("states", 0), result.get("steps", 0)
        numbers = (str(states), str(steps), f"{seconds:.1f}")
        table.add_row(job.scheme, job.engine, str(job.seed), short(scope), verdict, *numbers)
    out.show(table)
    every = [{**attrs.asdict(job), "result": r, "seconds": s} for job, r, s in rows]
    return _end(out, [result for _, result, _ in rows], done=0, into=file, rows=every)
