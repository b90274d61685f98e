"""Prove a spec: each operation against each invariant, check and counter."""

import time
from collections.abc import Iterator, Sequence

import attrs

from invariants.logic.lint import Cycle
from invariants.logic.spec import Spec
from invariants.logic.terms import Expr, Sort, negate
from rmapcheck.prove import smt
from rmapcheck.prove.cti import Checker, Cti
from rmapcheck.prove.engines import SAT, UNKNOWN, UNSAT, Z3, Answer, Cvc5, Engine, versions
from rmapcheck.prove.obligations import Goal, Named, Problem, problems, relevant, tiers
from rmapcheck.prove.small import Bounded

PROVED, FAILS, UNDECIDED = "proved", "CTI", "unknown"
POSSIBLE, VACUOUS = "possible", "vacuous"


@attrs.frozen(kw_only=True)
class Options:
    """How to prove."""

    solver: str = "z3"
    """z3, cvc5 or both"""
    seed: int = 0
    timeout: float = 10.0
    """Seconds for each question."""
    cores: bool = False
    """Find out which hypotheses each proof needs."""
    small: bool = True
    """Look for small counterexamples, which keep the deep lemmas too."""
    patience: float = 2.0
    """Seconds for a question with deep lemmas, which a solver need not be able to answer."""


@attrs.frozen(eq=False, kw_only=True)
class Result:
    """What became of one obligation."""

    operation: str
    goal: Goal
    status: str
    deep: bool = False
    """Proved only with the deep lemmas."""
    answers: tuple[tuple[str, str], ...] = ()
    """What each solver said."""
    seconds: float = 0.0
    why: str = ""
    needs: tuple[str, ...] | None = None
    """Hypotheses that a proof needs, if they were asked for."""
    cti: Cti | None = None


@attrs.frozen(eq=False, kw_only=True)
class Vacuity:
    """Whether an operation can happen at all where all lemmas hold, and do something."""

    operation: str
    status: str
    seconds: float
    why: str = ""


@attrs.define(eq=False)
class Report:
    """All that was found about one spec."""

    spec: Spec
    options: Options
    versions: str
    results: list[Result] = attrs.field(factory=list)
    vacuities: list[Vacuity] = attrs.field(factory=list)
    seconds: float = 0.0
    deep: dict[str, Cycle] = attrs.field(factory=dict)
    """Lemmas that close a cycle of sorts, and which."""

    @property
    def expected(self) -> set[tuple[str, str]]:
        """What must fail, since the kernels had the bug."""
        return {cell for cells in self.spec.flaws.values() for cell in cells}

    @property
    def interesting(self) -> str:
        """In which case the operations have been shown to be possible."""
        return " ".join((self.spec.interesting.__doc__ or "any state").split())

    @property
    def sorts(self) -> str:
        """What there may be any number of."""
        return ", ".join(s.__name__ for s in self.spec.sorts)

    @property
    def failures(self) -> list[Result]:
        """Obligations with a counterexample."""
        return [r for r in self.results if r.status == FAILS]

    @property
    def undecided(self) -> list[Result]:
        """Obligations of which nothing is known."""
        return [r for r in self.results if r.status == UNDECIDED]

    @property
    def vacuous(self) -> list[Vacuity]:
        """Operations that cannot happen: what is proved of them is nothing."""
        return [v for v in self.vacuities if v.status == VACUOUS]

    @property
    def verdict(self) -> str:
        """PROVED, CTI, VACUOUS or UNKNOWN; nothing but PROVED passes."""
        if self.failures:
            return "CTI"
        if self.vacuous:
            return "VACUOUS"
        if self.undecided or any(v.status != POSSIBLE for v in self.vacuities):
            return "UNKNOWN"
        return "PROVED"


def prove(spec: Spec, options: Options | None = None) -> Report:
    """Return what the solvers say of all obligations of `spec`."""
    options = options or Options()
    start = time.perf_counter()
    report = Report(spec, options, versions(options.solver), deep=tiers(spec).why)
    for problem in problems(spec):
        prover = Prover(problem, options)
        report.results += prover.results()
        if problem.vacuity:
            report.vacuities.append(prover.vacuity())
    report.seconds = time.perf_counter() - start
    return report


