"""Prints verdicts as lines, and saves violations as cases."""

from pathlib import Path
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

from rmapcheck.cases.case import Case, History, case_from, save_case
from rmapcheck.cases.replay import CaseReplay, command_for, replay_case
from rmapcheck.cli.common import Out
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.guard import is_plugin, scheme_errors, watchdog
from rmapcheck.report import explain
from rmapcheck.verdict import Exit, Status, Verdict
from rmapcheck.verify.expectation import exit_code, expected_bug, known_flaw

FOLDER = "counterexamples"


def good(code: int) -> bool | None:
    """Return the `good` of Out.verdict for an exit code: True green, None yellow, False red."""
    return {Exit.EXPECTED: True, Exit.INCONCLUSIVE: None}.get(Exit(code), False)


def verdict_line(scheme: type[Scheme], verdict: Verdict, target: str = "") -> str:
    """Return the verdict as a line; for a seeded bug, also whether it is the expected verdict.

    `target`: the invariant that was searched for, if not all of them.
    """
    shown = f"HOLDS({verdict.how})" if verdict.engine == "verify" else str(verdict)
    if verdict.status is not Status.HOLDS:
        shown = str(verdict)
    line = f"{scheme.name}: {shown}"
    bug = expected_bug(scheme)
    if target and bug is None and verdict.status in (Status.HOLDS, Status.SAMPLED):
        line = f"{line}, only {target} was checked"
    if bug is None:
        flaw = known_flaw(scheme, verdict)
        return f"{line}, as expected: these kernels had {flaw}" if flaw else line
    if verdict.status is Status.UNKNOWN or verdict.status is Status.SAMPLED:
        return f"{line}; {bug.violates} should catch this bug"
    caught = exit_code(scheme, verdict, target) == Exit.EXPECTED
    return f"{line}, {'as expected' if caught else f'but {bug.violates} should catch this bug'}"


def history_of(scheme: type[Scheme]) -> History:
    """Return the history of a seeded bug; an empty one for other schemes."""
    bug = expected_bug(scheme)
    if bug is None:
        return History()
    return History(introduced=bug.introduced, fixed=bug.fixed, cve=bug.cve)


def reference(scheme: type[Scheme], text: str) -> str:
    """Return the name of the scheme for a case file: built-in, or FILE.py as it was typed."""
    if not is_plugin(scheme):
        return scheme.name
    file, colon, rest = text.partition(".py")
    path = Path(file + ".py")
    if colon and path.is_absolute():
        inside = path.is_relative_to(Path.cwd())
        path = path.relative_to(Path.cwd()) if inside else Path(path.name)
    return f"{path}{rest}" if colon else text


def make_case(scheme: type[Scheme], verdict: Verdict, text: str) -> Case:
    """Return the case of a violation; `text` is what the user typed to name the scheme."""
    bug = expected_bug(scheme)
    return case_from(
        verdict,
        title=bug.title if bug else "",
        history=history_of(scheme),
        scheme=reference(scheme, text),
        minimized=True,
    )


def report_violation(
    out: Out, scheme: type[Scheme], verdict: Verdict, text: str, save: Path | None
) -> dict[str, Any]:
    """Explain a violation, save and replay its case, and print the command that repeats it.

    Without `save`, a plug-in's case is saved in `counterexamples`, and others are not saved.
    Return this part of the JSON.
    """
    case = make_case(scheme, verdict, text)
    out.show("")
    with scheme_errors(scheme), watchdog(scheme):
        out.show(explain(case, scheme))
        again = replay_case(case, scheme)
    out.show("")
    folder = save or (Path(FOLDER) if is_plugin(scheme) else None)
    if folder is None:
        return {"case": None, "replayed": again.as_expected}
    path = save_case(case, folder)
    for line in saved_lines(path, case, again):
        out.show(line)
    return {"case": str(path), "replayed": again.as_expected}


def saved_lines(path: Path, case: Case, again: CaseReplay) -> tuple[str, str, str]:
    """Return three lines: the path of the case, the result of its replay, the command for it."""
    return (f"saved     {path}", f"replayed  {again}", f"again     {command_for(path, case)}")


def plain_table(*columns: str, right: tuple[int, ...] = ()) -> Table:
    """Return an empty table without frames, which can also be read outside a terminal.

    The first column, which names things, is never wrapped.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        side: JustifyMethod = "right" if i in right else "left"
        table.add_column(column, justify=side, no_wrap=i == 0, overflow="fold")
    return table
