"""Which lines and branches of some functions a search has run: their *arms*.

The functions are compiled again, with a call of `covered` at the start of each arm::

    def may_reuse(self, st, vma):            def may_reuse(self, st, vma):
        if st.vma[vma].anon_vma:                 covered("mine.py:7 runs")
            return 0                 ──>         if st.vma[vma].anon_vma:
        return 1                                     covered("mine.py:8 true")
                                                     return 0
                                                 else:
                                                     covered("mine.py:8 false")
                                                 return 1

The interpreted search runs this code, and the search in C translates it, so both count the same
arms. Line numbers stay as they are in the file.

Not counted: what `and`, `or` and comprehensions skip; a conditional expression inside a larger
expression. An arm whose first line, or whose condition, has the comment ``# pragma: no cover`` (as
for coverage.py) is not an arm.
"""

import ast
import copy
import linecache
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType

import attrs

from rmapcheck.search.arms import covered
from rmapcheck.search.native.translator.source import Definition, Untranslatable, definition
from rmapcheck.search.recompile import Replaced

EXCLUDED = "# pragma: no cover"
_NAME = "__rmapcheck_covered__"


@attrs.frozen
class Arm:
    """A place in a function that is run or not."""

    file: str
    line: int
    what: str
    """"runs" for the whole function, "true" and "false" for a condition, "body" for a loop."""
    function: str

    @property
    def key(self) -> str:
        """Return the text that is recorded for it."""
        return f"{self.file}:{self.line}: {self.function} {self.what}"

    @property
    def place(self) -> str:
        """Return file and line, for the beginning of a sentence."""
        path = Path(self.file)
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        return f"{path}, line {self.line}"

    @property
    def missed(self) -> str:
        """Return what is the case if it never ran, as a sentence without a full stop."""
        if self.what == "runs":
            return f"{self.function}() never runs"
        if self.what == "body":
            return f"the body of the loop in {self.function}() never runs"
        return f"the condition in {self.function}() is never {self.what}"


@contextmanager
def measured(functions: Iterable[FunctionType]) -> Iterator[tuple[Arm, ...]]:
    """Compile the functions again so that their arms are recorded; undo that at the end.

    Yields their arms. A function whose source cannot be found has none.
    """
    arms: list[Arm] = []
    replaced: list[Replaced] = []
    try:
        for function in functions:
            try:
                marked = _Marker(definition(function))
            except Untranslatable:
                continue
            replaced.append(Replaced(function, marked.node))
            function.__globals__[_NAME] = covered
            arms += marked.arms
        yield tuple(arms)
    finally:
        for one in reversed(replaced):
            one.undo()
            one.function.__globals__.pop(_NAME, None)


class _Marker(ast.NodeTransformer):
    """Adds the calls to a copy of a function's syntax tree."""

    def __init__(self, old: Definition) -> None:
        self.old = old
        self.arms: list[Arm] = []
        self.name = old.function.__qualname__
        node = copy.deepcopy(old.node)
        docstring = node.body[:1] if ast.get_docstring(node) is not None else []
        node.body = [*docstring, *self._arm(node, "runs", self._all(node.body[len(docstring) :]))]
        node.decorator_list = []
        self.node = ast.fix_missing_locations(node)

    def _all(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(_as_statement(node)) for node in body]

    def _arm(self, node: ast.AST, what: str, body: list[ast.stmt]) -> list[ast.stmt]:
        """Return the statements of an arm, with the call before them."""
        lines = {getattr(node, "lineno", 0), *(s.lineno for s in body[:1])}
        if any(EXCLUDED in linecache.getline(self.old.file, line) for line in lines):
            return body
        arm = Arm(self.old.file, getattr(node, "lineno", 0), what, self.name)
        self.arms.append(arm)
        name = ast.Name(_NAME, ast.Load())
        call: ast.stmt = ast.Expr(ast.Call(name, [ast.Constant(arm.key)], []))
        for part in ast.walk(call):
            ast.copy_location(part, node)
        return [call, *body]

    def visit_If(self, node: ast.If) -> ast.If:
        node.body = self._arm(node, "true", self._all(node.body))
        node.orelse = self._arm(node, "false", self._all(node.orelse))
        return node

    def visit_For(self, node: ast.For) -> ast.For:
        node.body = self._arm(node, "body", self._all(node.body))
        node.orelse = self._all(node.orelse)
        return node

    def visit_While(self, node: ast.While) -> ast.While:
        node.body = self._arm(node, "body", self._all(node.body))
        node.orelse = self._all(node.orelse)
        return node

    def visit_With(self, node: ast.With) -> ast.With:
        node.body = self._all(node.body)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node


def _as_statement(node: ast.stmt) -> ast.stmt:
    """Turn ``return a if c else b`` (and the same with =) into an if statement."""
    if not isinstance(node, ast.Return | ast.Assign) or not isinstance(node.value, ast.IfExp):
        return node
    arms = []
    for value in (node.value.body, node.value.orelse):
        arm = copy.copy(node)
        arm.value = value
        arms.append(arm)
    return ast.copy_location(ast.If(node.value.test, [arms[0]], [arms[1]]), node.value)
