"""Where a function of the model is written, and the complaint about what cannot be translated."""

import ast
import inspect
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import attrs


class Untranslatable(Exception):  # noqa: N818 - it is no error: the search runs interpreted instead
    """A piece of the model lies outside the subset of Python that becomes C.

    The text is one sentence that names file, line and reason.
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
        """Tell whether the function yields."""
        return inspect.isgeneratorfunction(self.function)

    def parameters(self) -> list[str]:
        """Return the names of all parameters, in order."""
        a = self.node.args
        return [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]


@cache
def _functions(file: str) -> dict[tuple[str, int], ast.FunctionDef]:
    """Return all functions of a file by name and first line (a decorator's, if there is one)."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = [node.lineno, *(d.lineno for d in node.decorator_list)]
            found[node.name, min(lines)] = node
    return found


@cache
def definition(function: FunctionType) -> Definition:
    """Return where `function` is written. Raise Untranslatable if that cannot be found out."""
    code = function.__code__
    file = inspect.getsourcefile(function)
    if file is None or not Path(file).is_file():
        raise Untranslatable(
            code.co_filename, code.co_firstlineno, f"{function.__name__}() has no source file"
        )
    node = _functions(file).get((code.co_name, code.co_firstlineno))
    if node is None:
        raise Untranslatable(
            file,
            code.co_firstlineno,
            f"{function.__qualname__}() is not there: a lambda, or the file has changed",
        )
    return Definition(function, node, file)
