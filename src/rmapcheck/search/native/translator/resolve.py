"""Finds the Python function that a call means. It is always known while translating.

::

    st.scheme.anon_vma_fork(…), self.lock_of(…)   method of the searched scheme, along its MRO
    super().folio_remove_rmap(…)                  the next one along the MRO after this function
    self.i_mmap.insert(…)                         method of a part of the scheme (parts.py)
    Fork.possible(…), cls.offers(…)               method of a class
    op.targets(…)                                 method of an operation
    locks.rank(…), vma_address(…)                 function of a module
"""

import ast
from types import FunctionType
from typing import Any

import attrs

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import Value
from rmapcheck.search.native.translator.parts import is_own, is_part


@attrs.frozen
class Callee:
    """A function of the model, and the arguments that are already bound to it."""

    function: Any
    """A FunctionType; mypy would take it for a method of this class."""
    bound: tuple[Value, ...] = ()
    """`self` or `cls`, or nothing."""


def resolve(body: Body, func: ast.Attribute) -> Callee | None:
    """Return what `func` means; None if that is known only after its base is translated."""
    if isinstance(func.value, ast.Call) and _is_super(func.value):
        return _next_method(body, func)
    base = body.constants.fold(func.value)
    if isinstance(base, type):
        return _method(body, base, func.attr, constant(body.program, base), func)
    if is_part(base):
        return _method_of_part(body, base, func)
    function = getattr(base, func.attr, None)
    return Callee(function) if isinstance(function, FunctionType) else None


def resolve_method(body: Body, base: Value, func: ast.Attribute) -> Callee | None:
    """Return method `func` of a value; None if values of its kind have none in Python."""
    if base.kind.name == "scheme":
        return _method(body, type(base.const), func.attr, base, func)
    if base.kind.name == "operation":
        return _method(body, body.program.operations[base.kind.of], func.attr, base, func)
    return None


def _method_of_part(body: Body, part: object, func: ast.Attribute) -> Callee:
    if is_own(part, func.attr):
        body.refuse(func, f"{func.attr} is not a method of the class {type(part).__name__}")
    return _method(body, type(part), func.attr, constant(body.program, part), func)


def _method(body: Body, cls: type, name: str, base: Value, node: ast.AST) -> Callee:
    """Return method `name` of class `cls`, found along its MRO, for the object `base`."""
    for owner in cls.__mro__:
        found = vars(owner).get(name)
        function = getattr(found, "__func__", found)
        if isinstance(function, FunctionType):
            return _bound(body, cls, found, base)
    return body.refuse(node, f"{cls.__name__} has no method {name}()")


def _bound(body: Body, cls: type, found: object, base: Value) -> Callee:
    """Return what `base.name` means in Python if the class contains `found`; or `cls.name`."""
    if isinstance(found, classmethod):
        return Callee(found.__func__, (constant(body.program, cls),))
    if isinstance(found, staticmethod):
        return Callee(found.__func__)
    return Callee(found, () if base.const is cls else (base,))


def _next_method(body: Body, func: ast.Attribute) -> Callee:
    """Return what ``super().name`` means: the next one in the MRO after this function's class."""
    own = body.definition.function
    values = body.variables.values()
    self_ = next((v for v in values if v.kind.name in ("scheme", "part")), None)
    mro = type(self_.const).__mro__ if self_ else ()
    here = (i for i, c in enumerate(mro) if vars(c).get(body.definition.node.name) is own)
    at = next(here, len(mro))
    for cls in mro[at + 1 :]:
        if self_ and func.attr in vars(cls):
            return _bound(body, type(self_.const), vars(cls)[func.attr], self_)
    where = own.__qualname__.rpartition(".")[0]
    return body.refuse(func, f"super() of {where} has no {func.attr}()")


def _is_super(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "super" and not call.args
