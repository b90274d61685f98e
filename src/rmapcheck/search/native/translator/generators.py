"""`yield`: there are no generators in C, but two uses of generators are translated.

::

    mode     function                  yield                              return
    plain    not a generator           refused                            its value
    check    an invariant              return 1: something is wrong       return 0
    offer    possible() of a class     write the operation to the list    return 0
             of operations
"""

import ast
from types import FunctionType

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.functions import bind, invoke
from rmapcheck.search.native.translator.resolve import Callee, resolve, resolve_method
from rmapcheck.search.native.translator.source import definition


def yield_(body: Body, node: ast.Yield) -> None:
    """``yield x``."""
    if body.mode == "check":
        body.emit("return 1;")
    elif body.mode == "offer" and node.value is not None:
        op = body.expr(node.value)
        if op.kind.name != "operation":
            body.refuse(node, "possible() must yield operations")
        body.emit(f"*offer(st) = *({op.code});")
    else:
        body.refuse(node, "a generator must be an invariant or possible() of an operation")


def yield_from(body: Body, node: ast.YieldFrom) -> None:
    """Translate ``yield from f(…)``: the generator f is translated in the same mode."""
    call = node.value
    if not isinstance(call, ast.Call):
        body.refuse(node, "`yield from` is translated for calls only")
    callee = _generator(body, call)
    called = definition(callee.function)
    value = invoke(body, called, bind(body, called, callee.bound, call), body.mode, call)
    if body.mode == "check":
        body.emit(f"if ({value.code}) return 1;")
    else:
        body.emit(f"{value.code};")


def _generator(body: Body, call: ast.Call) -> Callee:
    callee = None
    if isinstance(call.func, ast.Name):
        function = body.constants.lookup(call.func.id)
        callee = Callee(function) if isinstance(function, FunctionType) else None
    elif isinstance(call.func, ast.Attribute):
        callee = resolve(body, call.func)
        if callee is None:
            callee = resolve_method(body, body.expr(call.func.value), call.func)
    return callee or body.refuse(call, "this generator is not translated")
