"""The body of one function: its variables, its constants, its complaints."""

import ast
import builtins
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from rmapcheck.model.operations import Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.translator.kinds import (
    CONSTANT,
    INT,
    LIST,
    MISSING,
    NONE,
    SCHEME,
    STATE,
    TEXT,
    Kind,
    PoolFacts,
    StateFacts,
    Value,
)
from rmapcheck.search.native.translator.parts import is_part, why_not_constant
from rmapcheck.search.native.translator.source import Definition, Untranslatable

if TYPE_CHECKING:
    from rmapcheck.search.native.translator.program import Instance, Program

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


class Body:
    """What all parts of the translation of one function share."""

    def __init__(self, program: "Program", instance: "Instance", mode: str) -> None:
        self.program = program
        self.instance = instance
        self.definition: Definition = instance.definition
        self.mode = mode
        self.globals = self.definition.function.__globals__
        self.variables: dict[str, Value] = {}
        self.declared: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    # To be provided by the parts that build on this one.

    def expr(self, node: ast.expr) -> Value:
        """Translate an expression."""
        raise NotImplementedError

    def call_function(
        self,
        function: FunctionType,
        bound: list[Value],
        node: ast.Call,
    ) -> Value:
        """Translate a call of a function of the model, `bound` being arguments already there."""
        raise NotImplementedError

    # Complaints, names, C text.

    def refuse(self, node: ast.AST, reason: str) -> NoReturn:
        """Raise Untranslatable for `node`."""
        raise Untranslatable(self.definition.file, getattr(node, "lineno", 0), reason)

    def temp(self) -> str:
        """Return a fresh C name."""
        self.count += 1
        return f"t{self.count}"

    def emit(self, line: str) -> None:
        """Add a line of C."""
        self.lines.append(line)

    def new_list(self) -> str:
        """Return the name of a fresh list of this function, a C variable of its own."""
        name = self.temp()
        self.declared.append(f"int {name}_v[CAPACITY]; List {name} = {{0, CAPACITY, {name}_v}};")
        return name

    def declare(self, name: str, kind: Kind, node: ast.AST) -> Value:
        """Return variable `name`, made at its first assignment, whose kind it keeps."""
        known = self.variables.get(name)
        if known is not None:
            if known.kind != kind:
                self.refuse(node, f"{name} is first a {known.kind.name}, then a {kind.name}")
            return known
        self.count += 1
        c = f"{name}_{self.count}"
        if kind.name in ("list", "rows"):
            self.declared.append(f"int {c}_v[CAPACITY]; List {c} = {{0, CAPACITY, {c}_v}};")
            value = Value(f"&{c}", kind)
        elif kind.name == "operation":
            self.declared.append(f"Op {c};")
            value = Value(f"&{c}", kind)
        elif kind.ctype:
            self.declared.append(f"{kind.ctype}{c} = 0;")
            value = Value(c, kind)
        else:
            value = Value("", kind)
        self.variables[name] = value
        return value

    # Constants.

    def lookup(self, name: str) -> Any:  # noqa: ANN401
        """Return what a global name means, or MISSING."""
        return self.globals.get(name, getattr(builtins, name, MISSING))

    def name_constant(self, name: str) -> Any:  # noqa: ANN401
        """Return the value that a name has while translating, or MISSING."""
        variable = self.variables.get(name)
        if variable is not None:
            return variable.const
        return self.lookup(name)

    def fold(self, node: ast.expr) -> Any:  # noqa: ANN401
        """Return the value of an expression that is known while translating, else MISSING."""
        # Nearly all are of these three, for which there is no need of a compiler.
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.name_constant(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        names: dict[str, Any] = {}
        for part in ast.walk(node):
            if isinstance(part, NOT_FOLDED):
                return MISSING
            if isinstance(part, ast.Name):
                names[part.id] = self.name_constant(part.id)
                if names[part.id] is MISSING:
                    return MISSING
            elif isinstance(part, ast.Attribute):
                if self._attribute(part) is MISSING:
                    return MISSING
            elif isinstance(part, ast.Call) and not _may_fold(part):
                return MISSING
        code = compile(ast.Expression(node), "<constant>", "eval")
        try:
            return eval(code, {"__builtins__": {}}, names)  # noqa: S307 - the model's own source
        except (AttributeError, TypeError, KeyError, IndexError, ValueError):
            return MISSING

    def _attribute(self, node: ast.Attribute) -> Any:  # noqa: ANN401
        """Return the attribute of a constant, or MISSING; of a part it must be one as well."""
        base = self.fold(node.value)
        if base is MISSING:
            return MISSING
        if is_part(base):
            why = why_not_constant(base, node.attr)
            if why:
                self.refuse(node, why)
        return getattr(base, node.attr, MISSING)

    def constant(self, value: Any) -> Value:  # noqa: ANN401
        """Return a constant as a value."""
        if isinstance(value, bool | int):
            return Value(f"({int(value)})" if value < 0 else str(int(value)), INT, value)
        if isinstance(value, str):
            return Value(str(self.program.text(value)), TEXT, value)
        if value is None:
            return Value("0", NONE, value)
        if isinstance(value, PoolFacts):
            return Value("", Kind("pool", value.name), value)
        if isinstance(value, StateFacts):
            return Value("", STATE, value)
        if isinstance(value, Scheme):
            return Value("", SCHEME, value)
        if isinstance(value, type) and issubclass(value, Operation):
            return Value("", Kind("class", value.__name__), value)
        if is_part(value):
            number = self.program.part_number(value)
            return Value("", Kind("part", f"{type(value).__name__} {number}"), value)
        return Value("", CONSTANT, value)

    # Order of evaluation.

    def ordered(self, values: list[Value], text: str) -> str:
        """Return `text` with {0}, {1} … replaced, evaluated from left to right as Python does."""
        codes = [v.code for v in values]
        if len(values) < 2 or not any(v.busy for v in values):
            return text.format(*codes)
        out = []
        for i, value in enumerate(values):
            if value.kind.ctype and not value.known:
                codes[i] = self.temp()
                out.append(f"{value.kind.ctype}{codes[i]} = {value.code};")
        return f"({{ {' '.join(out)} {text.format(*codes)}; }})"

    def number(self, node: ast.expr) -> Value:
        """Translate an expression that must be a number (or boolean)."""
        value = self.expr(node)
        if value.kind.name not in ("int", "text"):
            self.refuse(node, f"a number is wanted here, not a {value.kind.name}")
        return value

    def truth(self, value: Value, node: ast.AST) -> str:
        """Return the C condition under which `value` is true in Python."""
        if value.known:
            return "1" if value.const else "0"
        if value.kind in (INT, TEXT):
            return value.code
        if value.kind == LIST:
            return f"({value.code})->n"
        return self.refuse(node, f"the truth of a {value.kind.name} is not known")


def _may_fold(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in FOLDED_CALLS
    return isinstance(call.func, ast.Attribute) and call.func.attr in FOLDED_METHODS
