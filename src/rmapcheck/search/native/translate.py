"""The C file of one scheme in one scope: model, invariants, goals, stored forms and engine."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from types import FunctionType
from typing import Any

import attrs

from rmapcheck.invariants.goals import Goal
from rmapcheck.invariants.isolation import failure_atomicity, projection
from rmapcheck.invariants.lifetime import use_after_free
from rmapcheck.invariants.locking import lock_discipline
from rmapcheck.invariants.registry import Invariant, applicable, wanted
from rmapcheck.model.machine import locks
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import OPERATIONS
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.bounds import Bounds
from rmapcheck.search.native.layout import (
    heap,
    numbering,
    orders,
    packed,
    plain,
    reachable,
    stored,
)
from rmapcheck.search.native.translator import on_stack
from rmapcheck.search.native.translator.functions import root
from rmapcheck.search.native.translator.grammar import GRAMMAR
from rmapcheck.search.native.translator.kinds import STATE, Kind, Value
from rmapcheck.search.native.translator.program import Program
from rmapcheck.search.native.translator.source import Definition, Untranslatable, definition

OOPSES = ("null_dereference", "use_after_free", "double_free", "kernel_bug")
"""Oopses, which can happen in any check: a search for one of these needs all checks."""
STEP_CHECKS = (use_after_free, failure_atomicity, lock_discipline)
"""Invariants on steps; engine.c has its own code for them."""


@attrs.frozen
class Translation:
    """A C file, and the meaning of the numbers that it reports."""

    source: str
    checks: tuple[Invariant, ...]
    goals: tuple[Goal, ...]
    """Goals with a predicate."""
    texts: tuple[str, ...]
    bounds: Bounds


def translate(
    scheme: type[Scheme],
    scope: Scope,
    *,
    symmetry: bool = True,
    named: tuple[str, ...] = (),
    target: str = "",
) -> Translation:
    """Return `scheme` in `scope` as C. Raise Untranslatable if a part cannot be translated.

    With a `target`, everything that it does not need is left out: other invariants, and the
    tracking of locks.
    """
    checks = checks_of(scheme, target)
    locks = wanted(target, "lock_discipline")
    with _no_collection():
        program = Program(scheme, scope, symmetry=symmetry, named=named, locks=locks)
        done = _translated(program, checks)
        if program.asks_locks and not locks:
            program = Program(scheme, scope, symmetry=symmetry, named=named)
            done = _translated(program, checks)
    return done


def translate_general(scheme: type[Scheme], most: Scope) -> Translation:
    """Return `scheme` in all scopes up to `most` as C, with symmetry. Raise Untranslatable."""
    checks = checks_of(scheme, "")
    with _no_collection():
        return _translated(Program(scheme, most, general=True), checks)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Turn the garbage collector off: it would take a sixth of a translation and find nothing."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def checks_of(scheme: type[Scheme], target: str) -> tuple[Invariant, ...]:
    """Return the invariants on states that a search for `target` has to check."""
    oopses = any(wanted(target, oops) for oops in OOPSES)
    checks = []
    for inv in applicable(scheme):
        if inv.state is not None:
            if wanted(target, inv.name) or oopses:
                checks.append(inv)
        elif inv.step not in STEP_CHECKS:
            where = _definition(inv.step)
            raise Untranslatable(
                where.file, where.node.lineno, f"the step invariant {inv.name} has no code in C"
            )
    return tuple(checks)


def _translated(program: Program, checks: tuple[Invariant, ...]) -> Translation:
    st = Value("", STATE, program.state)
    goals = [g for g in program.goals if g.predicate]
    parts = [
        _roots(program, "checks", [inv.state for inv in checks], {"st": st}, "check"),
        _roots(program, "goals", [g.predicate for g in goals], {"st": st}, "plain"),
        _apply(program, st),
        _possible(program, st),
        _projection(program, st),
    ]
    source = "\n".join(
        [
            *_head(program, len(checks), len(goals)),
            "#include <stddef.h>",
            _file("head.c"),
            heap.structs(program),
            *on_stack.structs(),
            _file("runtime.c"),
            heap.pools(program),
            heap.copy(program),
            numbering.numbering(program.bounds),
            reachable.dangling(program.layout),
            reachable.leaked(program.bounds),
            *_tables(program),
            *(f"{i.prototype()};" for i in program.instances.values()),
            *program.functions,
            *parts,
            _file("search.c"),
            packed.BYTES,
            *_form(program),
            orders.signature(program.bounds),
            orders.compare(program.bounds),
            _file("canonical.c"),
            _file("hash.c"),
            _file("memory.c"),
            _file("visited.c"),
            _file("numbers.c"),
            _file("engine.c"),
            _file("workers.c"),
            _file("saved.c"),
        ]
    )
    return Translation(source, checks, tuple(goals), tuple(program.texts), program.bounds)


def _form(program: Program) -> list[str]:
    """Return the functions that store and load states, in the form that suits the program."""
    bounds = program.bounds
    if bounds.general:
        return [plain.encode(bounds), plain.load(bounds), plain.well_formed(bounds)]
    well_formed = stored.well_formed(program.layout, renamed_form=program.symmetry)
    if program.symmetry:
        return [stored.encode(bounds), stored.load(bounds), well_formed]
    return [stored.raw(bounds), well_formed]


def _file(name: str) -> str:
    return files("rmapcheck.search.native").joinpath("c", name).read_text(encoding="utf-8")


def _definition(function: Any) -> Definition:  # noqa: ANN401
    if not isinstance(function, FunctionType):
        raise Untranslatable("?", 0, f"{function!r} is not a Python function")
    return definition(function)


def _head(program: Program, checks: int, goals: int) -> list[str]:
    """Return the constants. Call it last, since any other part may number further strings."""
    layout, scope = program.layout, program.scope
    for struct in layout.structs:
        program.text(struct)
    key = 16 + sum(1 + s.size * (len(s.fields) + 1) for s in layout.structs.values())
    nesting = sum(1 << kind for kind in locks.NESTING)
    spinning = sum(1 << kind for kind in locks.SPINNING)
    values = {
        "TEXTS": len(program.texts),
        "CAPACITY": max(256, 8 * scope.mms * scope.pages),
        "NESTING": nesting,
        "SPINNING": spinning,
        "WALKS": max(1, program.walks),
        "SYMMETRY": int(program.symmetry and "mm" not in layout.named),
        "MMS": program.bounds.number("mms"),
        "MOST_MMS": scope.mms,
        "KEY": key,
        "CHECKS": checks,
        "GOALS": goals,
        "OPERATIONS": len(OPERATIONS),
        "ALLOC_FAIL": program.bounds.number("alloc_fail"),
    }
    lines = [f"#define {name} {value}" for name, value in values.items()]
    return [*lines, *program.bounds.declaration()]


def _tables(program: Program) -> list[str]:
    out = []
    for items, name in program.tables.items():
        cases = " ".join(f"case {k}: return {v};" for k, v in items)
        out.append(
            f"static int {name}(S *st, int key) {{ switch (key) {{ {cases} }}"
            " stop(st, MODEL_INDEX, 0, key); }"
        )
    return out


def _roots(
    program: Program, name: str, functions: list[Any], values: dict[str, Value], mode: str
) -> str:
    """Return a C table of the translations of `functions`."""
    names = [root(program, GRAMMAR, _definition(f), values, mode) for f in functions]
    return f"static int (*const {name}[])(S *) = {{ {', '.join([*names, '0'])} }};"


def _apply(program: Program, st: Value) -> str:
    """Return the C function that carries out any operation."""
    cases = []
    for number, cls in enumerate(OPERATIONS):
        if cls.exists(program.scope):
            self = Value("", Kind("operation", cls.__name__))
            name = root(
                program, GRAMMAR, _definition(cls.apply), {"self": self, "st": st}, "plain"
            )
            cases.append(f"    case {number}: return {name}(st, op);")
    atomic = ", ".join(str(int(cls.atomic)) for cls in OPERATIONS)
    return "\n".join(
        [
            f"static const char atomic[] = {{ {atomic} }};",
            "static int apply(S *st, const Op *op)\n{\n  switch (op->type) {",
            *cases,
            "  }\n  return 0;\n}",
        ]
    )


def _possible(program: Program, st: Value) -> str:
    """Return the C function that lists all operations, in the order of possible_operations()."""
    calls = []
    for number, cls in enumerate(OPERATIONS):
        if cls.exists(program.scope):
            values = {"cls": Value("", Kind("class", cls.__name__), cls), "st": st}
            function = cls.possible.__func__  # type: ignore[attr-defined]
            name = root(program, GRAMMAR, _definition(function), values, "offer")
            exists = f"if (st->scope.exists >> {number} & 1) " if program.bounds.general else ""
            calls.append(f"  {exists}{name}(st);")
    return "\n".join(["static void possible(S *st)\n{", *calls, "}"])


def _projection(program: Program, st: Value) -> str:
    name = root(program, GRAMMAR, _definition(projection), {"st": st}, "plain")
    return f"static void projection(S *st, List *to) {{ {name}(st, to); }}"
