"""One-line mutants of decisions: of a scheme's own methods, and of functions of the MM core.

A mutant of a scheme is what an author would write: a class derived from the scheme that overrides
one method, in which one line is different. A mutant of the MM core is that function itself.
"""

import ast
import copy
import importlib
import random
from collections.abc import Iterator
from inspect import isfunction
from types import FunctionType

import attrs

from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.search.native.translator.source import Untranslatable, definition
from rmapcheck.search.recompile import Replaced, changed

SCHEMES = (
    "virtual_scan-2.4",
    "pte_chain-2.5.27",
    "pte_chain-2.6.0",
    "rmap15",
    "objrmap-2.6.6",
    "anonmm-2003-03",
    "anonmm-2004-03",
    "anon_vma-2.6.8",
    "anon_vma-2.6.32",
    "avc-2.6.34",
    "avc-3.0",
    "avc-6.0",
    "avc-7.0",
)
"""At least one of each family."""
CORE = (
    "exec",
    "fault",
    "filemap",
    "fork",
    "fremap",
    "mmap",
    "mremap",
    "rmap",
    "swap",
    "swapoff",
    "truncate",
    "unmap",
    "virtual_scan",
    "vma",
    "vma_merge",
    "vmscan",
)
"""Modules of rmapcheck.model.mm whose functions are mutated, under avc-7.0."""
QUIET = (
    "passed",
    "tell",
    "count_nodes",
    "count_entries",
    "assert_held",
    "assert_held_write",
    "might_sleep",
    "assert_locked",
    "bug",
)
"""Calls that decide nothing: a mutant without one is not a mutant of a decision."""
FLIPPED = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@attrs.frozen
class Mutant:
    """One changed line."""

    scheme: str
    function: FunctionType
    place: int
    """Which node of the function's syntax tree is changed, in the order of `ast.walk`."""
    core: bool
    """Whether the function belongs to the MM core, not to the scheme."""

    def changed(self) -> tuple[ast.FunctionDef, int, str]:
        """Return the changed function, the line, and what is different there."""
        node = copy.deepcopy(definition(self.function).node)
        node.decorator_list = []
        target = _nodes(node)[self.place]
        return node, target.lineno, _change(node, target)

    @property
    def name(self) -> str:
        """Return a name that stays the same as long as the line does."""
        return f"{self.scheme} {self.function.__qualname__}: {self.changed()[2]}"

    def install(self) -> type[Scheme]:
        """Return the scheme to verify. A mutant of the core changes this process for good."""
        base = catalogue.schemes()[self.scheme]
        node, _, _ = self.changed()
        if self.core:
            Replaced(self.function, node)
            return base
        body = {self.function.__name__: changed(self.function, node)}
        return type("Mutant", (base,), {**body, "name": "mutant", "__module__": "mutant"})


def mutants(seed: int = 0, each: int = 11, core: int = 45) -> list[Mutant]:
    """Return mutants: `each` of every scheme, and `core` of the MM core, chosen by `seed`."""
    rng = random.Random(seed)
    chosen = []
    for name in SCHEMES:
        found = [m for f in methods_of(name) for m in of_function(name, f, core=False)]
        chosen += _sample(rng, found, each)
    found = [m for f in core_functions() for m in of_function("avc-7.0", f, core=True)]
    return chosen + _sample(rng, found, core)


def _sample(rng: random.Random, found: list[Mutant], number: int) -> list[Mutant]:
    """Choose mutants of as many functions as there are."""
    by_function: dict[str, list[Mutant]] = {}
    for mutant in found:
        by_function.setdefault(mutant.function.__qualname__, []).append(mutant)
    groups = [rng.sample(group, len(group)) for group in by_function.values()]
    rng.shuffle(groups)
    chosen: list[Mutant] = []
    while len(chosen) < number and groups:
        chosen += [group.pop() for group in groups]
        groups = [group for group in groups if group]
    return chosen[:number]


def methods_of(name: str) -> list[FunctionType]:
    """Return the methods that the scheme has of its own design, each as it is in this scheme."""
    scheme = catalogue.schemes()[name]
    found = {}
    for cls in reversed([c for c in scheme.__mro__ if c not in (Scheme, object)]):
        found |= {n: v for n, v in vars(cls).items() if isfunction(v)}
    return [f for _, f in sorted(found.items())]


def core_functions() -> list[FunctionType]:
    """Return the functions of the MM core."""
    found = []
    for name in CORE:
        module = importlib.import_module(f"rmapcheck.model.mm.{name}")
        found += [
            f for f in vars(module).values() if isfunction(f) and f.__module__ == module.__name__
        ]
    return found


def of_function(scheme: str, function: FunctionType, *, core: bool) -> Iterator[Mutant]:
    """Yield all mutants of one function."""
    try:
        node = definition(function).node
    except Untranslatable:
        return
    for place, part in enumerate(_nodes(node)):
        if _can_change(part):
            yield Mutant(scheme, function, place, core)


def _nodes(node: ast.FunctionDef) -> list[ast.AST]:
    return [part for statement in node.body for part in ast.walk(statement)]


def _can_change(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return not isinstance(node.test, ast.Compare | ast.BoolOp)
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and type(node.ops[0]) in FLIPPED
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Sub)
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Attribute)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call) and _called(node.value) not in QUIET
    return isinstance(node, ast.BoolOp | ast.AugAssign)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _change(root: ast.FunctionDef, node: ast.AST) -> str:
    """Change `node`, a part of `root` that can be changed, and return what is different."""
    if isinstance(node, ast.If):
        before = ast.unparse(node.test)
        node.test = ast.UnaryOp(ast.Not(), node.test)
        ast.fix_missing_locations(root)
        return f"if not ({before})"
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        node.ops = [FLIPPED[type(node.ops[0])]()]
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BinOp):
        node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    else:
        _leave_out(root, node)
        return f"without {before}"
    return f"{before} becomes {ast.unparse(node)}"


def _leave_out(root: ast.FunctionDef, node: ast.AST) -> None:
    for parent in ast.walk(root):
        for body in (getattr(parent, "body", None), getattr(parent, "orelse", None)):
            if isinstance(body, list) and node in body:
                body[body.index(node)] = ast.copy_location(ast.Pass(), node)
                return
