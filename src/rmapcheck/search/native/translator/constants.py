"""Constants: finds the value of an expression while translating, and writes constants in C.

When a search is translated, the scheme, the scope and the global names are known, and so is much
that depends on them: `st.scope.pages * 2`, `self.walk_checks_pte`, `"remap" in st.scope.ops`. Such
expressions are folded. A branch that a constant condition excludes is not translated at all. In a
general library the limits of the scope are not constants, except those that are 0 in all scopes.
"""

import ast
import builtins
from typing import Any

from rmapcheck.model.operations import Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.translator.kinds import (
    CONSTANT,
    INT,
    MISSING,
    NONE,
    SCHEME,
    SCOPE,
    STATE,
    TEXT,
    Kind,
    PoolFacts,
    ScopeFacts,
    StateFacts,
    Value,
)
from rmapcheck.search.native.translator.parts import is_part, why_not_constant
from rmapcheck.search.native.translator.program import Program
from rmapcheck.search.native.translator.source import Definition

FOLDED_CALLS = ("min", "max", "len", "abs", "bool", "int", "tuple", "list", "sorted", "range")
FOLDED_METHODS = ("get", "keys", "values", "items", "count", "index")
NOT_FOLDED = (
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.JoinedStr,
    ast.NamedExpr,
    ast.Yield,
    ast.YieldFrom,
    ast.List,
    ast.Set,
    ast.Dict,
)


class Constants:
    """The constants that the function `definition` can use; some are in `variables`."""

    def __init__(self, definition: Definition, variables: dict[str, Value]) -> None:
        self.definition = definition
        self.variables = variables
        self.globals = definition.function.__globals__

    def lookup(self, name: str) -> Any:  # noqa: ANN401
        """Return the value of a global name or a builtin, or MISSING."""
        return self.globals.get(name, getattr(builtins, name, MISSING))

    def fold(self, node: ast.expr) -> Any:  # noqa: ANN401
        """Return the value of an expression that is known while translating, else MISSING."""
        # Nearly all expressions are of these three types, which need no compile() and eval().
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        names = self._names_in(node)
        if names is None:
            return MISSING
        code = compile(ast.Expression(node), "<constant>", "eval")
        try:
            return eval(code, {"__builtins__": {}}, names)  # noqa: S307 - the model's own source
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return MISSING

    def _name(self, name: str) -> Any:  # noqa: ANN401
        variable = self.variables.get(name)
        return self.lookup(name) if variable is None else variable.const

    def _attribute(self, node: ast.Attribute) -> Any:  # noqa: ANN401
        """Return the attribute of a constant, or MISSING.

        An attribute of a part of the scheme must be a constant, too; otherwise it is refused.
        """
        base = self.fold(node.value)
        if base is MISSING:
            return MISSING
        if is_part(base):
            why = why_not_constant(base, node.attr)
            if why:
                self.definition.refuse(node, why)
        return getattr(base, node.attr, MISSING)

    def _names_in(self, node: ast.expr) -> dict[str, Any] | None:
        """Return the values of all names in an expression.

        Return None if one is unknown, or if the expression cannot be evaluated while translating.
        """
        names: dict[str, Any] = {}
        for part in ast.walk(node):
            if isinstance(part, NOT_FOLDED):
                return None
            if isinstance(part, ast.Name):
                names[part.id] = self._name(part.id)
                if names[part.id] is MISSING:
                    return None
            elif isinstance(part, ast.Attribute):
                if self._attribute(part) is MISSING:
                    return None
            elif isinstance(part, ast.Call) and not _may_fold(part):
                return None
        return names


def _may_fold(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in FOLDED_CALLS
    return isinstance(call.func, ast.Attribute) and call.func.attr in FOLDED_METHODS


def constant(program: Program, value: Any) -> Value:  # noqa: ANN401 - one line a kind
    """Return a constant as a Value. Numbers and strings have C code, others only a kind."""
    if isinstance(value, bool | int):
        return Value(f"({int(value)})" if value < 0 else str(int(value)), INT, value)
    if isinstance(value, str):
        return Value(str(program.text(value)), TEXT, value)
    if value is None:
        return Value("0", NONE, value)
    if isinstance(value, PoolFacts):
        return Value("", Kind("pool", value.name), value)
    if isinstance(value, StateFacts):
        return Value("", STATE, value)
    if isinstance(value, ScopeFacts):
        return Value("", SCOPE, value)
    if isinstance(value, Scheme):
        return Value("", SCHEME, value)
    if isinstance(value, type) and issubclass(value, Operation):
        return Value("", Kind("class", value.__name__), value)
    if is_part(value):
        number = program.part_number(value)
        return Value("", Kind("part", f"{type(value).__name__} {number}"), value)
    return Value("", CONSTANT, value)
