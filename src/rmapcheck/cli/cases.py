"""replay, minimize, diff, show, export: the commands for saved cases."""

import sys
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from rmapcheck.cases.case import MAX_BYTES, Case, CaseError, load_case, parse_case, save_case
from rmapcheck.cases.minimize import minimize_case
from rmapcheck.cases.replay import CaseReplay, case_on, replay_case, scheme_of
from rmapcheck.cases.results import recorded
from rmapcheck.cases.schema import SCHEMA_FILE
from rmapcheck.cli.common import Out, command, scheme_names
from rmapcheck.cli.data import case_json, expect_json, recording_json, violations_json
from rmapcheck.cli.refine import Refine, observer_of, refine_target
from rmapcheck.cli.results import good, reference
from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import scheme_errors, watchdog
from rmapcheck.report import EXPORTS, export, render
from rmapcheck.report.explain import FORMATS, WIDTH
from rmapcheck.report.recording import record_case
from rmapcheck.run import NotPossible, replay
from rmapcheck.verdict import Exit, Status
from rmapcheck.verify.expectation import expected_bug

Cases = Annotated[
    list[Path], typer.Argument(metavar="CASE...", help="Case files, NAME.json; - for stdin.")
]
OneCase = Annotated[
    Path, typer.Argument(metavar="CASE", help="A case file, NAME.json; - for stdin.")
]
Other = Annotated[
    str,
    typer.Option(
        "--scheme",
        metavar="SCHEME",
        help="Run the operations on this scheme instead.",
        autocompletion=scheme_names,
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")
]

WORST = (Exit.USAGE, Exit.UNEXPECTED, Exit.INCONCLUSIVE, Exit.EXPECTED)
"""Exit codes, worst first; the worst one of several cases counts."""


def read_case(path: Path) -> Case:
    """Return the case in a file, or with "-" from standard input. Raise CaseError if invalid."""
    if str(path) != "-":
        return load_case(path)
    try:
        return parse_case(sys.stdin.buffer.read(MAX_BYTES + 1))
    except CaseError as error:
        raise CaseError(f"standard input: {error}") from None


def loaded(scheme: str) -> type[Scheme] | None:
    """Return the scheme that --scheme names, or None without --scheme."""
    return find_scheme(scheme) if scheme else None


def cases_of(paths: list[Path]) -> list[Path]:
    """Return the paths without the schema, which FOLDER/*.json includes."""
    several = len(paths) > 1
    return [path for path in paths if not (several and path.name == SCHEMA_FILE.name)]


def own_scheme(path: Path, case: Case) -> type[Scheme]:
    """Return the scheme that the case names. Raise CaseError, naming the file, for a plug-in."""
    try:
        return scheme_of(case)
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from None


@command(name="replay")
def replay_command(
    out: Out,
    cases: Cases,
    scheme: Other = "",
    holds: Annotated[
        bool, typer.Option("--holds", help="Expect that nothing is violated.")
    ] = False,
    refine: Refine = "",
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Write the result of each step, and the VMAs at the end, into the case.",
        ),
    ] = False,
) -> int:
    """Run saved cases again.

    On another scheme than the case's own, HOLDS is expected, unless that scheme is a bug.
    """
    if holds and refine:
        raise ModelError("--holds and --refine ask different questions; use only one of them")
    if record and (refine or scheme):
        raise ModelError("--record writes what the case's own scheme does; leave out the others")
    other = loaded(scheme)
    codes, results = [], []
    paths = cases_of(cases)
    for path in paths:
        try:
            if refine:
                code, result = _refine_one(out, path, other, refine)
            else:
                if record:
                    _record(out, path)
                code, result = _replay_one(out, path, other, scheme, holds=holds)
        except ModelError as error:
            if len(paths) == 1:
                raise
            code = Exit.USAGE
            out.complain(str(error))
            result = {"case": str(path), "error": str(error), "exit": int(code)}
        codes.append(code)
        results.append(result)
    out.data(results[0] if len(results) == 1 else results)
    return next(code for code in WORST if code in codes)


def _replay_one(
    out: Out, path: Path, other: type[Scheme] | None, scheme: str, *, holds: bool
) -> tuple[Exit, dict[str, Any]]:
    case = read_case(path)
    cls = other or own_scheme(path, case)
    with scheme_errors(cls), watchdog(cls):
        done = replay_case(case, cls)
    own = case.scheme in (cls.name, scheme)
    code = _code(done, cls, own=own, holds=holds)
    out.verdict(f"{path}: {_sentence(done, own=own and not holds)}", good=good(code))
    return code, _replay_json(path, done, code)


