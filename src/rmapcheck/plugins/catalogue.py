"""Every scheme and every seeded bug that comes with rmapcheck, by name.

A bug changes one decision of one scheme. `BUG@SCHEME` makes the same change in a later scheme that
still has this decision: ``B04@avc-6.0`` shows what the old bug B04 would do to a kernel of v6.0.
"""

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

import attrs

from rmapcheck.model import bugs as bug_files
from rmapcheck.model import schemes as scheme_files
from rmapcheck.model.era import Era, Row
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.scheme import Bug, Scheme


def _modules(package: ModuleType) -> list[ModuleType]:
    return [
        importlib.import_module(info.name)
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
    ]


def _classes_in(module: ModuleType) -> list[type[Scheme]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Scheme)
        and value.__module__ == module.__name__
        and "name" in vars(value)
    ]


@cache
def schemes() -> dict[str, type[Scheme]]:
    """Return the schemes by name, oldest first, without those marked `never_held`."""
    return {name: cls for name, cls in every_scheme().items() if not cls.never_held}


@cache
def machines() -> dict[str, type[Scheme]]:
    """Return one scheme for each behaviour, by name: the first with its design and its facts.

    The schemes left out are rows of a design whose facts are those of an earlier kernel, so they
    behave like the scheme of that kernel.
    """
    seen = set()
    found = {}
    for name, cls in schemes().items():
        behaviour = (design_of(cls), cls.era.facts())
        if behaviour not in seen:
            found[name] = cls
        seen.add(behaviour)
    return found


def design_of(cls: type[Scheme]) -> type[Scheme]:
    """Return the class in which a scheme is written; for a row, the class that has the table."""
    design: type[Scheme] = vars(cls).get("design", cls)
    return design


@cache
def every_scheme() -> dict[str, type[Scheme]]:
    """Return all schemes by name, oldest first: each design, followed by its rows."""
    known = {m.__name__.rpartition(".")[2]: m for m in _modules(scheme_files)}
    designs = [cls for file in scheme_files.HISTORY for cls in _classes_in(known[file])]
    rows = {cls: vars(cls).get("rows", ()) for cls in designs}
    return {c.name: c for cls in designs for c in (cls, *(_row_class(cls, r) for r in rows[cls]))}


def _row_class(design: type[Scheme], row: Row) -> type[Scheme]:
    """Return a subclass of `design` with the name and the era of one row of its table."""
    own: dict[str, object] = {
        "name": row.name,
        "title": row.title,
        "era": row.era,
        "rows": (),
        "design": design,
        "__doc__": row.doc,
        "__module__": design.__module__,
    }
    made: type[Scheme] = type(f"{design.__name__}Row", (design,), own)
    return made


@cache
def bugs() -> dict[str, type[Scheme]]:
    """Return the seeded bugs by name, such as ``B23``."""
    return {cls.name: cls for module in _modules(bug_files) for cls in _classes_in(module)}


def bug_of(cls: type[Scheme]) -> Bug:
    """Return the `Bug` that a class in model/bugs declares. Raise SchemeError if it has none."""
    if cls.bug is None:
        raise SchemeError(f"{cls.name} is in model/bugs and declares no bug: write `bug = Bug(…)`")
    return cls.bug


def without_bug(cls: type[Scheme]) -> type[Scheme]:
    """Return the scheme into which a bug was seeded. A scheme without a bug is returned as is."""
    return next(c for c in cls.__mro__ if issubclass(c, Scheme) and c.bug is None)


@cache
def built_in(name: str) -> type[Scheme] | None:
    """Return the scheme, the bug, or the ``BUG@SCHEME`` with that name; None if there is none.

    Raise SchemeError if the scheme does not have the decision that the bug changes.
    """
    bug, at, scheme = name.partition("@")
    if not at:
        return every_scheme().get(name) or bugs().get(name)
    if bug not in bugs() or scheme not in schemes():
        return None
    return _bug_in_scheme(name, bugs()[bug], schemes()[scheme])


def _bug_in_scheme(name: str, bug: type[Scheme], scheme: type[Scheme]) -> type[Scheme]:
    """Return `scheme` with the decision that `bug` changes, under the name BUG@SCHEME."""
    base = without_bug(bug)
    facts = _changed_facts(bug.era, base.era)
    inherits = issubclass(scheme, base)
    shares = _methods(bug) and issubclass(scheme, _declares_decisions_of(base))
    if not inherits and not shares and not _only_changes_facts(bug, facts, scheme):
        raise SchemeError(
            f"{name}: {bug.name} changes a decision of {base.name}, and {scheme.name} is not "
            "derived from that; choose a later scheme of the same design"
        )
    own: dict[str, object] = {
        "title": scheme.title,
        "era": attrs.evolve(scheme.era, kernels="none", **facts),
        "bug": bug.bug,
        "__doc__": bug.__doc__,
    }
    own |= {"name": name, "__module__": scheme.__module__}
    if not inherits:
        own |= _methods(bug)
    made: type[Scheme] = type(name, (bug, scheme) if inherits else (scheme,), own)
    return made


def _declares_decisions_of(base: type[Scheme]) -> type[Scheme]:
    """Return the class that has what all eras of a design share, if `base` adds no fields to it.

    Then a bug of `base`, such as avc-2.6.34, fits all eras. Otherwise return `base`.
    """
    parent: type[Scheme] = base.__bases__[0]
    is_shared = parent is not Scheme and not parent.name and parent.fields == base.fields
    return parent if is_shared else base


def _methods(cls: type[Scheme]) -> dict[str, object]:
    return {name: value for name, value in vars(cls).items() if inspect.isfunction(value)}


def _changed_facts(era: Era, base: Era) -> dict[str, Any]:
    """Return the facts of a bug's era that differ from those of its scheme, by name."""
    values = attrs.asdict(era, recurse=False)
    return {name: value for name, value in values.items() if value != getattr(base, name)}


def _only_changes_facts(bug: type[Scheme], facts: dict[str, Any], scheme: type[Scheme]) -> bool:
    """Return whether the bug overrides no method, and one of its facts differs in `scheme`.

    Facts are read by the MM core, which all schemes share, so such a bug fits any scheme.
    """
    return not _methods(bug) and any(getattr(scheme.era, name) != facts[name] for name in facts)
