"""Writes obligations as files for other solvers, and proofs as files for a proof checker.

Each obligation becomes an SMT-LIB 2 file: the answer "unsat" proves that the operation keeps the
lemma. If cvc5 is installed, its proof is written, too, in the Cooperating Proof Calculus (CPC),
which the checker Ethos reads.
"""

import re
from pathlib import Path

from rmapcheck.host.files import write_whole
from rmapcheck.logic.terms import negate
from rmapcheck.prove.obligations import Goal, problems, relevant
from rmapcheck.prove.prover import Prover
from rmapcheck.prove.proving import Report
from rmapcheck.prove.results import FAILS, PROVED
from rmapcheck.prove.solver.engines import Cvc5, has_cvc5
from rmapcheck.prove.solver.memory import Proofs


def export(report: Report, folder: Path) -> tuple[int, int]:
    """Write each obligation that went to a solver; return the numbers of files and of proofs."""
    place = folder / _safe(report.spec.name)
    place.mkdir(parents=True, exist_ok=True)
    results = {(r.operation, r.goal.name): r for r in report.results}
    written = proofs = 0
    for problem in problems(report.spec):
        prover = Prover(problem, report.options, Proofs())
        for goal in filter(relevant, problem.goals):
            result = results[problem.operation, goal.name]
            text = script(prover, goal, deep=result.deep)
            name = _safe(f"{problem.operation}-{goal.name}")
            expected = {PROVED: "unsat", FAILS: "sat"}.get(result.status, "unknown")
            head = f"; {report.spec.name}: {problem.operation} keeps {goal.name}\n"
            info = f"(set-info :status {expected})\n(set-logic UF)\n"
            write_whole(place / f"{name}.smt2", f"{head}{info}{text}(check-sat)\n")
            written += 1
            if result.status == PROVED and has_cvc5():
                proof = Cvc5.proof(text, report.options.timeout)
                if proof:
                    write_whole(place / f"{name}.cpc", proof)
                    proofs += 1
    return written, proofs


def script(prover: Prover, goal: Goal, *, deep: bool) -> str:
    """Return the SMT-LIB text: declarations, hypotheses and the goal's negation."""
    hypotheses = prover.problem.hypotheses(deep=deep)
    assumed = "".join(f"; {h.name}\n{prover.text(h.formula)}" for h in hypotheses)
    return (
        f"{prover.declarations()}{assumed}; not {goal.name}\n{prover.text(negate(goal.formula))}"
    )


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
