"""The work of `rmapcheck prove`: one spec after the other, and what is printed of each."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from rmapcheck.cli.common import Out
from rmapcheck.cli.results import good
from rmapcheck.logic.spec import Spec
from rmapcheck.logic.terms import SpecError
from rmapcheck.prove.export import export
from rmapcheck.prove.follow_up import follow_up
from rmapcheck.prove.proving import POSSIBLE, Options, Report, Result, prove
from rmapcheck.prove.registry import find_spec, specs
from rmapcheck.prove.solver.memory import Proofs
from rmapcheck.prove.suggest import suggest
from rmapcheck.prove.table import figures, report_json, table
from rmapcheck.verdict import Exit

SOLVERS = ("z3", "cvc5", "both")


@attrs.frozen
class Wanted:
    """The options of the command."""

    solver: str
    seed: int
    timeout: float
    why: bool
    suggest: bool
    export: Path | None
    run_seconds: float = 0.0
    """How long to look for a real run where there is a counterexample; 0: not at all."""

    def options(self) -> Options:
        """Return what the prover is told. Raise SpecError for nonsense."""
        if self.solver not in SOLVERS:
            raise SpecError(f"--solver is z3, cvc5 or both, not {self.solver!r}")
        if self.timeout <= 0:
            raise SpecError(f"--timeout must be more than 0, not {self.timeout:g}")
        if self.run_seconds < 0:
            raise SpecError(f"--run-seconds must be 0 or more, not {self.run_seconds:g}")
        return Options(solver=self.solver, seed=self.seed, timeout=self.timeout, cores=self.why)


def run(out: Out, names: Sequence[str], wanted: Wanted, *, every: bool) -> set[Exit]:
    """Prove the specs that are named; return the exit codes."""
    chosen = [*names, *(specs() if every else ())]
    if not chosen:
        raise SpecError(f"name a spec, or --all; there are {', '.join(specs())}")
    options = wanted.options()
    check_folder(wanted.export)
    codes, found, proofs = set(), [], Proofs()
    for name in dict.fromkeys(chosen):
        spec = find_spec(name)
        report = _proved(out, spec, options, proofs)
        codes.add(show(out, report, wanted))
        found.append(report_json(report))
        if report.failures and wanted.run_seconds and not every:
            found[-1]["pursuit"] = follow_up(out, report, wanted.run_seconds)
        if wanted.suggest and report.failures:
            _show_suggestions(out, report)
        if wanted.export is not None:
            written, proved = export(report, wanted.export)
            out.show(f"wrote {written} obligations and {proved} proofs to {wanted.export}")
    out.data(found if len(found) > 1 else found[0])
    return codes


def check_folder(folder: Path | None) -> None:
    """Raise SpecError unless obligations can be written below `folder`."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"no folder can be made there ({error.strerror})"
        raise SpecError(f"--export {folder}: {why}; name another place") from None


@contextlib.contextmanager
def hardly_any_garbage() -> Iterator[None]:
    """Formulas make no cycles; looking for some took a fifth of the time of all proofs."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _proved(out: Out, spec: Spec, options: Options, proofs: Proofs) -> Report:
    """Prove one spec; on a terminal, say how far that is."""
    progress = out.progress()
    total = len(spec.transitions) + 1

    def begin(operation: str, done: int) -> None:
        out.covered = lambda: f"{spec.name}: {done} of {total} operations"
        progress.say(f"{spec.name}: {operation}, {done} of {total} operations done")

    try:
        with hardly_any_garbage():
            return prove(spec, options, proofs, begin=begin)
    finally:
        progress.end()


def show(out: Out, report: Report, wanted: Wanted) -> Exit:
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
    if wanted.why:
        _show_needs(out, report)
    code = exit_code(report)
    out.verdict(f"{spec.name}: {sentence(report)}", good=good(code))
    out.show("")
    return code


def title(spec: Spec) -> str:
    """Return name, title and kernels of a spec."""
    kernels = f" ({spec.kernels})" if spec.kernels else ""
    return f"{spec.name}: {spec.title}{kernels}" if spec.title else spec.name


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
    out.show("why   each proof, and the lemmas and conditions that it needs")
    for r in report.results:
        if r.answers and r.needs is not None:
            out.show(f"      {r.operation} × {r.goal.name} ← {', '.join(r.needs) or 'nothing'}")


def _show_suggestions(out: Out, report: Report) -> None:
    lemmas, enough = suggest(report)
    for lemma in lemmas:
        out.show(f"lemma {lemma}")
    if enough:
        out.show("      With these, which hold in all states met and are kept, nothing fails.")
    else:
        out.show("      No clause of three literals over these words is enough.")
    out.show("")


def exit_code(report: Report) -> Exit:
    """Return 0 for a proof or the expected counterexamples, 1 for others, 3 for less."""
    cells = {(r.operation, r.goal.name) for r in report.failures}
    if report.verdict == "CTI" and cells != report.expected:
        return Exit.UNEXPECTED
    if report.verdict == "CTI" and report.complete:
        return Exit.EXPECTED
    if report.verdict == "PROVED":
        return Exit.UNEXPECTED if report.expected else Exit.EXPECTED
    return Exit.INCONCLUSIVE


def sentence(report: Report) -> str:
    """Return the verdict as it is printed."""
    if report.verdict == "PROVED":
        said = f"PROVED(inductive, for any number of {report.sorts})"
        return f"{said}, but a failure was expected" if report.expected else said
    if report.verdict == "VACUOUS":
        return f"VACUOUS({', '.join(v.operation for v in report.vacuous)}: can never happen)"
    if report.verdict == "UNKNOWN":
        return f"UNKNOWN({_open(report)})"
    cells = [f"{r.operation} × {r.goal.name}" for r in report.failures]
    shown = ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")
    tail = ""
    if report.expected:
        names = ", ".join(report.spec.flaws)
        same = {(r.operation, r.goal.name) for r in report.failures} == report.expected
        tail = f", as expected of {names}" if same else f", not what is expected of {names}"
    rest = "" if report.complete else f"; besides, {_open(report)}"
    return f"CTI({shown}){tail}{rest}"


def _open(report: Report) -> str:
    """Return what was not decided."""
    parts = []
    if report.undecided:
        parts.append(f"{len(report.undecided)} obligations undecided")
    for v in report.vacuities:
        if v.status != POSSIBLE:
            parts.append(f"{v.operation} not shown to be possible")
    return ", ".join(parts)
