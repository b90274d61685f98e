"""Functions with a changed syntax tree: new code to interpret, and a new tree to translate."""

import ast
import copy
import inspect
from types import CodeType, FunctionType

import attrs

from rmapcheck.search.native.translator.source import REPLACED, Definition, definition


def code_of(function: FunctionType, node: ast.FunctionDef) -> CodeType:
    """Return the code of `node` as if it stood where `function` stands in its file."""
    old = function.__code__
    outside = [ast.parse(f"{n} = None").body[0] for n in old.co_freevars if n != "__class__"]
    # Inside a class, for super() and for names such as self.__count.
    names = function.__qualname__.split(".")
    if "__class__" in old.co_freevars:
        node = copy.copy(node)
        node.body = [ast.Expr(ast.Name("__class__", ast.Load())), *node.body]  # keeps it free
    inside = ast.ClassDef(names[-2] if len(names) > 1 else "_", [], [], [node], [])
    if inside.name not in old.co_freevars:  # else the function would take it from outer()
        outside.append(ast.Global([inside.name]))
    holder = ast.parse("def outer(): pass")
    holder.body[0].body = [*outside, inside]  # type: ignore[attr-defined]
    ast.fix_missing_locations(holder)
    new = compile(holder, old.co_filename, "exec", dont_inherit=True)
    for name in ("outer", inside.name, old.co_name):
        new = next(c for c in new.co_consts if inspect.iscode(c) and c.co_name == name)
    return new.replace(co_qualname=old.co_qualname)


class Replaced:
    """A function that has a changed syntax tree until `undo`."""

    def __init__(self, function: FunctionType, node: ast.FunctionDef) -> None:
        self.function = function
        self.code = function.__code__
        self.before = REPLACED.get(function)
        now = attrs.evolve(definition(function), node=node)
        function.__code__ = code_of(function, node)
        REPLACED[function] = now

    def undo(self) -> None:
        """Give the function what it had before."""
        self.function.__code__ = self.code
        del REPLACED[self.function]
        if self.before is not None:
            REPLACED[self.function] = self.before


def changed(function: FunctionType, node: ast.FunctionDef) -> FunctionType:
    """Return another function like `function`, with the syntax tree `node`."""
    new = FunctionType(
        code_of(function, node),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    new.__kwdefaults__ = function.__kwdefaults__
    new.__qualname__ = function.__qualname__
    new.__module__ = function.__module__
    REPLACED[new] = Definition(new, node, definition(function).file)
    return new
