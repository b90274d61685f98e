"""One problem and its solvers: hypotheses are asserted once, goals pushed and popped."""

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
"""cvc5 instantiates by matching, and may find nothing more to match; these then go on."""

GLANCE = 0.05
"""Seconds for a question that is answered at once or never."""

Said = list[tuple[str, Answer]]


class Prover:
    """Asks the solvers about one problem."""

    def __init__(self, problem: Problem, options: Options, proofs: Proofs) -> None:
        self.problem = problem
        self.options = options
        self.proofs = proofs
        self.names = problem.names
        self.constants: dict[str, type[Sort]] = {v: k.sort for k, v in self.names.items()}
        self.engines: dict[tuple[str, bool], Engine] = {}
        self.checker = Checker(problem)
        self.expected = {c for cells in problem.spec.flaws.values() for c in cells}
        """Where a counterexample is expected, deep lemmas are not waited for."""
        self.keys: dict[Expr, str] = {}
        self.texts: dict[Expr, str] = {}

    def text(self, e: Expr) -> str:
        """Return an assertion."""
        return f"(assert {self.translated(e)})\n"

    def translated(self, e: Expr) -> str:
        """Return the formula in SMT-LIB."""
        texts = self.texts if e.free else self.proofs.texts
        if e not in texts:
            texts[e] = smt.translate(e, self.names)
        return texts[e]

    def key(self, e: Expr) -> str:
        """Return what tells the formula from others, in all specs."""
        keys = self.keys if e.free else self.proofs.keys
        if e not in keys:
            keys[e] = signed(self.translated(e), e)
        return keys[e]

    def engine(self, name: str, *, deep: bool) -> Engine:
        """Return a solver that knows the hypotheses."""
        if (name, deep) not in self.engines:
            self.engines[name, deep] = self.fresh(name, self.problem.hypotheses(deep=deep))
        return self.engines[name, deep]

    def fresh(self, name: str, hypotheses: Sequence[Named]) -> Engine:
        """Return a new solver that knows `hypotheses`."""
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
        """Yield what becomes of each goal."""
        for goal in self.problem.goals:
            if relevant(goal):
                yield self.prove(goal)
            else:
                yield Result(operation=self.problem.operation, goal=goal, status=PROVED)

    # Questions.

    def ask(self, name: str, goal: Expr, *, deep: bool, seconds: float = 0.0) -> Answer:
        """Ask one solver whether the goal can fail, for as long as the options say, or less."""
        hypotheses = self.problem.hypotheses(deep=deep)
        if self.known(name, goal, hypotheses):
            return Answer(UNSAT, 0.0, "proved before")
        limit = seconds or (self.options.patience if deep else self.options.timeout)
        answer = self.put(self.engine(name, deep=deep), goal, hypotheses, limit)
        for more in CVC5_MORE if name == "cvc5" else ():
            if answer.said == UNKNOWN:
                answer = self.put(self.engine(more, deep=deep), goal, hypotheses, limit)
        return answer

    def put(
        self, engine: Engine, goal: Expr, hypotheses: Sequence[Named], seconds: float
    ) -> Answer:
        """Put the question whether the goal can fail; remember a proof."""
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

    def ask_near(self, name: str, goal: Expr) -> Answer:
        """Ask with the deep lemmas, but of the rest only what is about the same things.

        Fewer hypotheses may do, and distract less; that a solver answers is luck here.
        """
        said = goal.symbols.union(*(d.formula.symbols for d in self.problem.deep))
        near = [h for h in self.problem.hypotheses(deep=True) if h.formula.symbols <= said]
        if self.known(name, goal, near):
            return Answer(UNSAT, 0.0, "proved before")
        return self.put(self.fresh(name, near), goal, near, self.options.patience)

    def known(self, name: str, goal: Expr, hypotheses: Sequence[Named]) -> bool:
        """Return whether this has been proved before."""
        present = frozenset(self.key(h.formula) for h in hypotheses)
        return self.proofs.known(name, self.key(goal), present)

    def learn(self, name: str, goal: Expr, hypotheses: Iterable[Named]) -> None:
        """Remember a proof, and what it needed."""
        self.proofs.learn(name, self.key(goal), [self.key(h.formula) for h in hypotheses])

    @property
    def chosen(self) -> tuple[str, ...]:
        """The solvers that are to answer."""
        return ("z3", "cvc5") if self.options.solver == "both" else (self.options.solver,)

    # Proofs.

    def prove(self, goal: Goal) -> Result:
        """Ask the solvers that were chosen; they must agree."""
        start = time.perf_counter()
        said: Said = [(n, self.ask(n, goal.formula, deep=False)) for n in self.chosen]
        deep, cti = False, None
        if not _proved(said):
            said, deep, cti = self.second(goal, said)
        status, why = _judged(said)
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

    def second(self, goal: Goal, said: Said) -> tuple[Said, bool, Cti | None]:
        """Try the deep lemmas, then another solver, a small counterexample, and patience."""
        if (self.problem.operation, goal.name) in self.expected:
            return said, False, self.small(goal, smallest=False) or self.unbounded(goal)
        if self.problem.deep:
            again = self.ask_deep(goal.formula)
            if _proved(again):
                return again, True, None
        if self.chosen == ("z3",) and said[0][1].said == UNKNOWN and has_cvc5():
            other: Said = [("cvc5", self.ask("cvc5", goal.formula, deep=False))]
            if _proved(other):
                return other, False, None
        cti = self.small(goal, smallest=True)
        if self.problem.deep and (cti is None or cti.ignores):
            again = [(n, self.ask(n, goal.formula, deep=True)) for n in self.chosen]
            if _proved(again):
                return again, True, None
        return said, False, cti or self.unbounded(goal)

    def ask_deep(self, goal: Expr) -> Said:
        """Ask with the deep lemmas: among few others, then, for a moment, among all."""
        near: Said = [(n, self.ask_near(n, goal)) for n in self.chosen]
        if _proved(near):
            return near
        moment = min(GLANCE, self.options.patience)
        return [(n, self.ask(n, goal, deep=True, seconds=moment)) for n in self.chosen]

    def small(self, goal: Goal, *, smallest: bool) -> Cti | None:
        """Return a small counterexample, known or new, if the options want one."""
        known = self.known_counterexample(goal)
        if known is not None or not self.options.small:
            return known
        return self.counterexample(goal, smallest=smallest)

    def core(self, goal: Expr, *, deep: bool) -> tuple[str, ...]:
        """Return the names of hypotheses that the proof cannot do without, all others gone."""
        kept = list(self.problem.hypotheses(deep=deep))
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

    def known_counterexample(self, goal: Goal) -> Cti | None:
        """Return one that has been found for another lemma or era, if it keeps all lemmas."""
        found = (self.as_cti(goal, model) for model in self.models())
        return next((cti for cti in found if cti is not None and not cti.ignores), None)

    def models(self) -> Iterator[Model]:
        """Yield structures found for this operation, in the words of this spec."""
        for model in self.proofs.models.get(self.problem.operation, ()):
            here = model.over(self.problem.spec.sorts, self.problem.symbols, self.checker.names)
            if here is not None:
                yield here

    def counterexample(self, goal: Goal, *, smallest: bool) -> Cti | None:
        """Return a small counterexample, with luck one that keeps the deep lemmas too."""
        bounded = self.bounded(negate(goal.formula))
        if not bounded.small(smallest=smallest):
            return None
        found = self.read(bounded.engine, goal)
        if found is None or not found.ignores:
            return found
        bounded.add_deep(d.formula for d in self.problem.deep)
        return (self.read(bounded.engine, goal) if bounded.same_size() else None) or found

    def bounded(self, wanted: Expr) -> Bounded:
        """Return a solver for small structures that keep the lemmas and have what is `wanted`."""
        engine = self.fresh("z3", ())
        assert isinstance(engine, Z3)  # noqa: S101 - as asked for
        assumed = [h.formula for h in self.problem.hypotheses(deep=False)]
        engine.add("".join(map(self.text, (*assumed, wanted))))
        bounded = Bounded(engine, self.problem.spec.sorts, self.options.patience)
        bounded.declare()
        return bounded

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

    def model(self, engine: Z3) -> Model:
        """Return the solver's model, and what the parameters are in it."""
        structure, values = engine.structure(
            self.problem.spec.sorts, self.problem.symbols, self.constants
        )
        plain = {k.removeprefix("p_"): v for k, v in values.items()}
        return Model(structure, plain, self.problem.symbols)

    def read(self, engine: Z3, goal: Goal) -> Cti | None:
        """Return the model, if the finite evaluator agrees that it is a counterexample."""
        model = self.model(engine)
        cti = self.as_cti(goal, model)
        if cti is not None:
            self.proofs.keep(self.problem.operation, model)
        return cti

    def as_cti(self, goal: Goal, model: Model) -> Cti | None:
        """Return the model as a counterexample, if it is one."""
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

        `deep`: some goal was proved with the deep lemmas, which are hypotheses then too.
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
        """Look for a state that keeps the deep lemmas too.

        They are asked for in a form that a solver decides, but which says more than they do.
        """
        lemmas = [d.formula for d in self.problem.deep]
        sorts = [s for s in self.problem.spec.sorts if any(s in made(e) for e in lemmas)]
        status, why = self.found(wanted, elements(sorts, FEW) + by_name(sorts, lemmas, FEW))
        if status == POSSIBLE:
            return status, why
        status, why = self.found(wanted)
        contrary = self.fresh("z3", (*self.problem.deep, *self.problem.guard))
        if status != POSSIBLE or contrary.check(GLANCE).said == UNSAT:
            return (VACUOUS, "") if status == POSSIBLE else (status, why)
        said = ", ".join(d.name for d in self.problem.deep)
        return UNDECIDED, f"no state was found that keeps {said}"

    def found(self, wanted: Expr, stronger: str = "") -> tuple[str, str]:
        """Ask a solver for a state; a model must check out in Python."""
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
        """Return what a model says of the operation."""
        missing = self.missing(model, wanted, deep=deep)
        if missing:
            return UNDECIDED, f"the model does not keep {', '.join(missing)}"
        self.proofs.keep(self.problem.operation, model)
        return POSSIBLE, ""

    def missing(self, model: Model, wanted: Expr, *, deep: bool) -> list[str]:
        """Return what does not hold in a structure that is to show that a step is possible."""
        needed = (*self.problem.hypotheses(deep=deep), Named("what was asked for", wanted))
        return self.checker.broken(needed, model.structure, model.values)


def _proved(said: Said) -> bool:
    return all(a.said == UNSAT for _, a in said)


def _judged(said: Said) -> tuple[str, str]:
    """Return the status that the answers amount to, and why it is no better."""
    outcomes = {a.said for _, a in said}
    if outcomes == {UNSAT}:
        return PROVED, ""
    if {SAT, UNSAT} <= outcomes:
        return UNDECIDED, "the solvers disagree"
    if outcomes == {SAT}:
        return UNDECIDED, "no counterexample checks out"
    return UNDECIDED, "; ".join(f"{n}: {a.why}" for n, a in said if a.why)