class Prover:
    """One problem: hypotheses are asserted once, goals pushed and popped."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self.problem = problem
        self.options = options
        self.names = problem.names
        self.constants: dict[str, type[Sort]] = {v: k.sort for k, v in self.names.items()}
        self.engines: dict[tuple[str, bool], Engine] = {}
        self.checker = Checker(problem)

    def text(self, e: Expr) -> str:
        """Return an assertion."""
        return f"(assert {smt.translate(e, self.names)})\n"

    def engine(self, name: str, *, deep: bool, models: bool = False) -> Engine:
        """Return a solver that knows the hypotheses."""
        key = (f"{name}{'+' if models else ''}", deep)
        if key not in self.engines:
            self.engines[key] = self.fresh(name, self.hypotheses(deep=deep), models=models)
        return self.engines[key]

    def fresh(self, name: str, hypotheses: Sequence[Named], *, models: bool = False) -> Engine:
        """Return a new solver that knows `hypotheses`."""
        seed = self.options.seed
        engine: Engine = Z3(seed) if name == "z3" else Cvc5(seed, find_models=models)
        spec = self.problem.spec
        engine.add(smt.declarations(spec.sorts, self.problem.symbols, self.constants))
        engine.add("".join(self.text(h.formula) for h in hypotheses))
        return engine

    def hypotheses(self, *, deep: bool) -> tuple[Named, ...]:
        return self.problem.hypotheses(deep=deep)

    def results(self) -> Iterator[Result]:
        """Yield what becomes of each goal."""
        for goal in self.problem.goals:
            if relevant(goal):
                yield self.prove(goal)
            else:
                yield Result(operation=self.problem.operation, goal=goal, status=PROVED)

    def ask(self, name: str, goal: Expr, *, deep: bool, models: bool = False) -> Answer:
        """Ask one solver whether the goal can fail."""
        engine = self.engine(name, deep=deep, models=models)
        engine.push()
        try:
            engine.add(self.text(negate(goal)))
            return engine.check(self.options.patience if deep else self.options.timeout)
        finally:
            engine.pop()

    def ask_deep(self, name: str, goal: Expr) -> Answer:
        """Ask with the deep lemmas, but of the rest only what is about the same things.

        Fewer hypotheses may do, and distract less; that a solver answers is luck here.
        """
        said = goal.symbols.union(*(d.formula.symbols for d in self.problem.deep))
        near = [h for h in self.hypotheses(deep=True) if h.formula.symbols <= said]
        engine = self.fresh(name, near)
        engine.add(self.text(negate(goal)))
        return engine.check(self.options.patience)

    def prove(self, goal: Goal) -> Result:
        """Ask the solvers that were chosen; they must agree."""
        start = time.perf_counter()
        said = [(name, self.ask(name, goal.formula, deep=False)) for name in self.chosen]
        deep, cti = False, None
        if any(a.said != UNSAT for _, a in said):
            said, deep, cti = self.second(goal, said)
        status, why = self.judge(said)
        if status != PROVED:
            status, why = (FAILS, "") if cti else (UNDECIDED, why)
        needs = None
        if status == PROVED and self.options.cores:
            needs = self.core(goal.formula, deep=deep)
        return Result(
            operation=self.problem.operation,
            goal=goal,
            status=status,
            deep=deep,
            answers=tuple((n, a.said) for n, a in said),
            seconds=time.perf_counter() - start,
            why=why,
            needs=needs,
            cti=cti,
        )

    def core(self, goal: Expr, *, deep: bool) -> tuple[str, ...]:
        """Return the names of hypotheses that the proof cannot do without, all others gone."""
        kept = list(self.hypotheses(deep=deep))
        engine = self.fresh("z3", ())
        assert isinstance(engine, Z3)  # noqa: S101 - as asked for
        switches = {f"h_{i}": h for i, h in enumerate(kept)}
        lines = [f"(declare-const {s} Bool)" for s in switches]
        lines += [
            f"(assert (=> {s} {smt.translate(h.formula, self.names)}))"
            for s, h in switches.items()
        ]
        engine.add("\n".join(lines) + self.text(negate(goal)))
        if engine.check_with(list(switches), self.options.timeout).said != UNSAT:
            return tuple(h.name for h in kept)
        needed = [s for s in switches if s in engine.core()]
        for s in list(needed):
            fewer = [x for x in needed if x != s]
            if engine.check_with(fewer, self.options.patience).said == UNSAT:
                needed = fewer
        return tuple(switches[s].name for s in needed)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The solvers that are to answer."""
        return ("z3", "cvc5") if self.options.solver == "both" else (self.options.solver,)

    def second(
        self, goal: Goal, said: list[tuple[str, Answer]]
    ) -> tuple[list[tuple[str, Answer]], bool, Cti | None]:
        """Try the deep lemmas, then a small counterexample, then patience."""
        if self.problem.deep:
            again = [(name, self.ask_deep(name, goal.formula)) for name in self.chosen]
            if all(a.said == UNSAT for _, a in again):
                return again, True, None
        cti = self.counterexample(goal) if self.options.small else None
        if cti is None and self.problem.deep:
            again = [(name, self.ask(name, goal.formula, deep=True)) for name in self.chosen]
            if all(a.said == UNSAT for _, a in again):
                return again, True, None
        return said, False, cti or self.unbounded(goal)

    @staticmethod
    def judge(said: list[tuple[str, Answer]]) -> tuple[str, str]:
        """Return the status that the answers amount to, and why it is no better."""
        outcomes = {a.said for _, a in said}
        if outcomes == {UNSAT}:
            return PROVED, ""
        if SAT in outcomes and UNSAT in outcomes:
            return UNDECIDED, "the solvers disagree"
        if outcomes == {SAT}:
            return UNDECIDED, "the model does not check out"
        return UNDECIDED, "; ".join(f"{n}: {a.why}" for n, a in said if a.why)

    def counterexample(self, goal: Goal) -> Cti | None:
        """Return a small counterexample that keeps all lemmas, deep ones too."""
        engine = self.fresh("z3", self.hypotheses(deep=True))
        assert isinstance(engine, Z3)  # noqa: S101 - as asked for
        engine.add(self.text(negate(goal.formula)))
        small = Bounded(engine, self.problem.spec.sorts, self.options.patience)
        small.declare()
        return self.read(engine, goal) if small.smallest() else None

    def unbounded(self, goal: Goal) -> Cti | None:
        """Return a counterexample of any size, which need not keep the deep lemmas."""
        engine = self.engine("z3", deep=False)
        assert isinstance(engine, Z3)  # noqa: S101 - as asked for
        engine.push()
        try:
            engine.add(self.text(negate(goal.formula)))
            answer = engine.check(self.options.timeout)
            return self.read(engine, goal) if answer.said == SAT else None
        finally:
            engine.pop()

    def read(self, engine: Z3, goal: Goal) -> Cti | None:
        """Return the model, if the finite evaluator agrees that it is a counterexample."""
        structure, values = engine.structure(
            self.problem.spec.sorts, self.problem.symbols, self.constants
        )
        plain = {k.removeprefix("p_"): v for k, v in values.items()}
        if self.checker.broken(self.hypotheses(deep=False), structure, plain):
            return None
        failing = self.checker.failing(goal.formula, structure, plain)
        if failing is None:
            return None
        return Cti(
            problem=self.problem,
            goal=goal,
            structure=structure,
            values=plain,
            breaks=failing[0],
            witness=failing[1],
            ignores=tuple(self.checker.broken(self.problem.deep, structure, plain)),
        )

    def vacuity(self) -> Vacuity:
        """Return whether hypotheses and the interesting case are possible together."""
        start = time.perf_counter()
        wanted = self.problem.vacuity[0]
        engine = self.engine("z3" if self.options.solver != "cvc5" else "cvc5", deep=False)
        engine.push()
        try:
            engine.add(self.text(wanted))
            answer = engine.check(self.options.timeout)
        finally:
            engine.pop()
        status = {SAT: POSSIBLE, UNSAT: VACUOUS, UNKNOWN: UNDECIDED}[answer.said]
        return Vacuity(
            operation=self.problem.operation,
            status=status,
            seconds=time.perf_counter() - start,
            why=answer.why,
        )
