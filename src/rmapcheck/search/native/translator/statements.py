"""Statements: conditions, loops, `return`, and expressions that stand alone."""

import ast

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.conditions import test
from rmapcheck.search.native.translator.generators import yield_, yield_from
from rmapcheck.search.native.translator.kinds import NONE, TUPLE, WORDS, Value
from rmapcheck.search.native.translator.loops import loop


def pass_(_body: Body, _node: ast.Pass) -> None:
    """Nothing."""


def alone(body: Body, node: ast.Expr) -> None:
    """Translate an expression statement: a call, a docstring or a yield."""
    if isinstance(node.value, ast.Constant):
        return
    if isinstance(node.value, ast.Yield):
        yield_(body, node.value)
    elif isinstance(node.value, ast.YieldFrom):
        yield_from(body, node.value)
    else:
        value = body.expr(node.value)
        if value.code:
            body.emit(f"{value.code};")


def if_(body: Body, node: ast.If) -> bool:
    """Translate an `if`; if its condition is a constant, only the branch that is taken."""
    condition = test(body, node.test)
    if condition in ("0", "1"):
        return body.block(node.body if condition == "1" else node.orelse)
    body.emit(f"if ({condition}) {{")
    ends = body.block(node.body)
    if node.orelse:
        body.emit("} else {")
    ends &= body.block(node.orelse)
    body.emit("}")
    return ends


def while_(body: Body, node: ast.While) -> None:
    """Translate a loop. C counts its turns, and reports one that does not end."""
    if node.orelse:
        body.refuse(node, "`else` of a loop is not translated")
    turns = body.temp()
    body.emit(f"{{ int {turns} = 0;")
    body.emit(f"while ({test(body, node.test)}) {{ count_turn(st, ++{turns});")
    body.block(node.body)
    body.emit("} }")


def for_(body: Body, node: ast.For) -> None:
    """Translate a loop over numbers."""
    if node.orelse:
        body.refuse(node, "`else` of a loop is not translated")
    opening, closing = loop(body, node.target, node.iter)
    body.lines += opening
    body.block(node.body)
    body.lines += closing


def break_(body: Body, _node: ast.Break) -> bool:
    """Translate `break`."""
    body.emit("break;")
    return True


def continue_(body: Body, _node: ast.Continue) -> bool:
    """Translate `continue`."""
    body.emit("continue;")
    return True


def return_(body: Body, node: ast.Return) -> bool:
    """Translate the `return` of a number, a list or an object."""
    if body.mode == "plain":
        _return_value(body, node)
    else:
        body.emit("return 0;")
    return True


def _return_value(body: Body, node: ast.Return) -> None:
    value = body.expr(node.value) if node.value else Value("0", NONE)
    kind = WORDS if value.kind == TUPLE else value.kind
    if kind == NONE:
        body.emit("return 0;")
        return
    if kind.name == "local":
        body.refuse(node, f"a {kind.of} is on the stack and cannot be returned")
    body.instance.settle(kind, lambda reason: body.refuse(node, reason))
    if kind.name in ("list", "rows"):
        body.emit(f"return list_copy(st, result, {value.code});")
    elif kind.ctype:
        body.emit(f"return {value.code};")
    else:
        body.emit("return 0;")
