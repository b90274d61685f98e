"""The solvers: Z3, and cvc5 as a second opinion. Both read the same SMT-LIB text.

This is the only file that imports them. An answer is "unsat" (the obligation holds), "sat" or
"unknown". Any other answer, or none within the time limit, counts as "unknown".
"""

import importlib.util
import itertools
import time
from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from rmapcheck.logic.finite import Structure
from rmapcheck.logic.terms import Bool, Sort, Symbol
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.prove.solver import smt

Z3_UNITS = 15_000_000
"""Units of work that Z3 does in a second. Limits in units do not depend on the machine's load."""
SLACK = 10
"""Limits that can only be set as time are longer by this factor, for a busy machine."""

ENUMERATE, FINITE = "enum-inst", "finite-model-find"
"""Options of cvc5: enumerate terms if matching finds no more; look for finite models."""

UNSAT, SAT, UNKNOWN = "unsat", "sat", "unknown"


@attrs.frozen
class Answer:
    """A solver's answer to one question, and how long it took."""

    said: str
    seconds: float
    why: str = ""
    """For "unknown": the solver's reason."""


class Engine(Protocol):
    """A solver with a stack of assertions."""

    name: str

    def add(self, text: str) -> None: ...
    def push(self) -> None: ...
    def pop(self) -> None: ...
    def check(self, seconds: float) -> Answer: ...


class Z3:
    """Z3, through its Python interface."""

    name = "z3"

    def __init__(self, seed: int = 0) -> None:
        import z3

        self.z3 = z3
        self.solver = z3.Solver()
        self.solver.set("random_seed", seed)
        self.solver.set("ctrl_c", False)  # Python handles Ctrl-C; Z3 must not answer because of it
        self.hypotheses: list[Any] = []
        """A Boolean constant, its switch, for each assumed formula."""
        self.places: dict[int, int] = {}
        """Z3's number of a switch → the place of its formula."""

    def assume(self, texts: Sequence[str]) -> None:
        """Assert formulas so that `needed` can return which of them an "unsat" needed."""
        names = [f"u_{i}" for i in range(len(texts))]
        self.add(
            "".join(
                f"(declare-const {name} Bool)(assert (=> {name} {text}))\n"
                for name, text in zip(names, texts, strict=True)
            )
        )
        self.hypotheses = [self.z3.Bool(name) for name in names]
        self.places = {name.get_id(): i for i, name in enumerate(self.hypotheses)}
        self.switched = (self.z3.Ast * len(names))(*(name.as_ast() for name in self.hypotheses))

    def add(self, text: str) -> None:
        """Run SMT-LIB text: declarations and assertions."""
        self.solver.from_string(text)

    def push(self) -> None:
        self.solver.push()

    def pop(self) -> None:
        self.solver.pop()

    def check(self, seconds: float) -> Answer:
        """Return the answer within about `seconds`."""
        return self.check_with((), seconds)

    def check_with(self, switches: Sequence[str], seconds: float) -> Answer:
        """Return the answer if these Boolean constants and all assumed formulas are true."""
        self.solver.set("rlimit", max(1, int(seconds * Z3_UNITS)))
        self.solver.set("timeout", max(1, int(seconds * SLACK * 1000)))
        start = time.perf_counter()
        try:
            said = self.run_check([self.z3.Bool(name) for name in switches])
            why = self.solver.reason_unknown() if said == UNKNOWN else ""
        except self.z3.Z3Exception as error:
            said, why = UNKNOWN, str(error)
        return Answer(said, time.perf_counter() - start, why)

    def run_check(self, given: list[Any]) -> str:
        """Return Z3's answer; use the faster C interface if there are only assumed formulas."""
        if given or not self.hypotheses:
            return str(self.solver.check(*self.hypotheses, *given))
        z3, n = self.z3, len(self.hypotheses)
        context = self.solver.ctx.ref()
        said = z3.Z3_solver_check_assumptions(context, self.solver.solver, n, self.switched)
        return {1: SAT, -1: UNSAT}.get(said, UNKNOWN)

    def core(self) -> set[str]:
        """Return which of the switches of the last check were needed for "unsat"."""
        return {str(name) for name in self.solver.unsat_core()}

    def needed(self) -> list[int]:
        """Return the places of the assumed formulas that the last "unsat" needed."""
        core = (name.get_id() for name in self.solver.unsat_core())
        return sorted(self.places[number] for number in core if number in self.places)

    def structure(
        self,
        sorts: Sequence[type[Sort]],
        symbols: Sequence[Symbol],
        constants: dict[str, type[Sort]],
    ) -> tuple[Structure, dict[str, Any]]:
        """Return the model as a finite structure, and the values of the constants."""
        return _Reader(self.z3, self.solver.model()).read(sorts, symbols, constants)


