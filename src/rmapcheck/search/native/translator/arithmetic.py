"""Arithmetic on whole numbers."""

import ast

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.conditions import test
from rmapcheck.search.native.translator.kinds import INT, LIST, MISSING, Value
from rmapcheck.search.native.translator.lists import join

BINARY = {
    ast.Add: "{0} + {1}",
    ast.Sub: "{0} - {1}",
    ast.Mult: "{0} * {1}",
    ast.FloorDiv: "floor_div(st, {0}, {1})",
    ast.Mod: "floor_mod(st, {0}, {1})",
    ast.BitAnd: "{0} & {1}",
    ast.BitOr: "{0} | {1}",
    ast.BitXor: "{0} ^ {1}",
}
UNARY = {ast.USub: "(-({0}))", ast.UAdd: "({0})", ast.Invert: "(~({0}))"}


def operator(body: Body, node: ast.BinOp | ast.AugAssign) -> str:
    """Return C code for the operator of `node`, with {0} and {1} for its operands."""
    text = BINARY.get(type(node.op))
    if text is None:
        body.refuse(node, f"the operator {type(node.op).__name__} is not translated")
    return text


def binary(body: Body, node: ast.BinOp) -> Value:
    """Translate arithmetic on numbers, and `+` and `*` of lists."""
    if isinstance(node.left, ast.List) or is_list(body, node.left):
        return join(body, node)
    text = operator(body, node)
    both = [body.number(node.left), body.number(node.right)]
    return Value(f"({body.ordered(both, text)})", INT, busy=any(v.busy for v in both))


def is_list(body: Body, node: ast.expr) -> bool:
    """Return whether an operand is a list variable."""
    return (
        isinstance(node, ast.Name)
        and node.id in body.variables
        and body.variables[node.id].kind == LIST
    )


def unary(body: Body, node: ast.UnaryOp) -> Value:
    """Translate ``not x``, ``-x`` and ``~x``."""
    if isinstance(node.op, ast.Not):
        condition = test(body, node)
        known = int(condition) if condition in ("0", "1") else MISSING
        return Value(condition, INT, known)
    value = body.number(node.operand)
    return Value(UNARY[type(node.op)].format(value.code), INT, busy=value.busy)
