"""Every scheme and every seeded bug that comes with rmapcheck, by name.

A bug is one decision of one scheme; `BUG@SCHEME` is the same decision in a later scheme that still
makes it, as in ``B04@avc-6.0``: what that bug would do to the kernels of today.
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
    """Return the schemes by name, in the order of history, but for those that never held."""
    return {name: cls for name, cls in every_scheme().items() if not cls.never_held}


@cache
def machines() -> dict[str, type[Scheme]]:
    """Return the schemes that behave in a way of their own: one of each design and its facts.

    The others are rows with the facts of a kernel before, and so its base under another name.
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
    """Return the class that a scheme is written as; a row's is that of its table."""
    design: type[Scheme] = vars(cls).get("design", cls)
    return design


@cache
def every_scheme() -> dict[str, type[Scheme]]:
    """Return all schemes by name, in the order of history: each design, then its rows."""
    known = {m.__name__.rpartition(".")[2]: m for m in _modules(scheme_files)}
    designs = [cls for file in scheme_files.HISTORY for cls in _classes_in(known[file])]
    return {c.name: c for cls in designs for c in (cls, *(_of_row(cls, r) for r in cls.rows))}


def _of_row(design: type[Scheme], row: Row) -> type[Scheme]:
    """Return the scheme of one row of a design's table."""
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
    """Return what a class in model/bugs declares of its bug."""
    if cls.bug is None:
        raise SchemeError(f"{cls.name} is in model/bugs and declares no bug: write `bug = Bug(…)`")
    return cls.bug


def without_bug(cls: type[Scheme]) -> type[Scheme]:
    """Return the scheme that a bug's class is, without the bug; any other is returned itself."""
    return next(c for c in cls.__mro__ if issubclass(c, Scheme) and c.bug is None)


@cache
def built_in(name: str) -> type[Scheme] | None:
    """Return the scheme, bug, or ``BUG@SCHEME`` of that name; None if there is none.

    Raise SchemeError where the scheme does not make the decision that the bug changes.
    """
    bug, at, scheme = name.partition("@")
    if not at:
        return every_scheme().get(name) or bugs().get(name)
    if bug not in bugs() or scheme not in schemes():
        return None
    return _grafted(name, bugs()[bug], schemes()[scheme])


def _grafted(name: str, bug: type[Scheme], scheme: type[Scheme]) -> type[Scheme]:
    """Return the bug's decision in another scheme."""
    base = without_bug(bug)
    facts = _changed(bug.era, base.era)
    if not issubclass(scheme, base) and not _of_the_core(bug, facts, scheme):
        raise SchemeError(
            f"{name}: {bug.name} is a decision of {base.name}, from which {scheme.name} does not "
            "descend; choose a later scheme of the same kind"
        )
    own: dict[str, object] = {
        "title": scheme.title,
        "era": attrs.evolve(scheme.era, kernels="none", **facts),
        "bug": bug.bug,
        "__doc__": bug.__doc__,
    }
    own |= {"name": name, "__module__": scheme.__module__}
    bases = (bug, scheme) if issubclass(scheme, base) else (scheme,)
    made: type[Scheme] = type(name, bases, own)
    return made


def _changed(era: Era, base: Era) -> dict[str, Any]:
    """Return the facts in which a bug's era differs from that of the scheme that had it."""
    values = attrs.asdict(era, recurse=False)
    return {name: value for name, value in values.items() if value != getattr(base, name)}


def _of_the_core(bug: type[Scheme], facts: dict[str, Any], scheme: type[Scheme]) -> bool:
    """Tell whether the bug is one of the MM core alone, and other kernels did better."""
    methods = [name for name, value in vars(bug).items() if inspect.isfunction(value)]
    return not methods and any(getattr(scheme.era, name) != facts[name] for name in facts)
