"""Proves a spec: each operation against each invariant, check and counter."""

import time
from collections.abc import Callable, Collection

import attrs

from rmapcheck.logic.lint import Cycle
from rmapcheck.logic.spec import Spec
from rmapcheck.prove.obligations import problems, tiers
from rmapcheck.prove.prover import Prover
from rmapcheck.prove.results import (
    FAILS,
    POSSIBLE,
    PROVED,
    UNDECIDED,
    VACUOUS,
    Options,
    Result,
    Vacuity,
)
from rmapcheck.prove.solver.engines import versions
from rmapcheck.prove.solver.memory import Proofs


@attrs.define(eq=False)
class Report:
    """The results for one spec."""

    spec: Spec
    options: Options
    versions: str
    results: list[Result] = attrs.field(factory=list)
    vacuities: list[Vacuity] = attrs.field(factory=list)
    seconds: float = 0.0
    deep: dict[str, Cycle] = attrs.field(factory=dict)
    """Deep lemma → the cycle of sorts that it closes."""

    @property
    def expected(self) -> set[tuple[str, str]]:
        """Obligations that must fail, because the kernels had a bug."""
        return {cell for cells in self.spec.flaws.values() for cell in cells}

    @property
    def interesting(self) -> str:
        """The case in which the operations have been shown to be possible, in words."""
        written = type(self.spec).interesting
        if written is Spec.interesting:
            return "any state: the spec does not say what is interesting"
        return " ".join((written.__doc__ or str(self.spec.interesting(self.spec.base()))).split())

    @property
    def sorts(self) -> str:
        """The sorts, of which there may be any number of elements, in words."""
        return ", ".join(s.__name__ for s in self.spec.sorts)

    @property
    def failures(self) -> list[Result]:
        """Obligations with a counterexample."""
        return [r for r in self.results if r.status == FAILS]

    @property
    def undecided(self) -> list[Result]:
        """Obligations that were neither proved nor refuted."""
        return [r for r in self.results if r.status == UNDECIDED]

    @property
    def vacuous(self) -> list[Vacuity]:
        """Operations that cannot happen, so that the proofs about them are worthless."""
        return [v for v in self.vacuities if v.status == VACUOUS]

    @property
    def complete(self) -> bool:
        """Return whether each obligation was decided, and each operation shown to be possible."""
        return not self.undecided and all(v.status == POSSIBLE for v in self.vacuities)

    @property
    def verdict(self) -> str:
        """PROVED, CTI, VACUOUS or UNKNOWN; only PROVED passes."""
        if self.failures:
            return "CTI"
        if self.vacuous:
            return "VACUOUS"
        if not self.complete:
            return "UNKNOWN"
        return "PROVED"


def prove(
    spec: Spec,
    options: Options | None = None,
    proofs: Proofs | None = None,
    *,
    only: Collection[str] | None = None,
    begin: Callable[[str, int], None] | None = None,
) -> Report:
    """Prove all obligations of `spec`, or those of the operations in `only`.

    `proofs` has the proofs for other specs, and gets the new ones. `begin` is called for each
    operation with its name and the number of operations before it.
    """
    options = options or Options()
    proofs = Proofs() if proofs is None else proofs
    start = time.perf_counter()
    report = Report(spec, options, versions(options.solver), deep=tiers(spec).why)
    for done, problem in enumerate(problems(spec)):
        if only is not None and problem.operation not in only:
            continue
        if begin is not None:
            begin(problem.operation, done)
        prover = Prover(problem, options, proofs)
        found = list(prover.results())
        report.results += found
        if problem.vacuity is not None:
            report.vacuities.append(prover.vacuity(deep=any(r.deep for r in found)))
    report.seconds = time.perf_counter() - start
    return report


__all__ = ["FAILS", "POSSIBLE", "PROVED", "Options", "Report", "Result", "Vacuity", "prove"]
