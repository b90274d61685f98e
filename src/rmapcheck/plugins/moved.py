"""What to write now in place of an import that an earlier version of rmapcheck had.

`model` and `invariants` were top-level packages, and most modules of rmapcheck lay at its root.
A scheme, spec or test of a user's own that was written then gets one sentence with the new name.
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
"""Modules whose last name changed, or is that of several modules now."""

IMPORT = re.compile(r"\s*(?:from|import)\s+((?:model|invariants|rmapcheck)(?:\.\w+)*)")


def import_hint(file: str, line: int) -> str:
    """Return what to write for the import in that line, or "" if it is none of ours."""
    found = IMPORT.match(linecache.getline(file, line))
    new = new_name(found[1]) if found else ""
    return f"`{found[1]}` is `{new}` now: write that in its place" if found and new else ""


def new_name(old: str) -> str:
    """Return what module `old` of an earlier version is called now, or ""."""
    for name, new in RENAMED.items():
        if old == name or old.startswith(name + "."):
            return _there(new + old.removeprefix(name))
    name = old if old.startswith("rmapcheck.") else f"rmapcheck.{old}"
    return _there(name) or _elsewhere(name)


def _there(name: str) -> str:
    try:
        return name if importlib.util.find_spec(name) else ""
    except ModuleNotFoundError:
        return ""


def _elsewhere(name: str) -> str:
    """Return the one module of the same last name, below the same first rooms."""
    root = Path(str(rmapcheck.__file__)).parent
    room, last = name.split(".")[1], name.rpartition(".")[2]
    within = root / room if room in ("model", "invariants") else root
    found = list(within.rglob(f"{last}.py"))
    if len(found) != 1:
        return ""
    return ".".join(("rmapcheck", *found[0].relative_to(root).with_suffix("").parts))
