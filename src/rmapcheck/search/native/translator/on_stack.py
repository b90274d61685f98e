"""Structs that are local variables of a function of the model; in C they are on the stack.

::

    vmg = VmaMergeStruct(mm=mm, start=start, …)     struct vma_merge_struct t1 = {.mm = p_mm, …};
    vmg.end = v.vm_end                              vmg_2->end = …, where vmg_2 is &t1
    vma_expand(st, vmg)                             vma_expand_7(st, vmg_2)

All their fields are numbers, and no function may return such a struct.
"""

import ast
from typing import Any

import attrs

from rmapcheck.model.machine.fields import pool_name
from rmapcheck.model.mm.vma_merge import VmaMergeStruct
from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import MISSING, Kind, Value

CLASSES: tuple[type, ...] = (VmaMergeStruct,)
FIELDS = {pool_name(cls): tuple(a.name for a in attrs.fields(cls)) for cls in CLASSES}
"""Name of the struct in C → its fields."""


def structs() -> list[str]:
    """Return the declarations of all such structs."""
    return [f"struct {name} {{ int {', '.join(fields)}; }};" for name, fields in FIELDS.items()]


def is_local(cls: Any) -> bool:  # noqa: ANN401
    """Return whether a call of `cls` makes such a struct."""
    return isinstance(cls, type) and cls in CLASSES


def make(body: Body, cls: Any, node: ast.Call) -> Value:  # noqa: ANN401
    """Translate ``VmaMergeStruct(mm=mm, …)``: declare a C variable, and assign its fields."""
    if node.args:
        body.refuse(node, f"{cls.__name__} must get its fields by name")
    given = {str(k.arg): body.number(k.value) for k in node.keywords}
    values = given | {
        a.name: _default(body, a, node) for a in attrs.fields(cls) if a.name not in given
    }
    name, struct = body.temp(), pool_name(cls)
    body.declared.append(f"struct {struct} {name};")
    sets = ", ".join(f".{field} = {{{i}}}" for i, field in enumerate(values))
    text = f"({{{{ {name} = (struct {struct}){{{{{sets}}}}}; &{name}; }}}})"
    return Value(body.ordered(list(values.values()), text), Kind("local", struct), busy=True)


def _default(body: Body, field: "attrs.Attribute[Any]", node: ast.Call) -> Value:
    value = MISSING if field.default is attrs.NOTHING else field.default
    if value is MISSING:
        body.refuse(node, f"field {field.name} is missing")
    return constant(body.program, value)


def field(body: Body, base: Value, node: ast.Attribute) -> str:
    """Return the C code of a field."""
    if node.attr not in FIELDS[base.kind.of]:
        body.refuse(node, f"{base.kind.of} has no field {node.attr!r}")
    return f"({base.code})->{node.attr}"
