"""No file imports, through whatever others, a file that imports it.

Imports for type checkers count, and so do those inside functions: a reader follows them too. Which
room may import which is checked by import-linter (pyproject.toml).
"""

import ast
from glob import glob
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"


def modules():
    """Return every module of the package, and its file."""
    found = {}
    for name in glob("rmapcheck/**/*.py", root_dir=SRC, recursive=True):  # noqa: PTH207 - follows links
        module = name.removesuffix(".py").removesuffix("/__init__")
        found[module.replace("/", ".")] = SRC / name
    return found


def imported(tree, known):
    """Yield the modules of ours that a file names in its imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield from [m for m in (whole, node.module) if m in known][:1]


def in_circles(imports):
    """Return the modules of circles, and those on a way from one circle to another.

    What imports nothing that is left, or is imported by nothing that is left, is taken away again
    and again.
    """
    left = set(imports)
    while True:
        used = set().union(*(imports[module] & left for module in left))
        kept = {module for module in used if imports[module] & left}
        if kept == left:
            return sorted(left)
        left = kept


def test_no_file_imports_itself_through_others():
    files = modules()
    assert {"rmapcheck.cli.common", "rmapcheck.model.scheme", "rmapcheck.invariants.goals"} < set(
        files
    )
    imports = {}
    for module, path in files.items():
        imports[module] = set(imported(ast.parse(path.read_text(encoding="utf-8")), files))
        imports[module].discard(module)
    assert in_circles(imports) == []


def test_a_circle_is_found():
    tree = ast.parse("def f():\n    if TYPE_CHECKING:\n        from a.b import c, d\n")
    assert set(imported(tree, {"a.b", "a.b.c"})) == {"a.b", "a.b.c"}
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == ["b", "c"]
