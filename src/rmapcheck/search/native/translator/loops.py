"""Loops: `for` over numbers, comprehensions, and any(), all() and sum() of a generator expression.

As in Python, `range()` or the list is evaluated once, before the loop. The C loop counts in a
separate variable, so that its body may assign to the loop's variable.
"""

import ast
from collections.abc import Callable
from typing import Any

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.conditions import test
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import INT, LIST, TEXT, Kind, Value
from rmapcheck.search.native.translator.lists import as_list

Loop = tuple[list[str], list[str]]
"""The lines that open a loop in C, up to the first line of its body; the lines that close it."""


def loop(body: Body, target: ast.expr, over: ast.expr) -> Loop:
    """Return the C loop for ``for target in over``."""
    if isinstance(over, ast.Call) and isinstance(over.func, ast.Name):
        if over.func.id == "range":
            return _count(body, target, [body.number(a) for a in over.args], over)
        if over.func.id == "enumerate" and isinstance(target, ast.Tuple):
            return _enumerate(body, target, over)
        if over.func.id == "reversed" and isinstance(over.args[0], ast.Call):
            return _count_down(body, target, over.args[0])
    box = body.expr(over)
    if box.kind.name == "constant":
        return _each_constant(body, target, list(box.const), over)
    if box.kind.name == "first":
        return _each_constant(body, target, list(box.const), over, box.code)
    if box.kind.name not in ("list", "array"):
        body.refuse(over, f"a loop over {box.kind.noun} is not translated")
    i, s = body.temp(), body.temp()
    x = _loop_variable(body, target, INT)
    opening = [
        f"{{ List *{s} = {as_list(body, box)};",
        f"for (int {i} = 0; {i} < {s}->n; {i}++) {{ {x} = {s}->v[{i}];",
    ]
    return opening, ["}", "}"]


def _loop_variable(body: Body, target: ast.expr, kind: Kind) -> str:
    if not isinstance(target, ast.Name):
        body.refuse(target, "a loop over numbers must have one variable")
    return body.declare(target.id, kind, target).code


def _count(body: Body, target: ast.expr, args: list[Value], node: ast.Call) -> Loop:
    start = args[0].code if len(args) > 1 else "0"
    step = args[2].const if len(args) > 2 else 1
    if not isinstance(step, int) or step == 0:
        body.refuse(node, "the step of range() must be a constant")
    i, end = body.temp(), body.temp()
    stop = args[1 if len(args) > 1 else 0].code
    x = _loop_variable(body, target, INT)
    sign = "<" if step > 0 else ">"
    opening = [
        f"{{ int {i} = {start}, {end} = {stop};",
        f"for (; {i} {sign} {end}; {i} += {step}) {{ {x} = {i};",
    ]
    return opening, ["}", "}"]


def _count_down(body: Body, target: ast.expr, call: ast.Call) -> Loop:
    if not (isinstance(call.func, ast.Name) and call.func.id == "range" and len(call.args) < 3):
        body.refuse(call, "reversed() is translated for range() only")
    args = [body.number(a) for a in call.args]
    start = args[0].code if len(args) > 1 else "0"
    i, low = body.temp(), body.temp()
    x = _loop_variable(body, target, INT)
    opening = [
        f"{{ int {low} = {start}, {i} = {args[-1].code};",
        f"while (--{i} >= {low}) {{ {x} = {i};",
    ]
    return opening, ["}", "}"]


def _enumerate(body: Body, target: ast.Tuple, call: ast.Call) -> Loop:
    start = body.number(call.args[1]).code if len(call.args) > 1 else "0"
    n = _loop_variable(body, target.elts[0], INT)
    opening, closing = loop(body, target.elts[1], call.args[0])
    i = body.temp()
    opening = [f"{{ int {i} = {start};", *opening, f"{n} = {i}++;"]
    return opening, [*closing, "}"]


def _each_constant(
    body: Body, target: ast.expr, items: list[Any], node: ast.expr, first: str = ""
) -> Loop:
    """Return the C loop over a constant tuple or dict, or over the `first` of its items."""
    values = [constant(body.program, v) for v in items]
    kinds = {v.kind for v in values}
    if len(kinds) > 1 or not kinds <= {INT, TEXT}:
        body.refuse(node, "a loop over constants must be over numbers only, or strings only")
    x = _loop_variable(body, target, kinds.pop() if kinds else INT)
    i, table = body.temp(), body.temp()
    codes = ", ".join(v.code for v in values) or "0"
    count = f"first_of({first}, {len(values)})" if first else str(len(values))
    opening = [
        f"{{ static const int {table}[] = {{{codes}}};",
        f"for (int {i} = 0; {i} < {count}; {i}++) {{ {x} = {table}[{i}];",
    ]
    return opening, ["}", "}"]


# Comprehensions.


def list_comprehension(body: Body, node: ast.ListComp) -> Value:
    """Translate ``[f(x) for x in list if c]``."""
    to = body.new_list()
    code = _nest(body, node, lambda v: f"list_add(st, &{to}, {v.code});")
    return Value(f"({{ {to}.n = 0; {code} &{to}; }})", LIST, busy=True)


def set_comprehension(body: Body, node: ast.SetComp) -> Value:
    """Translate ``{f(x) for x in list if c}``."""
    to = body.new_list()
    code = _nest(body, node, lambda v: f"set_add(st, &{to}, {v.code});")
    return Value(f"({{ {to}.n = 0; {code} &{to}; }})", LIST, busy=True)


def over_generator(body: Body, name: str, node: ast.GeneratorExp) -> Value:
    """Translate any(), all() and sum() of a generator expression."""
    t = body.temp()
    if name == "sum":
        code = _nest(body, node, lambda v: f"{t} += {v.code};")
        return Value(f"({{ int {t} = 0; {code} {t}; }})", INT, busy=True)
    start, sign = ("0", "") if name == "any" else ("1", "!")
    done = f"done_{t}"
    code = _nest(body, node, lambda v: f"if ({sign}({v.code})) {{ {t} = !{start}; goto {done}; }}")
    return Value(f"({{ int {t} = {start}; {code} {done}:; {t}; }})", INT, busy=True)


def _nest(
    body: Body, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, use: Callable[[Value], str]
) -> str:
    """Return the loops of a comprehension around `use` of its element."""
    outer = dict(body.variables)
    opening: list[str] = []
    closing: list[str] = []
    for part in node.generators:
        for name in ast.walk(part.target):
            if isinstance(name, ast.Name):
                body.variables.pop(name.id, None)
        start, end = loop(body, part.target, part.iter)
        opening += start
        closing = end + closing
        for condition in part.ifs:
            opening.append(f"if ({test(body, condition)}) {{")
            closing.insert(0, "}")
    value = body.expr(node.elt)
    if value.kind not in (INT, TEXT, LIST):
        body.refuse(node, f"an element of a comprehension must be a number, not {value.kind.noun}")
    if value.kind == LIST:
        value = Value(f"({value.code})->n", INT)
    body.variables.clear()
    body.variables.update(outer)
    return " ".join([*opening, use(value), *closing])
