"""Lists of numbers, and sets, which in C are lists without duplicates.

A list is a variable of the C function with room for CAPACITY numbers. It is declared at the head
of the function, and filled where the expression is.
"""

import ast

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import INT, LIST, NONE, TUPLE, Value


def as_list(body: Body, value: Value) -> str:
    """Return C code of type List * for a list or an array field."""
    if value.kind.name == "array":
        name = body.new_list()
        return f"list_of(st, &{name}, {value.code}, {value.kind.size})"
    return value.code


def list_display(body: Body, node: ast.List) -> Value:
    """``[a, b]``."""
    return _display(body, "list_add", node.elts)


def set_display(body: Body, node: ast.Set) -> Value:
    """``{a, b}``."""
    return _display(body, "set_add", node.elts)


def empty_list(body: Body) -> Value:
    """``set()``."""
    return _display(body, "list_add", [])


def _display(body: Body, add: str, elements: list[ast.expr]) -> Value:
    to = body.new_list()
    adds = [f"{add}(st, &{to}, {body.number(e).code});" for e in elements]
    return Value(f"({{ {to}.n = 0; {' '.join(adds)} &{to}; }})", LIST, busy=True)


def join(body: Body, node: ast.BinOp) -> Value:
    """Translate ``[0] * n`` and ``a + b``."""
    to = body.new_list()
    a = body.expr(node.left)
    if isinstance(node.op, ast.Mult) and isinstance(node.left, ast.List):
        b = body.number(node.right)
        return Value(f"list_repeat(st, &{to}, {a.code}, {b.code})", LIST, busy=True)
    b = body.expr(node.right)
    if not isinstance(node.op, ast.Add) or b.kind != LIST:
        body.refuse(node, "of lists only `a + b` and `[x] * n` are translated")
    code = f"list_extend(st, list_copy(st, &{to}, {{0}}), {{1}})"
    return Value(body.ordered([a, b], code), LIST, busy=True)


def part_of(body: Body, base: Value, part: ast.Slice, node: ast.expr) -> Value:
    """Translate a slice, which becomes a new list."""
    if base.kind.name not in ("list", "array") or part.step is not None:
        body.refuse(node, f"this slice of {base.kind.noun} is not translated")
    low = body.number(part.lower).code if part.lower else "0"
    high = body.number(part.upper).code if part.upper else "CAPACITY"
    to = body.new_list()
    code = f"list_slice(st, &{to}, {as_list(body, base)}, {low}, {high})"
    return Value(code, LIST, busy=True)


def list_method(body: Body, base: Value, name: str, node: ast.Call) -> Value:
    """Translate ``found.append(x)`` and similar calls."""
    code = as_list(body, base)
    item = body.expr(node.args[0]) if node.args else constant(body.program, 0)
    if name == "append" and item.kind == TUPLE and base.kind.name == "rows":
        adds = " ".join(f"list_add(st, {code}, {p.code});" for p in item.parts)
        return Value(f"({{ {adds} }})", NONE, busy=True)
    if name in ("append", "add") and base.kind == LIST and item.kind == INT:
        word = "list_add" if name == "append" else "set_add"
        return Value(f"{word}(st, {code}, {item.code})", NONE, busy=True)
    if name == "discard":
        return Value(f"set_discard({code}, {item.code})", NONE, busy=True)
    if name == "count":
        return Value(f"list_count({code}, {item.code})", INT, busy=base.busy or item.busy)
    return body.refuse(node, f"{name}() of {base.kind.noun} is not translated")
