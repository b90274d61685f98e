"""demo: finds CVE-2026-23077 by exhaustive search; explains, saves and replays it."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rmapcheck.cases.case import Case, case_from, load_case, save_case
from rmapcheck.cases.replay import replay_case
from rmapcheck.cli.common import Out, command
from rmapcheck.cli.data import case_json
from rmapcheck.cli.results import good, history_of
from rmapcheck.explore import Answer, explore
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Bug, Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.catalogue import bug_of, without_bug
from rmapcheck.report import explain
from rmapcheck.verdict import Exit, Status
from rmapcheck.verify.ladder import bug_scope

BUG = "B29"


@command(name="demo")
def demo_command(
    out: Out,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Keep the case in this folder.")
    ] = None,
) -> int:
    """Find a real historical bug in seconds. Then explain it, save it, and replay it."""
    cls = catalogue.bugs()[BUG]
    bug = bug_of(cls)
    done = _search(out, cls, bug)
    if done.verdict.status is not Status.VIOLATED:
        out.verdict(f"{BUG} was not found: {done.verdict}", good=False)
        return Exit.UNEXPECTED
    verdict = done.verdict.target_first(bug.violates)
    case = case_from(verdict, title=bug.title, history=history_of(cls))
    out.show("")
    out.show(explain(case))
    out.show("")
    here = nullcontext(folder) if folder else tempfile.TemporaryDirectory(prefix="rmapcheck-")
    with here as place:
        return _keep(out, cls, case, Path(str(place)), kept=folder is not None)


def _search(out: Out, cls: type[Scheme], bug: Bug) -> Answer:
    scope = bug_scope(cls) or Scope()
    out.show(f"searching every state of {cls.name}: {without_bug(cls).name} without {bug.fixed}")
    out.show(f"scope  {scope}")
    done = explore(cls, scope, target=bug.violates)
    shortest = f"no run of fewer than {len(done.verdict.trace)} operations does it"
    out.show(f"found  after {done.distinct} states; {shortest}")
    return done


def _keep(out: Out, cls: type[Scheme], case: Case, folder: Path, *, kept: bool) -> int:
    """Save the case, replay it from its file, and run it on the corrected scheme."""
    path = save_case(case, folder)
    again = replay_case(load_case(path), cls)
    corrected = replay_case(case, without_bug(cls))
    fine = again.as_expected and corrected.status is Status.HOLDS
    code = Exit.EXPECTED if fine else Exit.UNEXPECTED
    out.show(f"saved      {path if kept else 'nowhere; `rmapcheck demo FOLDER` keeps the case'}")
    out.verdict(f"replayed   {again}", good=good(code))
    holds = "HOLDS in every step" if corrected.status is Status.HOLDS else str(corrected)
    text = f"corrected  {corrected.scheme}: {holds}, with {bug_of(cls).fixed}."
    out.verdict(text, good=good(code))
    out.data(
        {
            "case": case_json(case),
            "saved": str(path) if kept else None,
            "replayed": again.as_expected,
            "corrected_holds": fine,
            "exit": int(code),
        }
    )
    return code