def _record(out: Out, path: Path) -> None:
    """Save the case with the results of its steps."""
    case = load_case(path)
    cls = own_scheme(path, case)
    steps = case.steps[: case.expect.step or len(case.steps)]
    try:
        with scheme_errors(cls), watchdog(cls):
            results = recorded(cls, case.scope, steps)
    except NotPossible as error:
        raise CaseError(f"{path}: {error}") from None
    save_case(attrs.evolve(case, results=results), path.parent, name=path.stem, overwrite=True)
    out.show(f"recorded the results of {len(results)} steps in {path}")


def _refine_one(
    out: Out, path: Path, other: type[Scheme] | None, refine: str
) -> tuple[Exit, dict[str, Any]]:
    """Replay a case and check that a spec allows each step."""
    case = read_case(path)
    cls = other or own_scheme(path, case)
    observer = observer_of(cls, refine)
    with scheme_errors(cls), watchdog(cls):
        done = replay(
            cls, case.scope, case.steps, target=refine_target(refine, ""), observer=observer
        )
    spec = observer.name if observer else ""
    why = str(done.violations[0]) if done.violations else ""
    result_text = f"step {done.step} is not allowed. {why}" if why else "each step is allowed"
    code = Exit.UNEXPECTED if why else Exit.EXPECTED
    out.verdict(f"{path}: {cls.name} against the spec {spec}: {result_text}", good=good(code))
    result = {
        "case": str(path),
        "scheme": cls.name,
        "spec": spec,
        "step": done.step,
        "violations": violations_json(done.violations),
        "exit": int(code),
    }
    return code, result


def _code(done: CaseReplay, cls: type[Scheme], *, own: bool, holds: bool) -> Exit:
    """Return 0 if the verdict is as expected, 3 if the scheme cannot run the case, else 1."""
    if done.status is Status.UNKNOWN:
        return Exit.INCONCLUSIVE
    fine = done.as_expected
    if holds or not own:
        fine = done.status is Status.HOLDS or (not holds and expected_bug(cls) is not None)
    return Exit.EXPECTED if fine else Exit.UNEXPECTED


def _sentence(done: CaseReplay, *, own: bool) -> str:
    """Return the verdict as a sentence; with what the case expects only on its own scheme."""
    if own or done.replayed is None:
        return str(done)
    if not done.replayed.violations:
        return f"{done.scheme}: HOLDS in every step."
    names = " and ".join(v.invariant for v in done.replayed.violations)
    return f"{done.scheme}: VIOLATED({names}, step {done.replayed.step})."


def _replay_json(path: Path, done: CaseReplay, code: Exit) -> dict[str, Any]:
    replayed = done.replayed
    return {
        "case": str(path),
        "scheme": done.scheme,
        "verdict": done.status.value,
        "expected": expect_json(done.case.expect),
        "as_expected": done.as_expected,
        "step": replayed.step if replayed else None,
        "violations": violations_json(replayed.violations) if replayed else [],
        "reason": done.reason or None,
        "exit": int(code),
    }


@command(name="minimize")
def minimize_command(
    out: Out,
    case: OneCase,
    scheme: Other = "",
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FOLDER", help="Save it here; otherwise beside the case."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Overwrite the case instead.")
    ] = False,
    max_seconds: Annotated[float, typer.Option(help="Seconds.")] = 20.0,
) -> int:
    """Shorten a case. Remove everything that its violation does not need."""
    if in_place and save is not None:
        raise ModelError("--in-place overwrites the case, --save does not; use only one of them")
    if str(case) == "-" and (save is None or in_place):
        raise ModelError("a case from standard input needs --save FOLDER")
    before = read_case(case)
    cls = loaded(scheme) or own_scheme(case, before)
    if scheme:
        before = attrs.evolve(before, scheme=reference(cls, scheme))
    with scheme_errors(cls), watchdog(cls):
        after = minimize_case(before, cls, max_seconds=max_seconds)
    minimal = after.steps == before.steps and after.scope == before.scope
    if minimal and save is None:
        out.verdict(f"{case}: already minimal, {len(before.steps)} steps", good=True)
        out.data(_minimized_json(before, before, None))
        return Exit.EXPECTED
    name = case.stem if in_place else f"{case.stem}-min"
    path = save_case(after, save or case.parent, name=name, overwrite=in_place)
    for op in after.steps:
        out.show(f"  {op}")
    out.verdict(f"{path}: {len(before.steps)} steps, now {len(after.steps)}", good=True)
    out.data(_minimized_json(before, after, path))
    return Exit.EXPECTED


