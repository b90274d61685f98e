"""Variables, fields and elements: translates `st.vma[v].vm_mm` and its parts."""

import ast

from rmapcheck.search.native.bounds import NUMBERS
from rmapcheck.search.native.translator import on_stack
from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import (
    FIRST,
    GROUPS,
    INT,
    LIST,
    TEXT,
    TUPLE,
    WORDS,
    Kind,
    Value,
)
from rmapcheck.search.native.translator.lists import part_of

STATE_NUMBERS = ("spare", "nr_allocs", "fail_at")


def variable(body: Body, node: ast.Name) -> Value:
    """A variable."""
    if node.id in body.variables:
        return body.variables[node.id]
    return body.refuse(node, f"{node.id} has no value here")


def attribute(body: Body, node: ast.Attribute) -> Value:
    """Translate a field of an object, or a number of the state or of a pool."""
    base = body.expr(node.value)
    name = base.kind.name
    if name == "object":
        return field(body, base, node)
    if name == "local":
        return Value(on_stack.field(body, base, node), INT, busy=base.busy)
    if name == "operation":
        return _operation_field(body, base, node)
    if name == "pool" and node.attr in ("live", "high"):
        count = "alive" if node.attr == "live" else "high"
        return Value(f"st->{base.kind.of}.{count}", INT)
    if name in ("scope", "pool", "state") and _of_scope(body, base, node.attr):
        return Value(_of_scope(body, base, node.attr), GROUPS if node.attr == "ops" else INT)
    if name == "walk":
        if node.attr == "visited":
            return Value(f"(&({base.code})->visited)", LIST, busy=base.busy)
        if node.attr in ("nodes", "limit"):
            return Value(f"({base.code})->{node.attr}", INT, busy=base.busy)
    if name == "state" and node.attr in STATE_NUMBERS:
        return Value(f"st->{node.attr}", INT)
    if name == "state" and node.attr == "exhausted":
        return Value("st->exhausted", TEXT)
    return body.refuse(node, f"{base.kind.noun} has no {node.attr!r} that C can read")


def _of_scope(body: Body, base: Value, name: str) -> str:
    """Return the C code of a number of the scope in a general library, or ""."""
    bounds = body.program.bounds
    if not bounds.general:
        return ""
    if base.kind.name == "pool":
        return bounds.size(base.kind.of) if name == "size" else ""
    if base.kind.name == "state":
        return bounds.number("pages") if name == "pages" else ""
    return "st->scope.ops" if name == "ops" else bounds.number(name) if name in NUMBERS else ""


def field(body: Body, base: Value, node: ast.Attribute) -> Value:
    """Translate a field of a struct. A field that the scheme does not have is always 0."""
    struct = body.program.structs[base.kind.of]
    pointer = f"{struct.name}_ok(st, {base.code})"
    if base.code.startswith(f"{struct.name}_at(st, "):
        pointer = base.code.replace("_at(", "_ok_at(", 1)
    if node.attr in struct.arrays:
        kind = Kind("array", struct.name, struct.arrays[node.attr])
        return Value(f"{pointer}->{node.attr}", kind, busy=base.busy)
    if node.attr in struct.numbers:
        return Value(f"{pointer}->{node.attr}", INT, busy=base.busy)
    if node.attr in struct.absent:
        return Value(f"((void){pointer}, 0)", INT, busy=base.busy)
    return body.refuse(node, f"{struct.name} has no field {node.attr!r}")


def _operation_field(body: Body, base: Value, node: ast.Attribute) -> Value:
    """Translate an argument of an operation."""
    kinds = body.program.operation_fields
    if node.attr not in kinds:
        body.refuse(node, f"operations have no argument {node.attr!r}")
    return Value(f"({base.code})->{node.attr}", kinds[node.attr])


def element(body: Body, node: ast.Subscript) -> Value:
    """Translate an object of a pool, an element of a list, or a look-up in a constant."""
    base = body.expr(node.value)
    if isinstance(node.slice, ast.Slice):
        if base.kind.name == "constant" and node.slice.lower is None and node.slice.upper:
            return Value(body.number(node.slice.upper).code, FIRST, base.const)
        return part_of(body, base, node.slice, node)
    if base.kind.name == "constant":
        return _look_up(body, base, node)
    if base.kind.name not in ("pool", "list", "array"):
        body.refuse(node, f"{base.kind.noun} has no elements")
    index = _index(body, base, node.slice)
    busy = base.busy or index.busy
    if base.kind.name == "pool":
        pool = base.kind.of
        return Value(f"{pool}_at(st, {index.code})", Kind("object", pool), busy=busy)
    if base.kind.name == "list":
        code = body.ordered([base, index], "*list_at(st, {0}, {1})")
    else:
        code = body.ordered([base, index], f"*array_at(st, {{0}}, {base.kind.size}, {{1}})")
    return Value(f"({code})", INT, busy=busy)


def _index(body: Body, base: Value, node: ast.expr) -> Value:
    """Translate an index; only a constant index may be negative and count from the end."""
    index = body.number(node)
    if not (index.known and index.const < 0):
        return index
    if base.kind.name == "list":
        return Value(f"({base.code})->n - {-index.const}", INT, busy=base.busy)
    if base.kind.name == "array":
        return Value(f"{base.kind.size} - {-index.const}", INT)
    return body.refuse(node, "an index of a pool cannot be negative")


def _look_up(body: Body, base: Value, node: ast.Subscript) -> Value:
    """Translate a look-up in a constant dict or tuple, with a key that is known only in C."""
    key = body.number(node.slice)
    items = base.const
    if not isinstance(items, dict):
        items = dict(enumerate(items))
    code = {k: constant(body.program, k).code for k in items}
    width = {len(v) if isinstance(v, tuple) else 0 for v in items.values()}
    if width == {0}:
        values = {code[k]: constant(body.program, v).code for k, v in items.items()}
        return Value(body.program.table(values, key.code), INT, busy=key.busy)
    parts = []
    for i in range(width.pop()):
        values = {code[k]: constant(body.program, v[i]).code for k, v in items.items()}
        parts.append(Value(body.program.table(values, key.code), INT, busy=key.busy))
    return Value("", TUPLE, parts=tuple(parts))


def several(body: Body, node: ast.Tuple) -> Value:
    """Translate a tuple: values to be unpacked, or the witness of a violation, which C drops."""
    parts = tuple(body.expr(e) for e in node.elts)
    return Value("", TUPLE, parts=parts, busy=any(p.busy for p in parts))


def message(_body: Body, _node: ast.JoinedStr) -> Value:
    """Translate an f-string, which can only be needed for a message."""
    return Value("", WORDS)