class _Reader:
    """Reads a Z3 model; elements get the name of their sort and a number."""

    def __init__(self, z3: Any, model: Any) -> None:  # noqa: ANN401
        self.z3 = z3
        self.model = model
        self.names: dict[Any, str] = {}

    def read(
        self,
        sorts: Sequence[type[Sort]],
        symbols: Sequence[Symbol],
        constants: dict[str, type[Sort]],
    ) -> tuple[Structure, dict[str, Any]]:
        z3 = self.z3
        self.sorts = {s: z3.DeclareSort(smt.sort_name(s)) for s in sorts}
        values = {
            name: self.model.eval(z3.Const(name, self.sorts[sort]), model_completion=True)
            for name, sort in constants.items()
        }
        universe: dict[type[Sort], list[Any]] = {}
        for sort in sorts:
            elements = list(self.model.get_universe(self.sorts[sort]) or ())
            if not elements:
                elements = [self.model.eval(z3.Const("any", self.sorts[sort]), True)]
            elements.sort(key=str)
            for i, element in enumerate(elements):
                self.names[element.get_id()] = f"{sort.__name__}{i + 1}"
            universe[sort] = elements
        tables = {s.name: self.table(s, universe) for s in symbols}
        named: dict[str, Sequence[Any]] = {
            s.__name__: [self.names[e.get_id()] for e in es] for s, es in universe.items()
        }
        return Structure(named, tables), {n: self.names[v.get_id()] for n, v in values.items()}

    def table(self, symbol: Symbol, universe: dict[type[Sort], list[Any]]) -> Any:  # noqa: ANN401
        z3 = self.z3
        to = z3.BoolSort() if symbol.range is Bool else self.sorts[symbol.range]
        function = z3.Function(
            smt.symbol_name(symbol), *[self.sorts[d] for d in symbol.domain], to
        )
        found: dict[Any, Any] = {}
        elements = [
            [(e.as_ast(), self.names[e.get_id()]) for e in universe[d]] for d in symbol.domain
        ]
        for args in itertools.product(*elements):
            names = tuple(name for _, name in args)
            key = names[0] if len(names) == 1 else names
            found[key] = self.cell(
                function.ast, [ast for ast, _ in args], truth=symbol.range is Bool
            )
        if symbol.range is Bool:
            return {key for key, holds in found.items() if holds}
        return found

    def cell(self, function: Any, args: list[Any], *, truth: bool) -> Any:  # noqa: ANN401
        """Return the value of one cell in the model: True, False, or the name of an element.

        It uses Z3's C interface, since half of the time of a proof went into Python wrappers here.
        """
        z3, context = self.z3, self.model.ctx.ref()
        term = z3.Z3_mk_app(context, function, len(args), (z3.Ast * len(args))(*args))
        z3.Z3_inc_ref(context, term)
        value = (z3.Ast * 1)()
        z3.Z3_model_eval(context, self.model.model, term, True, value)
        z3.Z3_inc_ref(context, value[0])
        if truth:
            said: Any = z3.Z3_get_bool_value(context, value[0]) == 1
        else:
            said = self.names[z3.Z3_get_ast_id(context, value[0])]
        z3.Z3_dec_ref(context, value[0])
        z3.Z3_dec_ref(context, term)
        return said


class Cvc5:
    """cvc5, through its Python interface; an extra: `pip install rmapcheck[cvc5]`."""

    name = "cvc5"

    def __init__(self, seed: int = 0, how: str = "") -> None:
        try:
            import cvc5
        except ImportError:
            raise ModelError(
                "cvc5 is not installed; `pip install 'rmapcheck[cvc5]'` adds it"
            ) from None
        self.cvc5 = cvc5
        self.terms = cvc5.TermManager()
        self.solver = cvc5.Solver(self.terms)
        self.solver.setOption("incremental", "true")
        self.solver.setOption("seed", str(seed))
        if how:
            self.solver.setOption(how, "true")
        self.solver.setLogic("UF")
        self.reader = cvc5.InputParser(self.solver)

    def add(self, text: str) -> None:
        """Run SMT-LIB text: declarations and assertions."""
        cvc5 = self.cvc5
        self.reader.setIncrementalStringInput(cvc5.InputLanguage.SMT_LIB_2_6, "rmapcheck")
        self.reader.appendIncrementalStringInput(text)
        symbols = self.reader.getSymbolManager()
        while True:
            command = self.reader.nextCommand()
            if command.isNull():
                return
            command.invoke(self.solver, symbols)

    @classmethod
    def proof(cls, text: str, seconds: float) -> str:
        """Return a CPC proof that `text` is unsatisfiable; "" if none is found in time."""
        engine = cls(how=ENUMERATE)
        engine.solver.setOption("produce-proofs", "true")
        engine.add(text)
        if engine.check(seconds).said != UNSAT:
            return ""
        proof = engine.solver.getProof()[0]
        return str(engine.solver.proofToString(proof, engine.cvc5.ProofFormat.CPC).decode())

    def push(self) -> None:
        self.solver.push()

    def pop(self) -> None:
        self.solver.pop()

    def check(self, seconds: float) -> Answer:
        """Return the answer within about `seconds`."""
        self.solver.setOption("tlimit-per", str(max(1, int(seconds * SLACK * 1000))))
        start = time.perf_counter()
        result = self.solver.checkSat()
        said = SAT if result.isSat() else UNSAT if result.isUnsat() else UNKNOWN
        why = str(result.getUnknownExplanation()) if said == UNKNOWN else ""
        return Answer(said, time.perf_counter() - start, why)


def has_cvc5() -> bool:
    """Return whether cvc5 is installed."""
    return importlib.util.find_spec("cvc5") is not None


def versions(solver: str) -> str:
    """Return the versions of the solvers that `solver` names, such as "z3 4.15.0, cvc5 1.2.0"."""
    found = []
    if solver in ("z3", "both"):
        import z3

        found.append(f"z3 {z3.get_version_string()}")
    if solver in ("cvc5", "both"):
        found.append(f"cvc5 {Cvc5().cvc5.__version__}")
    return ", ".join(found)
