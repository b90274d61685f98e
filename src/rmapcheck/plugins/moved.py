"""New places of the modules and names of earlier versions of rmapcheck.

`model` and `invariants` used to be top-level packages, and most modules of rmapcheck were at its
root. A user's file with such an import gets a one-sentence error that says what to import now.
"""

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import rmapcheck

RENAMED = {
    "invariants.logic": "rmapcheck.logic",
    "model.i_mmap": "rmapcheck.model.i_mmap.list",
    "model.i_mmap_prio_tree": "rmapcheck.model.i_mmap.prio_tree",
    "model.prio_tree": "rmapcheck.model.i_mmap.radix",
    "rmapcheck.machine": "rmapcheck.sampling.fuzz",
    "rmapcheck.case": "rmapcheck.cases.case",
    "rmapcheck.case_json": "rmapcheck.cases.reader",
    "rmapcheck.case_schema": "rmapcheck.cases.schema",
    "rmapcheck.film": "rmapcheck.report.recording",
    "rmapcheck.native.build": "rmapcheck.host.compile",
    "rmapcheck.prove.specs": "rmapcheck.specs",
    "rmapcheck.search": "rmapcheck.search.interpreted",
    "rmapcheck.kernel.predict": "rmapcheck.oracle.predict",
    "rmapcheck.walk": "rmapcheck.sampling.walk",
}
"""Modules whose last name has changed, or is now the last name of several modules."""

ROWS = {
    "AnonVma2615": "anon_vma-2.6.15",
    "AnonVma2616": "anon_vma-2.6.16",
    "AnonVma2621": "anon_vma-2.6.21",
    "AnonVma2623": "anon_vma-2.6.23",
    "AnonVma2632": "anon_vma-2.6.32",
}
"""Classes of earlier versions that are rows of a table now, and the names of these schemes."""

PACKAGES = ("model", "invariants", "rmapcheck")


def import_hint(file: str, line: int) -> str:
    """Return what to write instead of the import at that line; "" if nothing of ours has moved."""
    for module, names in _imports_at(file, line):
        if module.partition(".")[0] in PACKAGES:
            hint = _hint(module, names)
            if hint:
                return hint
    return ""


def _imports_at(file: str, line: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each module that is imported at a line, with the names that are imported from it."""
    for node in ast.walk(ast.parse(Path(file).read_bytes())):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if not node.lineno <= line <= (node.end_lineno or line):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif node.module and not node.level:
            yield node.module, [alias.name for alias in node.names]


def _hint(module: str, names: list[str]) -> str:
    """Return where a module, or names of it, are now, as a sentence; "" if nothing has moved."""
    for name in names:
        if name in ROWS:
            return (
                f"`{name}` is no longer a class: use `schemes()[{ROWS[name]!r}]`, "
                "with schemes from rmapcheck.plugins.catalogue"
            )
    new = new_name(module)
    moved = {name: place for name in names if (place := _place_of(name, new))}
    facts = [f"`{name}` is now in `{place}`" for name, place in moved.items()]
    if new not in ("", module) and (len(moved) < len(names) or not names):
        facts.insert(0, f"`{module}` is now called `{new}`")
    if not facts:
        return ""
    what = "them" if len(facts) > 1 else "that" if not moved else "it"
    return f"{' and '.join(facts)}: import {what} {'from there' if moved else 'instead'}"


def _place_of(name: str, module: str) -> str:
    """Return the module in which `name` is now; "" if `module` has it, or if that is not clear.

    Modules of the same room come first: `model`, for example.
    """
    if not module or _has(module, name):
        return ""
    root = Path(str(rmapcheck.__file__)).parent
    defined = re.compile(rf"^(?:class |def )?{name}\b(?:[(:]| [:=])", re.MULTILINE)
    for folder in (root / module.split(".")[1], root):
        found = [p for p in folder.rglob("*.py") if defined.search(p.read_text("utf-8"))]
        if len(found) == 1:
            return _module_of(found[0])
        if found:
            break
    return ""


def _has(module: str, name: str) -> bool:
    if _if_exists(f"{module}.{name}"):
        return True
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return True


def _module_of(path: Path) -> str:
    root = Path(str(rmapcheck.__file__)).parent
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(("rmapcheck", *parts)).removesuffix(".__init__")


def new_name(old: str) -> str:
    """Return the present name of the module `old` of an earlier version; "" if there is none."""
    for name, new in RENAMED.items():
        if old == name or old.startswith(name + "."):
            return _if_exists(new + old.removeprefix(name))
    name = old if old.startswith("rmapcheck.") else f"rmapcheck.{old}"
    return _if_exists(name) or _same_last_name(name)


def _if_exists(name: str) -> str:
    try:
        return name if importlib.util.find_spec(name) else ""
    except ModuleNotFoundError:
        return ""


def _same_last_name(name: str) -> str:
    """Return the module with the last name of `name`; "" unless there is exactly one."""
    root = Path(str(rmapcheck.__file__)).parent
    room, last = name.split(".")[1], name.rpartition(".")[2]
    within = root / room if room in ("model", "invariants") else root
    found = list(within.rglob(f"{last}.py"))
    if len(found) != 1:
        return ""
    return _module_of(found[0])
