"""The C function that is being written: its variables and lines; refuses what is not translated.

`Body.expr` and `Body.block` look up in the grammar (grammar.py) which function translates a node.
That function gets the body, and calls these two again for the parts of the node::

    comparison(body, node)     body.expr(node.left), body.expr(node.comparators[0])  →  Value
    if_(body, node)            body.block(node.body), body.block(node.orelse)        →  lines
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import attrs

from rmapcheck.search.native.translator.constants import Constants, constant
from rmapcheck.search.native.translator.kinds import MISSING, Kind, Value
from rmapcheck.search.native.translator.program import Instance, Program


class Body:
    """One C function that is being written.

    `mode` says how `yield` is translated; see generators.py.
    """

    def __init__(
        self, program: Program, instance: Instance, mode: str, grammar: "Grammar"
    ) -> None:
        self.program = program
        self.instance = instance
        self.definition = instance.definition
        self.mode = mode
        self.grammar = grammar
        self.variables: dict[str, Value] = {}
        self.constants = Constants(self.definition, self.variables)
        self.declared: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    # Nodes.

    def expr(self, node: ast.expr) -> Value:
        """Translate an expression: fold it if it is constant, else look it up in the grammar."""
        folded = self.constants.fold(node)
        if folded is not MISSING:
            return constant(self.program, folded)
        translate = self.grammar.expressions.get(type(node))
        if translate is None:
            self.refuse(node, f"{type(node).__name__} expressions are not translated")
        return translate(self, node)

    def number(self, node: ast.expr) -> Value:
        """Translate an expression that must be a number, a boolean or a string."""
        value = self.expr(node)
        if value.kind.name not in ("int", "text"):
            self.refuse(node, f"a number is needed here, not {value.kind.noun}")
        return value

    def block(self, statements: list[ast.stmt]) -> bool:
        """Translate statements, up to a `return`, `break` or the like; True if there is one."""
        for statement in statements:
            translate = self.grammar.statements.get(type(statement))
            if translate is None:
                self.refuse(statement, f"{type(statement).__name__} statements are not translated")
            if translate(self, statement):
                return True
        return False

    def refuse(self, node: ast.AST, reason: str) -> NoReturn:
        """Raise Untranslatable for `node`."""
        self.definition.refuse(node, reason)

    # C text.

    def temp(self) -> str:
        """Return a fresh C name."""
        self.count += 1
        return f"t{self.count}"

    def emit(self, line: str) -> None:
        """Add a line of C."""
        self.lines.append(line)

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

    # Variables.

    def new_list(self) -> str:
        """Declare a new list variable in C, and return its name."""
        name = self.temp()
        self.declared.append(f"int {name}_v[CAPACITY]; List {name} = {{0, CAPACITY, {name}_v}};")
        return name

    def declare(self, name: str, kind: Kind, node: ast.AST) -> Value:
        """Return variable `name`. The first assignment declares it, and decides its kind."""
        known = self.variables.get(name)
        if known is not None:
            if known.kind != kind:
                then = kind.noun_after(known.kind)
                self.refuse(node, f"{name} is first {known.kind.noun}, then {then}")
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


@attrs.frozen
class Grammar:
    """Node type → the function that translates it; GRAMMAR in grammar.py is the only instance."""

    expressions: Mapping[type[ast.expr], Callable[[Body, Any], Value]]
    statements: Mapping[type[ast.stmt], Callable[[Body, Any], bool | None]]
    """True means that the code after the statement is never reached."""
