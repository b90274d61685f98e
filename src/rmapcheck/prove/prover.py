"""Proves the goals of one problem: asserts the hypotheses once, then checks goal after goal."""

import time
from collections.abc import Iterable, Iterator, Sequence

from rmapcheck.logic.terms import TRUE, Expr, Sort, negate
from rmapcheck.prove.cti import Checker, Cti
from rmapcheck.prove.obligations import Goal, Named, Problem, relevant
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
from rmapcheck.prove.solver import smt
from rmapcheck.prove.solver.engines import (
    ENUMERATE,
    FINITE,
    SAT,
    UNKNOWN,
    UNSAT,
    Z3,
    Answer,
    Cvc5,
    Engine,
    has_cvc5,
)
from rmapcheck.prove.solver.memory import Model, Proofs, signed
from rmapcheck.prove.solver.small import FEW, Bounded, by_name, elements, made

CVC5_MORE = {"cvc5, by enumeration": ENUMERATE, "cvc5, by finite models": FINITE}
"""Tried if cvc5's own instantiation, by matching, finds nothing more to match."""

SHORT = 0.05
"""Seconds for a question that a solver answers immediately or never."""

Answers = list[tuple[str, Answer]]


class Prover:
    """Proves the goals of one problem with the solvers."""

    def __init__(self, problem: Problem, options: Options, proofs: Proofs) -> None:
        self.problem = problem
        self.options = options
        self.proofs = proofs
        self.names = problem.names
        self.constants: dict[str, type[Sort]] = {v: k.sort for k, v in self.names.items()}
        self.engines: dict[tuple[str, bool], Engine] = {}
        self.checker = Checker(problem)
        self.expected = {c for cells in problem.spec.flaws.values() for c in cells}
        """Cells in which a counterexample is expected; deep lemmas are not tried there."""
        self.keys: dict[Expr, str] = {}
        self.texts: dict[Expr, str] = {}

    def text(self, e: Expr) -> str:
        """Return the assertion of `e` in SMT-LIB."""
        return f"(assert {self.translated(e)})\n"

    def translated(self, e: Expr) -> str:
        """Return the formula in SMT-LIB."""
        texts = self.texts if e.free else self.proofs.texts
        if e not in texts:
            texts[e] = smt.translate(e, self.names)
        return texts[e]

    def key(self, e: Expr) -> str:
        """Return a key that identifies the formula in all specs."""
        keys = self.keys if e.free else self.proofs.keys
        if e not in keys:
            keys[e] = signed(self.translated(e), e)
        return keys[e]

    def engine(self, name: str, *, deep: bool) -> Engine:
        """Return a solver in which the hypotheses are asserted; it is kept for all goals."""
        if (name, deep) not in self.engines:
            self.engines[name, deep] = self.fresh(name, self.problem.hypotheses(deep=deep))
        return self.engines[name, deep]

    def fresh(self, name: str, hypotheses: Sequence[Named]) -> Engine:
        """Return a new solver in which `hypotheses` are asserted."""
        seed = self.options.seed
        texts = [self.translated(h.formula) for h in hypotheses]
        if name == "z3":
            engine = Z3(seed)
            engine.add(self.declarations())
            engine.assume(texts)
            return engine
        other = Cvc5(seed, CVC5_MORE.get(name, ""))
        other.add(self.declarations() + "".join(f"(assert {text})\n" for text in texts))
        return other

    def declarations(self) -> str:
        """Return the declarations of all names."""
        return smt.declarations(self.problem.spec.sorts, self.problem.symbols, self.constants)

    def results(self) -> Iterator[Result]:
        """Yield the result of each goal."""
        for goal in self.problem.goals:
            if relevant(goal):
                yield self.prove(goal)
            else:
                yield Result(operation=self.problem.operation, goal=goal, status=PROVED)

    # Questions.

    def ask(self, name: str, goal: Expr, *, deep: bool, seconds: float = 0.0) -> Answer:
        """Ask one solver whether the goal can fail; `seconds` overrides the usual limit."""
        hypotheses = self.problem.hypotheses(deep=deep)
        if self.known(name, goal, hypotheses):
            return Answer(UNSAT, 0.0, "proved before")
        limit = seconds or (self.options.deep_timeout if deep else self.options.timeout)
        answer = self.check_goal(self.engine(name, deep=deep), goal, hypotheses, limit)
        for more in CVC5_MORE if name == "cvc5" else ():
            if answer.said == UNKNOWN:
                answer = self.check_goal(self.engine(more, deep=deep), goal, hypotheses, limit)
        return answer

    def check_goal(
        self, engine: Engine, goal: Expr, hypotheses: Sequence[Named], seconds: float
    ) -> Answer:
        """Ask a solver that has the hypotheses whether the goal can fail; remember a proof."""
        engine.push()
        try:
            engine.add(f"(assert (not {self.translated(goal)}))\n")
            answer = engine.check(seconds)
            if answer.said == UNSAT:
                needed = engine.needed() if isinstance(engine, Z3) else range(len(hypotheses))
                self.learn(engine.name, goal, [hypotheses[i] for i in needed])
            return answer
        finally:
            engine.pop()

    def ask_with_related(self, name: str, goal: Expr) -> Answer:
        """Ask with the deep lemmas and only those other hypotheses that share their symbols."""
        symbols = goal.symbols.union(*(d.formula.symbols for d in self.problem.deep))
        related = [h for h in self.problem.hypotheses(deep=True) if h.formula.symbols <= symbols]
        if self.known(name, goal, related):
            return Answer(UNSAT, 0.0, "proved before")
        limit = self.options.deep_timeout
        return self.check_goal(self.fresh(name, related), goal, related, limit)

    def known(self, name: str, goal: Expr, hypotheses: Sequence[Named]) -> bool:
        """Return whether the goal has been proved before from some of these hypotheses."""
        present = frozenset(self.key(h.formula) for h in hypotheses)
        return self.proofs.known(name, self.key(goal), present)

    def learn(self, name: str, goal: Expr, hypotheses: Iterable[Named]) -> None:
        """Remember a proof, and the hypotheses that it needed."""
        self.proofs.learn(name, self.key(goal), [self.key(h.formula) for h in hypotheses])

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the solvers that must answer."""
        return ("z3", "cvc5") if self.options.solver == "both" else (self.options.solver,)

    # Proofs.

    def prove(self, goal: Goal) -> Result:
        """Return the result of a goal; the chosen solvers must agree."""
        start = time.perf_counter()
        answers: Answers = [(n, self.ask(n, goal.formula, deep=False)) for n in self.chosen]
        deep, cti = False, None
        if not _proved(answers):
            answers, deep, cti = self.try_harder(goal, answers)
        status, why = _judged(answers)
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
            answers=tuple((n, a.said) for n, a in answers),
            seconds=time.perf_counter() - start,
            why=why,
            needs=needs,
            cti=cti,
        )

    def try_harder(self, goal: Goal, answers: Answers) -> tuple[Answers, bool, Cti | None]:
        """Return answers, whether deep lemmas were used, and a counterexample if there is one."""
        if (self.problem.operation, goal.name) in self.expected:
            return answers, False, self.small(goal, smallest=False) or self.unbounded(goal)
        if self.problem.deep:
            again = self.ask_deep(goal.formula)
            if _proved(again):
                return again, True, None
        if self.chosen == ("z3",) and answers[0][1].said == UNKNOWN and has_cvc5():
            other: Answers = [("cvc5", self.ask("cvc5", goal.formula, deep=False))]
            if _proved(other):
                return other, False, None
        cti = self.small(goal, smallest=True)
        if self.problem.deep and (cti is None or cti.ignores):
            again = [(n, self.ask(n, goal.formula, deep=True)) for n in self.chosen]
            if _proved(again):
                return again, True, None
        return answers, False, cti or self.unbounded(goal)

    def ask_deep(self, goal: Expr) -> Answers:
        """Ask with the deep lemmas: first with few other hypotheses, then briefly with all."""
        related: Answers = [(n, self.ask_with_related(n, goal)) for n in self.chosen]
        if _proved(related):
            return related
        limit = min(SHORT, self.options.deep_timeout)
        return [(n, self.ask(n, goal, deep=True, seconds=limit)) for n in self.chosen]

    def small(self, goal: Goal, *, smallest: bool) -> Cti | None:
        """Return a small counterexample: a known one, or a new one if the options allow it."""
        known = self.known_counterexample(goal)
        if known is not None or not self.options.small:
            return known
        return self.counterexample(goal, smallest=smallest)

    def core(self, goal: Expr, *, deep: bool) -> tuple[str, ...]:
        """Return a minimal set of hypotheses that prove the goal, by name."""
        kept = list(self.problem.hypotheses(deep=deep))
        engine = self.fresh("z3", ())
        assert isinstance(engine, Z3)  # noqa: S101 - fresh("z3") makes one
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
            if engine.check_with(fewer, self.options.deep_timeout).said == UNSAT:
                needed = fewer
        return tuple(switches[s].name for s in needed)

    def known_counterexample(self, goal: Goal) -> Cti | None:
        """Return a counterexample found for another lemma or era that satisfies all lemmas."""
        found = (self.as_cti(goal, model) for model in self.models())
        return next((cti for cti in found if cti is not None and not cti.ignores), None)

    def models(self) -> Iterator[Model]:
        """Yield the structures found for this operation, translated to this spec's symbols."""
        for model in self.proofs.models.get(self.problem.operation, ()):
            here = model.over(self.problem.spec.sorts, self.problem.symbols, self.checker.names)
            if here is not None:
                yield here

    def counterexample(self, goal: Goal, *, smallest: bool) -> Cti | None:
        """Return a small counterexample; if possible, one in which the deep lemmas hold, too."""
        bounded = self.bounded(negate(goal.formula))
        if not bounded.small(smallest=smallest):
            return None
        found = self.read(bounded.engine, goal)
        if found is None or not found.ignores:
            return found
        bounded.add_deep(d.formula for d in self.problem.deep)
        return (self.read(bounded.engine, goal) if bounded.same_size() else None) or found

    def bounded(self, wanted: Expr) -> Bounded:
        """Return a solver for small structures in which the lemmas and `wanted` hold."""
        engine = self.fresh("z3", ())
        assert isinstance(engine, Z3)  # noqa: S101 - fresh("z3") makes one
        assumed = [h.formula for h in self.problem.hypotheses(deep=False)]
        engine.add("".join(map(self.text, (*assumed, wanted))))
        bounded = Bounded(engine, self.problem.spec.sorts, self.options.deep_timeout)
        bounded.declare()
        return bounded

    def unbounded(self, goal: Goal) -> Cti | None:
        """Return a counterexample of any size; deep lemmas need not hold in it."""
        engine = self.engine("z3", deep=False)
        assert isinstance(engine, Z3)  # noqa: S101 - fresh("z3") makes one
        engine.push()
        try:
            engine.add(self.text(negate(goal.formula)))
            answer = engine.check(self.options.timeout)
            return self.read(engine, goal) if answer.said == SAT else None
        finally:
            engine.pop()

    def model(self, engine: Z3) -> Model:
        """Return the solver's model, with the values of the parameters."""
        structure, values = engine.structure(
            self.problem.spec.sorts, self.problem.symbols, self.constants
        )
        plain = {k.removeprefix("p_"): v for k, v in values.items()}
        return Model(structure, plain, self.problem.symbols)

    def read(self, engine: Z3, goal: Goal) -> Cti | None:
        """Return the solver's model if the evaluator confirms that it is a counterexample."""
        model = self.model(engine)
        cti = self.as_cti(goal, model)
        if cti is not None:
            self.proofs.keep(self.problem.operation, model)
        return cti

    def as_cti(self, goal: Goal, model: Model) -> Cti | None:
        """Return the model as a counterexample; None if it is not one."""
        structure, plain = model.structure, model.values
        if self.checker.broken(self.problem.hypotheses(deep=False), structure, plain):
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

    def vacuity(self, *, deep: bool) -> Vacuity:
        """Return whether hypotheses and the interesting case are possible together.

        `deep` means that some goal was proved with the deep lemmas, so they are hypotheses, too.
        """
        wanted = TRUE if self.problem.vacuity is None else self.problem.vacuity
        start = time.perf_counter()
        status, why = POSSIBLE, ""
        if all(self.missing(model, wanted, deep=deep) for model in self.models()):
            status, why = self.possible_with_deep(wanted) if deep else self.found(wanted)
        return Vacuity(
            operation=self.problem.operation,
            status=status,
            seconds=time.perf_counter() - start,
            why=why,
        )

    def possible_with_deep(self, wanted: Expr) -> tuple[str, str]:
        """Look for a state in which the deep lemmas hold, too; return status and reason.

        They are asserted in a form that a solver can decide, but which is stronger.
        """
        lemmas = [d.formula for d in self.problem.deep]
        sorts = [s for s in self.problem.spec.sorts if any(s in made(e) for e in lemmas)]
        status, why = self.found(wanted, elements(sorts, FEW) + by_name(sorts, lemmas, FEW))
        if status == POSSIBLE:
            return status, why
        status, why = self.found(wanted)
        contrary = self.fresh("z3", (*self.problem.deep, *self.problem.guard))
        if status != POSSIBLE or contrary.check(SHORT).said == UNSAT:
            return (VACUOUS, "") if status == POSSIBLE else (status, why)
        names = ", ".join(d.name for d in self.problem.deep)
        return UNDECIDED, f"no state was found that satisfies {names}"

    def found(self, wanted: Expr, stronger: str = "") -> tuple[str, str]:
        """Ask a solver for a state; return status and reason. Its model is checked in Python."""
        engine = self.engine("cvc5" if self.options.solver == "cvc5" else "z3", deep=False)
        engine.push()
        try:
            engine.add(stronger + self.text(wanted))
            answer = engine.check(self.options.timeout)
            if answer.said != SAT:
                return (VACUOUS, "") if answer.said == UNSAT else (UNDECIDED, answer.why)
            if isinstance(engine, Z3):
                return self.checked(self.model(engine), wanted, deep=bool(stronger))
        finally:
            engine.pop()
        return POSSIBLE, ""

    def checked(self, model: Model, wanted: Expr, *, deep: bool) -> tuple[str, str]:
        """Return status and reason that follow from a model, after checking it."""
        missing = self.missing(model, wanted, deep=deep)
        if missing:
            return UNDECIDED, f"the model does not satisfy {', '.join(missing)}"
        self.proofs.keep(self.problem.operation, model)
        return POSSIBLE, ""

    def missing(self, model: Model, wanted: Expr, *, deep: bool) -> list[str]:
        """Return what does not hold in a structure that should show that a step is possible."""
        needed = (*self.problem.hypotheses(deep=deep), Named("the interesting case", wanted))
        return self.checker.broken(needed, model.structure, model.values)


def _proved(answers: Answers) -> bool:
    return all(a.said == UNSAT for _, a in answers)


def _judged(answers: Answers) -> tuple[str, str]:
    """Return the status that follows from the answers, and the reason if it is not a proof."""
    outcomes = {a.said for _, a in answers}
    if outcomes == {UNSAT}:
        return PROVED, ""
    if {SAT, UNSAT} <= outcomes:
        return UNDECIDED, "the solvers disagree"
    if outcomes == {SAT}:
        return UNDECIDED, "no counterexample was confirmed"
    return UNDECIDED, "; ".join(f"{n}: {a.why}" for n, a in answers if a.why)
