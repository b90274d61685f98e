"""New names for the modules of earlier versions of rmapcheck.

`model` and `invariants` used to be top-level packages, and most modules of rmapcheck were at its
root. A user's file with such an import gets a one-sentence error with the new name.
"""

import importlib.util
import linecache
import re
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
    "rmapcheck.prove.specs": "rmapcheck.specs",
    "rmapcheck.search": "rmapcheck.search.interpreted",
    "rmapcheck.kernel.predict": "rmapcheck.oracle.predict",
    "rmapcheck.walk": "rmapcheck.sampling.walk",
}
"""Modules whose last name has changed, or is now the last name of several modules."""

IMPORT = re.compile(r"\s*(?:from|import)\s+((?:model|invariants|rmapcheck)(?:\.\w+)*)")


def import_hint(file: str, line: int) -> str:
    """Return what to import instead of what that line imports; "" if it is not one of ours."""
    found = IMPORT.match(linecache.getline(file, line))
    new = new_name(found[1]) if found else ""
    return f"`{found[1]}` is now called `{new}`: import that instead" if found and new else ""


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
    return ".".join(("rmapcheck", *found[0].relative_to(root).with_suffix("").parts))