def _minimized_json(before: Case, after: Case, path: Path | None) -> dict[str, Any]:
    return {
        "before": len(before.steps),
        "minimal": after.steps == before.steps and after.scope == before.scope,
        "case": case_json(after),
        "saved": str(path) if path else None,
    }


@command(name="diff")
def diff_command(
    out: Out,
    case: OneCase,
    schemes: Annotated[
        list[str],
        typer.Option("--schemes", metavar="A,B", help="Two or more, separated by commas."),
    ],
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show the states where they first differ.")
    ] = False,
    walks: Annotated[
        bool, typer.Option("--walks", help="Show how many entries the walks for all pages visit.")
    ] = False,
) -> int:
    """Compare schemes on the steps of a case."""
    from rmapcheck.report.diff import diff
    from rmapcheck.report.precision import precision, report

    names = [name for text in schemes for name in text.split(",") if name]
    found = [find_scheme(name) for name in names]
    loaded = read_case(case)
    done = diff(loaded, found)
    costs = {s.name: precision(s, loaded.scope, loaded.steps) for s in found} if walks else {}
    at = done.first_visible if done.first_visible is not None else done.first_bookkeeping
    out.verdict(str(done), good=True)
    if pictures and at is not None:
        out.show("")
        out.show(done.pictures(at))
    if walks:
        out.show("")
        out.show(report(costs))
    out.data(
        {
            "walks": {name: attrs.asdict(cost) for name, cost in costs.items()},
            "schemes": list(done.schemes),
            "first_visible": done.first_visible,
            "first_bookkeeping": done.first_bookkeeping,
            "stopped": done.stopped,
            "text": str(done),
        }
    )
    return Exit.EXPECTED


@command(name="show")
def show_command(
    out: Out,
    case: OneCase,
    scheme: Other = "",
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=", ".join(FORMATS))
    ] = "text",
    output: Output = None,
) -> int:
    """Explain a case. Show each step, the states around the last one, and the reason."""
    loaded_case = read_case(case)
    cls = loaded(scheme) or own_scheme(case, loaded_case)
    with scheme_errors(cls), watchdog(cls):
        text = render(loaded_case, format_, cls, width=WIDTH if output else out.stdout.width)
        done = replay_case(loaded_case, cls)
        run = recording_json(record_case(loaded_case, cls)) if out.as_json else {}
    if output is not None:
        _write(out, text, output, case)
    elif out.quiet:
        own = loaded_case.scheme in (cls.name, scheme)
        out.verdict(f"{case}: {_sentence(done, own=own)}", good=done.as_expected or None)
    else:
        out.text(text)
    result = _replay_json(case, done, Exit.EXPECTED)
    out.data({**result, "output": str(output) if output else None, **run})
    return Exit.EXPECTED


@command(name="export")
def export_command(
    out: Out,
    case: OneCase,
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=", ".join(EXPORTS))
    ] = "pytest",
    scheme: Other = "",
    output: Output = None,
) -> int:
    """Write a case as a pytest function, a C program, or in another format."""
    loaded_case = read_case(case)
    cls = loaded(scheme) or own_scheme(case, loaded_case)
    with scheme_errors(cls), watchdog(cls):
        if scheme and format_ == "pytest":
            loaded_case = case_on(loaded_case, cls, reference(cls, scheme))
        text = export(loaded_case, format_, cls)
    if output is None:
        out.text(text)
    else:
        _write(out, text, output, case)
    place = str(output) if output else None
    out.data({"case": case_json(loaded_case), "scheme": cls.name, "text": text, "output": place})
    return Exit.EXPECTED


def _write(out: Out, text: str, output: Path, source: Path) -> None:
    """Write the text to `output`. Raise ModelError if that is the `source`."""
    try:
        if output.exists() and source.exists() and output.samefile(source):
            raise ModelError(f"{output} is the case itself; name another --output")
        write_whole(output, text)
    except OSError as error:
        raise ModelError(f"{output} cannot be written ({error.strerror})") from None
    out.verdict(f"{output}: written", good=True)
