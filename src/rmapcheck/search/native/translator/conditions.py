"""Conditions: truth values, the results of `and` and `or`, comparisons.

A condition that is known while translating is "0" or "1" in C. `if`, `and`, `or` and `… if … else`
check for these two, and leave out code that is then never reached.
"""

import ast
from itertools import pairwise

from rmapcheck.search.native.bounds import WORDS as WORDS_OF_OPS
from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import INT, LIST, TEXT, TUPLE, WORDS, Value
from rmapcheck.search.native.translator.lists import as_list

COMPARE = {
    ast.Eq: "{0} == {1}",
    ast.NotEq: "{0} != {1}",
    ast.Lt: "{0} < {1}",
    ast.LtE: "{0} <= {1}",
    ast.Gt: "{0} > {1}",
    ast.GtE: "{0} >= {1}",
}


def test(body: Body, node: ast.expr) -> str:
    """Return the C condition for an expression of which only the truth value matters."""
    if isinstance(node, ast.BoolOp):
        return _test_bool(body, node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = test(body, node.operand)
        return {"0": "1", "1": "0"}.get(inner, f"!({inner})")
    return truth(body, body.expr(node), node)


def _test_bool(body: Body, node: ast.BoolOp) -> str:
    """Join conditions. A known condition decides the result, or is left out of the C code."""
    ends, sign = ("0", " && ") if isinstance(node.op, ast.And) else ("1", " || ")
    parts = []
    for operand in node.values:
        condition = test(body, operand)
        if condition == ends:
            parts.append(ends)
            break
        if condition not in ("0", "1"):
            parts.append(condition)
    if not parts:
        return "1" if ends == "0" else "0"
    if parts == [ends]:
        return ends
    return f"({sign.join(f'({p})' for p in parts)})"


def truth(body: Body, value: Value, node: ast.AST) -> str:
    """Return the C condition under which `value` is true in Python."""
    if value.known:
        return "1" if value.const else "0"
    if value.kind in (INT, TEXT):
        return value.code
    if value.kind == LIST:
        return f"({value.code})->n"
    return body.refuse(node, f"{value.kind.noun} has no truth value in C")


def either(body: Body, node: ast.BoolOp) -> Value:
    """Translate ``a or b``, which is a if a is true, else b; and ``a and b`` accordingly."""
    first = body.expr(node.values[0])
    rest = node.values[1] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[1:])
    ast.copy_location(rest, node)
    takes_rest = isinstance(node.op, ast.And)
    if first.known or first.kind.name in ("pool", "state", "scheme"):
        return body.expr(rest) if bool(first.const) == takes_rest else first
    second = body.expr(rest)
    if WORDS in (first.kind, second.kind):
        return Value("", WORDS)
    if first.kind not in (INT, TEXT) or second.kind not in (INT, TEXT):
        body.refuse(node, "`and` and `or` are translated for numbers only")
    t = body.temp()
    pick = f"{second.code} : {t}" if takes_rest else f"{t} : {second.code}"
    code = f"({{ int {t} = {first.code}; {t} ? {pick}; }})"
    return Value(code, first.kind, busy=first.busy or second.busy)


def conditional(body: Body, node: ast.IfExp) -> Value:
    """Translate ``a if c else b``; if c is a constant, only the value that it selects."""
    condition = test(body, node.test)
    if condition in ("0", "1"):
        return body.expr(node.body if condition == "1" else node.orelse)
    a = body.expr(node.body)
    b = body.expr(node.orelse)
    if WORDS in (a.kind, b.kind) or a.kind == TUPLE:
        return Value("", WORDS)
    if not a.kind.ctype or a.kind.ctype != b.kind.ctype:
        what = f"{a.kind.noun} and {b.kind.noun_after(a.kind)}"
        body.refuse(node, f"the two values must be of the same kind, not {what}")
    return Value(f"(({condition}) ? {a.code} : {b.code})", a.kind, busy=True)


# Comparisons.


def comparison(body: Body, node: ast.Compare) -> Value:
    """Translate one comparison, or a chain of them."""
    if len(node.ops) > 1:
        return _chain(body, node)
    op, left, right = node.ops[0], node.left, node.comparators[0]
    if isinstance(op, ast.In | ast.NotIn):
        return _contains(body, node, left, right)
    a, b = body.expr(left), body.expr(right)
    if {a.kind.name, b.kind.name} <= {"list", "rows", "array"}:
        if not isinstance(op, ast.Eq | ast.NotEq):
            body.refuse(node, "lists can be compared for equality only")
        lists = [Value(as_list(body, v), LIST, busy=True) for v in (a, b)]
        sign = "" if isinstance(op, ast.Eq) else "!"
        return Value(f"({body.ordered(lists, sign + 'list_equal({0}, {1})')})", INT, busy=True)
    if type(op) not in COMPARE or {a.kind.name, b.kind.name} - {"int", "text"}:
        what = f"{a.kind.noun} and {b.kind.noun_after(a.kind)}"
        body.refuse(node, f"this comparison of {what} is not translated")
    text = COMPARE[type(op)]
    return Value(f"({body.ordered([a, b], text)})", INT, busy=a.busy or b.busy)


def _chain(body: Body, node: ast.Compare) -> Value:
    """Translate ``a < b < c``. As in Python, c is evaluated only if ``a < b`` is true."""
    values = [body.number(e) for e in (node.left, *node.comparators)]
    names = [body.temp() for _ in values]
    sets = [f"int {n} = {v.code};" for n, v in zip(names, values, strict=True)]
    tests = []
    for op, (a, b) in zip(node.ops, pairwise(names), strict=True):
        if type(op) not in COMPARE:
            body.refuse(node, "a chain of comparisons is translated for numbers only")
        tests.append(f"({COMPARE[type(op)].format(a, b)})")
    code = f"({{ {sets[0]} {sets[1]} {tests[0]} && "
    for i, further in enumerate(tests[1:], 2):
        code += f"({{ {sets[i]} {further}" + " && " * (i < len(tests))
    return Value(code + "; })" * (len(tests)), INT, busy=any(v.busy for v in values))


def _contains(body: Body, node: ast.Compare, left: ast.expr, right: ast.expr) -> Value:
    """Translate ``x in list`` and ``x in (a, b)``, and the same with `not in`."""
    sign = "!" if isinstance(node.ops[0], ast.NotIn) else ""
    x = body.number(left)
    box = body.expr(right)
    if box.kind.name == "groups" and x.const in WORDS_OF_OPS:
        return Value(f"({sign}({box.code} >> {WORDS_OF_OPS.index(x.const)} & 1))", INT)
    if box.kind.name in ("list", "array"):
        inside = Value(as_list(body, box), LIST, busy=box.busy)
        code = body.ordered([x, inside], sign + "list_has({1}, {0})")
        return Value(f"({code})", INT, busy=x.busy or box.busy)
    if box.kind.name == "tuple":
        codes = [p.code for p in box.parts]
    elif box.kind.name == "constant":
        codes = [constant(body.program, v).code for v in box.const]
    else:
        body.refuse(node, f"`in` is not translated for {box.kind.noun}")
    t = body.temp()
    tests = " || ".join(f"{t} == {c}" for c in codes) or "0"
    return Value(f"({{ int {t} = {x.code}; {sign}({tests}); }})", INT, busy=x.busy or box.busy)
