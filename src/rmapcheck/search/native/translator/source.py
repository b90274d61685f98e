"""Finds the source of a function of the model; the error for what cannot be translated."""

import ast
import inspect
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NoReturn

import attrs


class Untranslatable(Exception):  # noqa: N818 - not an error: the search runs interpreted instead
    """A part of the model is outside the subset of Python that can be translated to C.

    The text is one sentence with file, line and reason.
    """

    def __init__(self, file: str, line: int, reason: str) -> None:
        self.file = file
        self.line = line
        self.reason = reason
        super().__init__(f"{file}:{line}: {reason}.")


@attrs.frozen
class Definition:
    """A Python function and its syntax tree."""

    function: Any
    """A FunctionType; mypy would take it for a method of this class."""
    node: ast.FunctionDef
    file: str

    @property
    def generator(self) -> bool:
        """Return whether the function is a generator."""
        return inspect.isgeneratorfunction(self.function)

    def parameters(self) -> list[str]:
        """Return the names of all parameters, in order."""
        a = self.node.args
        return [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]

    def refuse(self, node: ast.AST, reason: str) -> NoReturn:
        """Raise Untranslatable for a node of this function."""
        raise Untranslatable(self.file, getattr(node, "lineno", 0), reason)


Place = tuple[str, int]
"""Name and first line (a decorator's, if there is one) of a function in its file."""


def _function_nodes(body: Sequence[ast.AST]) -> Iterator[ast.FunctionDef]:
    """Yield the functions among statements. `ast.walk` would also visit every expression."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            inner = getattr(node, part, ())
            if isinstance(inner, list):
                yield from _function_nodes(inner)


@lru_cache(maxsize=200)
def _functions(
    file: str, stamp: tuple[int, int]
) -> tuple[dict[Place, ast.FunctionDef], dict[Place, CodeType]]:
    """Return syntax trees and code objects of all functions of a file.

    `stamp` is the file's time and size, so that a changed file is not taken from the cache.
    """
    tree = ast.parse(Path(file).read_bytes())
    nodes = {}
    for node in _function_nodes(tree.body):
        lines = [node.lineno, *(d.lineno for d in node.decorator_list)]
        nodes[node.name, min(lines)] = node
    codes: dict[Place, CodeType] = {}
    waiting = [compile(tree, file, "exec", dont_inherit=True)]
    while waiting:
        inner = [c for c in waiting.pop().co_consts if isinstance(c, CodeType)]
        codes |= {(c.co_name, c.co_firstlineno): c for c in inner}
        waiting += inner
    return nodes, codes


REPLACED: dict[FunctionType, Definition] = {}
"""Functions whose code was replaced since they were loaded, and what they are now."""


def definition(function: FunctionType) -> Definition:
    """Return the source of `function`. Raise Untranslatable if it cannot be found."""
    return REPLACED.get(function) or _in_file(function)


@cache
def _in_file(function: FunctionType) -> Definition:
    code = function.__code__
    file = inspect.getsourcefile(function)
    if file is None or not Path(file).is_file():
        raise Untranslatable(
            code.co_filename, code.co_firstlineno, f"{function.__name__}() has no source file"
        )
    state = Path(file).stat()
    nodes, codes = _functions(file, (state.st_mtime_ns, state.st_size))
    place = (code.co_name, code.co_firstlineno)
    node = nodes.get(place)
    if node is None or codes.get(place) != code:
        what = "a lambda, or the file has changed since it was loaded"
        raise Untranslatable(file, code.co_firstlineno, f"{function.__qualname__}() is {what}")
    return Definition(function, node, file)
