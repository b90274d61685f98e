"""Calls: decides where a call is translated.

::

    kmem_cache_alloc(…), len(…)         C has its own code            intrinsics.py
    self.lock_of(…), vma_address(…)     function of the model         resolve.py, functions.py
    found.append(…), st.vma.is_live(…)  method of a list, of a pool   lists.py, intrinsics.py
    Fork(mm=1, child=2)                 an operation                  here
"""

import ast
from types import FunctionType

from rmapcheck.model.operations import Operation
from rmapcheck.search.native.translator import functions, intrinsics
from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import MISSING, WORDS, Kind, Value
from rmapcheck.search.native.translator.lists import list_method
from rmapcheck.search.native.translator.resolve import Callee, resolve, resolve_method


def call(body: Body, node: ast.Call) -> Value:
    """Translate any call."""
    func = node.func
    if isinstance(func, ast.Name):
        variable = body.variables.get(func.id)
        if variable is not None and variable.kind.name == "class":
            return _operation(body, variable.const, node)
        if variable is not None:
            body.refuse(node, f"{func.id} is a variable and cannot be called")
        return _call_global(body, func.id, node)
    if isinstance(func, ast.Attribute):
        return _call_attribute(body, func, node)
    return body.refuse(node, "only named functions can be called")


def _call_global(body: Body, name: str, node: ast.Call) -> Value:
    function = body.constants.lookup(name)
    known = intrinsics.of_model(body, function, node)
    if known is not None:
        return known
    if isinstance(function, FunctionType):
        return functions.call(body, Callee(function), node)
    if isinstance(function, type) and issubclass(function, Operation):
        return _operation(body, function, node)
    if not hasattr(function, "__name__"):
        why = "is not defined" if function is MISSING else "is not a function"
        body.refuse(node, f"{name} {why} in the module of this function")
    return intrinsics.builtin(body, function.__name__, node)


def _call_attribute(body: Body, func: ast.Attribute, node: ast.Call) -> Value:
    known = intrinsics.of_state(body, func, node)
    if known is not None:
        return known
    callee = resolve(body, func)
    if callee is not None:
        return functions.call(body, callee, node)
    if isinstance(body.constants.fold(func.value), str):
        return Value("", WORDS)
    base = body.expr(func.value)
    callee = resolve_method(body, base, func)
    if callee is not None:
        return functions.call(body, callee, node)
    if base.kind.name == "pool":
        return intrinsics.of_pool(body, base, func.attr, node)
    if base.kind.name in ("list", "rows", "array"):
        return list_method(body, base, func.attr, node)
    return body.refuse(node, f"{base.kind.noun} has no method {func.attr}() in C")


def _operation(body: Body, cls: type[Operation], node: ast.Call) -> Value:
    """Translate ``cls(mm=mm, …)``."""
    name = body.temp()
    body.declared.append(f"Op {name};")
    parts = [f".type = {body.program.operation_number(cls)}"]
    given = {k.arg: body.number(k.value) for k in node.keywords}
    for field, default in body.program.arguments(cls).items():
        value = given.pop(field, None)
        if value is None:
            value = constant(body.program, default)
        parts.append(f".{field} = {value.code}")
    if given or node.args:
        body.refuse(node, f"{cls.__name__} does not take these arguments")
    code = f"({{ {name} = (Op){{{', '.join(parts)}}}; &{name}; }})"
    return Value(code, Kind("operation", cls.__name__), busy=True)
