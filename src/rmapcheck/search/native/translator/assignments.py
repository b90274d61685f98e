"""Assignments to variables, fields and elements.

As in Python, the value is evaluated before its target is looked up, because a call in the value
may free the object that has the field.
"""

import ast

from rmapcheck.search.native.translator import on_stack
from rmapcheck.search.native.translator.arithmetic import is_list, operator
from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.fields import STATE_NUMBERS, element, field
from rmapcheck.search.native.translator.kinds import (
    INT,
    LIST,
    NONE,
    ROWS,
    TEXT,
    TUPLE,
    WORDS,
    Value,
)


def assign(body: Body, node: ast.Assign) -> None:
    """Translate ``a = b``, ``a.x = b`` and ``a, b = c``."""
    if len(node.targets) != 1:
        body.refuse(node, "an assignment with several targets (a = b = c) is not translated")
    target = node.targets[0]
    value = body.expr(node.value)
    if isinstance(target, ast.Tuple):
        _unpack(body, target, value, node.value)
    else:
        _assign(body, target, value, node.value)


def annotated(body: Body, node: ast.AnnAssign) -> None:
    """Translate ``found: list[int] = []``."""
    if node.value is None:
        return
    rows = isinstance(node.annotation, ast.Subscript) and "tuple" in ast.dump(
        node.annotation.slice
    )
    _assign(body, node.target, body.expr(node.value), node.value, rows=rows)


def _unpack(body: Body, target: ast.Tuple, value: Value, source: ast.expr) -> None:
    if value.kind != TUPLE:
        # The objects that dangling() and leaked() return are needed for messages only.
        for name in target.elts:
            _assign(body, name, Value("", WORDS), source)
        return
    if len(value.parts) != len(target.elts):
        body.refuse(target, "there are not as many targets as values")
    names = []
    for part in value.parts:
        if part.kind.ctype and part.kind.name not in ("list", "rows"):
            names.append(Value(body.temp(), part.kind, part.const, busy=part.busy))
            body.emit(f"{part.kind.ctype}{names[-1].code} = {part.code};")
        else:
            names.append(part)
    for name, part in zip(target.elts, names, strict=True):
        _assign(body, name, part, source)


def _assign(
    body: Body, target: ast.expr, value: Value, source: ast.expr, *, rows: bool = False
) -> None:
    if isinstance(target, ast.Name):
        _assign_name(body, target, value, source, rows=rows)
    elif isinstance(target, ast.Attribute):
        _assign_field(body, target, value)
    elif isinstance(target, ast.Subscript):
        _assign_element(body, target, value)
    else:
        body.refuse(target, f"assignment to {type(target).__name__} is not translated")


def _assign_name(
    body: Body, target: ast.Name, value: Value, source: ast.expr, *, rows: bool
) -> None:
    kind = value.kind
    if kind in (TUPLE, NONE) or kind.name == "constant":
        kind = WORDS
    if rows and kind == LIST:
        kind = ROWS
    if kind.name in ("list", "rows"):
        if isinstance(source, ast.Name | ast.Attribute):
            body.refuse(target, "a second name for the same list is not translated; copy the list")
        to = body.declare(target.id, kind, target)
        body.emit(f"list_copy(st, {to.code}, {value.code});")
    elif kind.name == "operation":
        body.emit(f"{body.declare(target.id, kind, target).code[1:]} = *({value.code});")
    elif kind.ctype:
        body.emit(f"{body.declare(target.id, kind, target).code} = {value.code};")
    elif kind == WORDS:
        body.declare(target.id, WORDS, target)
    elif kind.name == "part":
        body.declare(target.id, kind, target)
        body.variables[target.id] = value
    else:
        body.refuse(target, f"{kind.noun} cannot be kept in a variable")


def _assign_field(body: Body, target: ast.Attribute, value: Value) -> None:
    base = body.expr(target.value)
    if value.kind not in (INT, TEXT):
        body.refuse(target, f"a field holds a number, not {value.kind.noun}")
    if base.kind.name == "state" and target.attr in (*STATE_NUMBERS, "exhausted"):
        body.emit(f"st->{target.attr} = {value.code};")
        return
    if base.kind.name == "walk" and target.attr in ("nodes", "limit"):
        body.emit(f"({base.code})->{target.attr} = {value.code};")
        return
    if base.kind.name == "local":
        body.emit(f"{on_stack.field(body, base, target)} = {value.code};")
        return
    if base.kind.name != "object":
        body.refuse(target, f"{target.attr} of {base.kind.noun} cannot be assigned to")
    t = body.temp()
    if target.attr in body.program.structs[base.kind.of].absent:
        body.emit(f"{{ int {t} = {value.code}; {base.kind.of}_ok(st, {base.code});")
        body.emit(f"if ({t}) no_such_field(st); }}")
        return
    place = field(body, base, target)
    body.emit(f"{{ int {t} = {value.code}; {place.code} = {t}; }}")


def _assign_element(body: Body, target: ast.Subscript, value: Value) -> None:
    if value.kind != INT:
        body.refuse(target, f"an element is a number, not {value.kind.noun}")
    place = element(body, target)
    if place.kind != INT:
        body.refuse(target, "only elements of lists and arrays can be assigned to")
    t = body.temp()
    body.emit(f"{{ int {t} = {value.code}; {place.code} = {t}; }}")


def augmented(body: Body, node: ast.AugAssign) -> None:
    """Translate ``a.x += b``: the target is looked up once, before b is evaluated."""
    if is_list(body, node.target) and isinstance(node.target, ast.Name):
        to = body.variables[node.target.id]
        body.emit(f"list_extend(st, {to.code}, {body.expr(node.value).code});")
        return
    text = operator(body, node)
    load = ast.parse(ast.unparse(node.target), mode="eval").body
    ast.copy_location(load, node)
    target = body.expr(load)
    if isinstance(node.target, ast.Attribute) and "_ok" not in target.code:
        base = body.expr(node.target.value)
        if base.kind.name not in ("walk", "state", "local"):
            body.refuse(node, f"{node.target.attr} cannot be assigned to")
    value = body.number(node.value)
    if target.kind != INT or target.code.startswith("((void)"):
        body.refuse(node, "augmented assignment is translated for numbers of the scheme only")
    if isinstance(node.target, ast.Name):
        body.emit(f"{target.code} = {text.format(target.code, value.code)};")
        return
    p, old, t = body.temp(), body.temp(), body.temp()
    body.emit(f"{{ __auto_type {p} = &({target.code}); int {old} = *{p};")
    body.emit(f"int {t} = {value.code}; *{p} = {text.format(old, t)}; }}")
