"""The work of `rmapcheck prove`: proves one spec after the other, and prints the results.

It is not in cli.prove, because it imports the solvers.
"""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from rmapcheck.cli.common import Out
from rmapcheck.cli.data import verdict_json
from rmapcheck.cli.engines import named
from rmapcheck.cli.results import good, report_violation
from rmapcheck.logic.spec import Spec
from rmapcheck.logic.terms import SpecError
from rmapcheck.prove.export import export
from rmapcheck.prove.find_run import find_run, most_concrete, scheme_of
from rmapcheck.prove.proving import Options, Report, Result, prove
from rmapcheck.prove.registry import find_spec, specs
from rmapcheck.prove.solver.memory import Proofs
from rmapcheck.prove.suggest import suggest
from rmapcheck.prove.table import figures, report_json, table, title
from rmapcheck.prove.verdict import exit_code, sentence
from rmapcheck.verdict import Exit, Status

SOLVERS = ("z3", "cvc5", "both")


@attrs.frozen
class ProveOptions:
    """The options of the command."""

    solver: str
    seed: int
    timeout: float
    why: bool
    suggest: bool
    export: Path | None
    run_seconds: float = 0.0
    """Seconds to look for a run that leads to a counterexample; 0: do not look."""

    def for_prover(self) -> Options:
        """Return the options of the prover. Raise SpecError if one is not valid."""
        if self.solver not in SOLVERS:
            raise SpecError(f"--solver must be z3, cvc5 or both, not {self.solver!r}")
        if self.timeout <= 0:
            raise SpecError(f"--timeout must be more than 0, not {self.timeout:g}")
        if self.run_seconds < 0:
            raise SpecError(f"--run-seconds must be 0 or more, not {self.run_seconds:g}")
        return Options(solver=self.solver, seed=self.seed, timeout=self.timeout, cores=self.why)


def run(out: Out, names: Sequence[str], given: ProveOptions, *, every: bool) -> set[Exit]:
    """Prove the specs that are named, or `every` one; return the exit codes."""
    chosen = named(list(names), every=every, there=specs)
    if not chosen:
        raise SpecError(f"name a spec, or use --all; there are {', '.join(specs())}")
    options = given.for_prover()
    check_folder(given.export)
    codes, found, proofs = set(), [], Proofs()
    for name in dict.fromkeys(chosen):
        spec = find_spec(name)
        report = _prove(out, spec, options, proofs)
        codes.add(show(out, report, given))
        found.append(report_json(report))
        if report.failures and given.run_seconds and not every:
            found[-1]["pursuit"] = _follow_up(out, report, given.run_seconds)
        if given.suggest and report.failures:
            _show_suggestions(out, report)
        if given.export is not None:
            written, proved = export(report, given.export)
            out.show(f"wrote {written} obligations and {proved} proofs to {given.export}")
    out.data(found if len(found) > 1 else found[0])
    return codes


def check_folder(folder: Path | None) -> None:
    """Raise SpecError if `folder` is given but cannot be made."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"this folder cannot be made ({error.strerror})"
        raise SpecError(f"--export {folder}: {why}; name another one") from None


@contextlib.contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Search for garbage cycles rarely: formulas make none, and it took a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _prove(out: Out, spec: Spec, options: Options, proofs: Proofs) -> Report:
    """Prove one spec, and show the progress on a terminal."""
    progress = out.progress()
    total = len(spec.transitions) + 1

    def begin(operation: str, done: int) -> None:
        out.covered = lambda: f"{spec.name}: {done} of {total} operations"
        progress.say(f"{spec.name}: {operation}, {done} of {total} operations done")

    try:
        with rare_garbage_collection():
            return prove(spec, options, proofs, begin=begin)
    finally:
        progress.end()


def show(out: Out, report: Report, given: ProveOptions) -> Exit:
    """Print one report; return its exit code."""
    spec = report.spec
    out.show(f"proving {title(spec)}")
    if not out.quiet:
        for line in table(report, out.stdout.width):
            out.show(line)
        out.show("")
        for line in figures(report):
            out.show(line)
    for result in [*report.failures, *report.undecided]:
        _show_failure(out, result)
    if given.why:
        _show_needs(out, report)
    code = exit_code(report)
    out.verdict(f"{spec.name}: {sentence(report)}", good=good(code))
    out.show("")
    return code


def _show_failure(out: Out, result: Result) -> None:
    out.show("")
    out.show(f"{result.status} {result.operation} × {result.goal.name}")
    if result.cti is not None:
        for line in result.cti.lines():
            out.show(line)
    else:
        out.show(f"      {result.why}")


def _show_needs(out: Out, report: Report) -> None:
    out.show("")
    out.show("why   each proof ← the lemmas and conditions that it needs")
    for r in report.results:
        if r.answers and r.needs is not None:
            out.show(f"      {r.operation} × {r.goal.name} ← {', '.join(r.needs) or 'nothing'}")


def _show_suggestions(out: Out, report: Report) -> None:
    lemmas, enough = suggest(report)
    for lemma in lemmas:
        out.show(f"lemma {lemma}")
    if enough:
        out.show("      With these lemmas, nothing fails; they hold in all states visited.")
    else:
        out.show("      No clause of three literals over these words is enough.")
    out.show("")


def _follow_up(out: Out, report: Report, seconds: float) -> dict[str, Any]:
    """Look for a run that violates what could not be proved; return its part of the JSON.

    A run that is found is replayed and explained.
    """
    found = scheme_of(report)
    out.show("")
    if found is None:
        out.show("run   not looked for: the spec's `schemes` name no scheme of the model")
        return {"scheme": None}
    name, scheme = found
    lemma = most_concrete(report.failures).goal.name
    search = find_run(scheme, lemma, seconds=seconds)
    target = search.targets[0] or "anything"
    out.show(f"run   of {name} that breaks {lemma} (invariant {target}): {search.verdict}")
    result = {"scheme": name, "lemma": lemma, "run": verdict_json(search.verdict)}
    if search.verdict.status is not Status.VIOLATED:
        out.show("      none found: the state of the counterexample may be unreachable")
        return result
    return {**result, **report_violation(out, scheme, search.verdict, name, None)}
