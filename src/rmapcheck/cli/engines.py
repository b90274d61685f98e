"""verify and fuzz: commands that look for a violation, and what they share with explore."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rmapcheck.cases.case import OOPSES
from rmapcheck.cases.minimize import shortened
from rmapcheck.cli.common import Choice, Out, command, scheme_names
from rmapcheck.cli.data import scope_json, verdict_json
from rmapcheck.cli.jobs import cores, verify_many
from rmapcheck.cli.refine import Refine, finish_refined, observer_of, refine_target
from rmapcheck.cli.results import (
    good,
    plain_table,
    report_violation,
    verdict_line,
)
from rmapcheck.invariants.registry import INVARIANTS, applicable
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import check_behaviour, is_plugin, scheme_errors, watchdog
from rmapcheck.search.question import Engine, Limits, Question
from rmapcheck.verdict import Exit, Status, Verdict
from rmapcheck.verify.climb import BUDGET, QUICK, Climber, Report, Rung
from rmapcheck.verify.expectation import exit_code, expected_bug
from rmapcheck.verify.ladder import WIDE, bug_scope

SCHEME_HELP = (
    "A built-in name (`rmapcheck schemes`), BUG@SCHEME, FILE.py, FILE.py:Class, or module:Class."
)
Schemes = Annotated[
    list[str] | None,
    typer.Argument(metavar="SCHEME...", help=SCHEME_HELP, autocompletion=scheme_names),
]
OneScheme = Annotated[
    str, typer.Argument(metavar="SCHEME", help=SCHEME_HELP, autocompletion=scheme_names)
]
Save = Annotated[
    Path | None,
    typer.Option("--save", metavar="FOLDER", help="Save the case of a violation here."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed for random numbers.")]
Target = Annotated[
    str,
    typer.Option("--target", metavar="INVARIANT", help="Look only for a violation of this one."),
]
Workers = Annotated[
    int, typer.Option(min=0, max=64, help="Threads of the search in C; 0: one for each core.")
]

WORST = (Exit.CRASH, Exit.USAGE, Exit.UNEXPECTED, Exit.INCONCLUSIVE, Exit.EXPECTED)


@command(name="verify")
def verify_command(
    out: Out,
    schemes: Schemes = None,
    every: Annotated[
        bool, typer.Option("--all", help="All schemes and bugs that come with rmapcheck.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            help="CPU time for each scheme, of all threads, without that of the C compiler; the "
            "searches that HOLDS needs may take five times that.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"The same as --budget {QUICK:g}.")
    ] = False,
    seed: Seed = 0,
    workers: Workers = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            show_default=False,
            help="Schemes to verify at once, each with one worker; by default 1, with --all one "
            "for each core.",
        ),
    ] = None,
    save: Save = None,
) -> int:
    """Check a scheme in every way.

    The steps are: interface, goals, trees of VMAs (if it maps files), exhaustive search of larger
    and larger scopes, random runs.
    """
    names = named(schemes, every=every, there=_all)
    if not names:
        raise ModelError("verify needs schemes; name some (built-in, FILE.py), or use --all")
    if quick and budget is not None:
        raise ModelError(f"--quick is the same as --budget {QUICK:g}; use only one of the two")
    seconds = QUICK if quick else budget or BUDGET
    codes: list[int] = []
    results: list[Any] = []
    jobs = jobs or (cores() if every else 1)
    if jobs > 1 and len(names) > 1:
        options = [f"--budget={seconds}", f"--seed={seed}", f"--workers={workers or 1}"]
        options += [f"--save={save}"] if save else []
        codes, results = verify_many(out, names, options, jobs)
        names = []
    for name in names:
        try:
            scheme = find_scheme(name)
            climber = Climber(scheme, budget=seconds, seed=seed, workers=workers)
            code, result = _verify_one(out, name, climber, save)
        except ModelError as error:
            if len(names) == 1:
                raise
            out.verdict(f"{name}: error: {error}", good=False)
            code, result = Exit.USAGE, {"scheme": name, "error": str(error), "exit": Exit.USAGE}
        codes.append(code)
        results.append(result)
    out.data(results[0] if len(results) == 1 else results)
    return next(code for code in WORST if code in codes)


def named(
    given: list[str] | None, *, every: bool, there: Callable[[], Iterable[str]]
) -> list[str]:
    """Return the names that were given, and with --all (`every`) all that are `there`.

    Raise ModelError if a name is given that --all includes.
    """
    names = list(given or [])
    included = list(there()) if every else []
    for name in names:
        if name in included:
            raise ModelError(f"--all includes {name}; use either --all or names")
    return [*names, *included]


def _all() -> list[str]:
    return [*catalogue.every_scheme(), *catalogue.bugs()]


def _verify_one(
    out: Out, name: str, climber: Climber, save: Path | None
) -> tuple[Exit, dict[str, Any]]:
    scheme = climber.scheme
    live = out.progress()
    climber.reporter, climber.begin = live, live.begin
    out.covered = lambda: _covered(climber, live.figures)
    try:
        report = climber.climb()
    finally:
        live.end()
    out.show(f"{scheme.name}  {scheme.title}".rstrip(), style="bold")
    out.show(ladder_table(report.rungs))
    for note in dict.fromkeys(note for rung in report.rungs for note in rung.answer.notes):
        out.complain(note)
    if report.cut:
        out.show(f"dropped, because the scope had no room: {counted(report.cut)}")
    extra = {}
    if report.verdict.status is Status.VIOLATED:
        extra = report_violation(out, scheme, report.verdict, name, save)
    elif report.missed:
        out.show(
            f"never reached: {', '.join(report.missed)}. If the design excludes a goal, list it "
            "in `unreachable` of the scheme"
        )
    if scheme.unreachable:
        out.show(f"not expected, by the author: {', '.join(scheme.unreachable)}")
    for flaw in report.flaws:
        out.show(f"known flaw of {flaw.base}: {flaw.name}: {flaw.violations[0]}")
    if report.verdict.status is not Status.VIOLATED:
        for arm in report.not_run:
            out.show(f"{arm.place}: {arm.missed} in a scope that was searched to its end")
        if report.not_run:
            out.show("Remove lines that cannot run, or mark them `# pragma: no cover`")
    for line in _summary(report):
        out.show(line)
    out.verdict(verdict_line(scheme, report.verdict), good=good(report.exit))
    return report.exit, {**verdict_json(report.verdict), **_report_json(report), **extra}


def _covered(climber: Climber, figures: Callable[[], str]) -> str:
    done = [f"{r.name} {r.verdict}" for r in climber.rungs]
    now = figures()
    return "; ".join([*done, *([f"then {now}, nothing violated so far"] if now else [])])


def _summary(report: Report) -> list[str]:
    if report.verdict.status is not Status.HOLDS:
        return []
    open_ends = [r for r in report.rungs if r.name == "exhaustive" and not r.verdict.exhaustive]
    bounded = [r for r in open_ends if r.verdict.status is Status.HOLDS]
    open_ends = [r for r in open_ends if r not in bounded]
    lines = [
        "",
        "Nothing is violated in any state of these scopes; other scopes were not checked:",
    ]
    lines += [f"  {scope}" for scope in report.exhausted]
    lines += [f"  ({r.verdict.how}: {r.verdict.scope})" for r in bounded]
    lines += [f"  (not finished: {r.verdict.scope})" for r in open_ends]
    return lines


def ladder_table(rungs: tuple[Rung, ...]) -> Table:
    """Return a table with a row for each rung."""
    table = plain_table("rung", "scope", "verdict", "states", "seconds", right=(3, 4))
    for rung in rungs:
        verdict = rung.verdict
        text = verdict.status.value
        detail = verdict.how or verdict.why
        if verdict.status is Status.VIOLATED:
            detail = f"{verdict.violations[0].invariant}, step {len(verdict.trace)}"
        row = (rung.name, short(verdict.scope), f"{text} {detail}", str(rung.states))
        table.add_row(*row, f"{rung.answer.seconds:.1f}")
    return table


def counted(cut: dict[str, int]) -> str:
    """Return how many steps were dropped, for each kind of object that the scope lacked."""
    return ", ".join(f"{number} steps ({pool})" for pool, number in cut.items())


def short(scope: Scope) -> str:
    """Return a short text for the scope, for a column of a table."""
    ops = "all" if scope.every else " ".join(scope.ops)
    files = f"+{scope.files}×{scope.file_pages}" if scope.files else ""
    fails = " alloc_fail" if scope.alloc_fail else ""
    return f"{scope.mms}×{scope.pages}{files} {ops}{fails}"


def _report_json(report: Report) -> dict[str, Any]:
    rungs = [
        {
            "rung": r.name,
            **verdict_json(r.verdict),
            "states": r.states,
            "cut": r.cut,
            "seconds": round(r.answer.seconds, 2),
        }
        for r in report.rungs
    ]
    return {
        "rungs": rungs,
        "exhausted": [scope_json(scope) for scope in report.exhausted],
        "missed": list(report.missed),
        "unreachable": list(report.scheme.unreachable),
        "not_run": [{"file": a.file, "line": a.line, "what": a.missed} for a in report.not_run],
        "flaws": [
            {"base": f.base, "bug": f.bug, "violates": [v.invariant for v in f.violations]}
            for f in report.flaws
        ],
        "exit": int(report.exit),
    }


def checked_plugin(cls: type[Scheme]) -> type[Scheme]:
    """Return the scheme, after checking that a plug-in keeps to the interface while it runs.

    The engines rely on this: a scheme that reads page tables, for example, could never be wrong.
    """
    if is_plugin(cls):
        check_behaviour(cls, WIDE, seconds=0.7)
    return cls


def default_scope(cls: type[Scheme], choice: Choice, small: Scope) -> Scope:
    """Return the scope that the scope options change.

    That is the scope of a bug; for other schemes `small`, or Scope() if there are options.
    """
    return bug_scope(cls) or (Scope() if choice.given else small)


def target_of(cls: type[Scheme]) -> str:
    """Return the invariant that a seeded bug violates; "" for other schemes."""
    bug = expected_bug(cls)
    return bug.violates if bug else ""


def check_target(target: str, cls: type[Scheme]) -> str:
    """Return `target`. Raise ModelError if it is not an invariant that the scheme must satisfy."""
    if target and target not in INVARIANTS and target not in OOPSES:
        raise ModelError(f"no invariant is called {target!r}; `rmapcheck invariants` lists them")
    if target in INVARIANTS and target not in {inv.name for inv in applicable(cls)}:
        raise ModelError(
            f"{target} is not checked for {cls.name}; `rmapcheck invariants` lists for which "
            "schemes each invariant is checked"
        )
    return target


def finish(
    out: Out,
    cls: type[Scheme],
    verdict: Verdict,
    target: str,
    text: str,
    save: Path | None,
    extra: dict[str, Any],
) -> int:
    """Explain a violation, print the verdict, and return the exit code."""
    verdict = verdict.target_first(target)
    code = exit_code(cls, verdict, target)
    if verdict.status is Status.VIOLATED:
        extra |= report_violation(out, cls, verdict, text, save)
    out.verdict(verdict_line(cls, verdict, target), good=good(code))
    out.data({**verdict_json(verdict), "target": target or None, **extra, "exit": int(code)})
    return code


# fuzz


@command(scope=True, name="fuzz")
def fuzz_command(
    out: Out,
    scheme: OneScheme,
    scope: Choice,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="walk, hypothesis, or both.")
    ] = "both",
    examples: Annotated[int, typer.Option(min=1, help="Runs of Hypothesis.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Operations in each of these runs.")] = 50,
    walk_steps: Annotated[int, typer.Option(min=1, help="Operations of the walker.")] = 20_000,
    max_seconds: Annotated[
        float | None, typer.Option(help="Seconds of CPU time for each engine.")
    ] = None,
    seed: Seed = 0,
    target: Target = "",
    save: Save = None,
    refine: Refine = "",
) -> int:
    """Try random runs. First with a simple random walker, then with Hypothesis."""
    if engine not in ("walk", "hypothesis", "both"):
        raise ModelError(f"--engine must be walk, hypothesis or both, not {engine!r}")
    cls = checked_plugin(find_scheme(scheme))
    wanted = refine_target(refine, check_target(target, cls) or target_of(cls))
    observer = observer_of(cls, refine)
    chosen = scope.over(bug_scope(cls) or WIDE)
    question = Question(cls, chosen, target=wanted, observer=observer)
    limits = Limits(seconds=max_seconds, steps=walk_steps, runs=examples)
    verdicts: list[Verdict] = []
    out.covered = lambda: "; ".join(map(str, verdicts)) or "the first engine had not finished"
    for sampler in _random_engines(engine, seed, steps):
        with scheme_errors(cls), watchdog(cls):
            verdict = sampler.answer(question, limits).verdict
            if not observer:
                verdict = shortened(cls, verdict.target_first(wanted))
        verdicts.append(verdict)
        out.show(f"{verdict.engine}  {verdict.status.value} {verdict.how}  seed {seed}")
        if verdict.status is Status.VIOLATED:
            break
    if observer:
        return finish_refined(out, cls, verdicts[-1], observer)
    return finish(out, cls, verdicts[-1], wanted, scheme, save, {"engines": _engines(verdicts)})


def _random_engines(name: str, seed: int, length: int) -> Iterator[Engine]:
    """Yield the engines of `--engine`; Hypothesis is imported only when it is needed."""
    if name != "hypothesis":
        from rmapcheck.sampling.walk import Walker

        yield Walker(seed=seed)
    if name != "walk":
        from rmapcheck.sampling.fuzz import Hypothesis

        yield Hypothesis(seed=seed, length=length)


def _engines(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    return [verdict_json(verdict) for verdict in verdicts]
