"""Every scheme and every seeded bug that comes with rmapcheck, by name.

A bug is one decision of one scheme; `BUG@SCHEME` is the same decision in a later scheme that still
makes it, as in ``B04@avc-6.0``: what that bug would do to the kernels of today.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from rmapcheck.model import bugs as bug_files
from rmapcheck.model import schemes as scheme_files
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
    """Return the schemes that behave in a way of their own.

    A class that says nothing but which kernels it speaks of, and what they had or lacked, is its
    base under another name.
    """
    said = ("name", "title", "kernels", "flaws", "lacks")
    return {
        name: cls
        for name, cls in schemes().items()
        if len(cls.__bases__) > 1 or any(a not in said and a[0] != "_" for a in vars(cls))
    }


@cache
def every_scheme() -> dict[str, type[Scheme]]:
    """Return all schemes by name, in the order of history (as written in their files)."""
    known = {m.__name__.rpartition(".")[2]: m for m in _modules(scheme_files)}
    return {cls.name: cls for name in scheme_files.HISTORY for cls in _classes_in(known[name])}


@cache
def bugs() -> dict[str, type[Scheme]]:
    """Return the seeded bugs by name, such as ``B23``."""
    return {cls.name: cls for module in _modules(bug_files) for cls in _classes_in(module)}


def bug_of(cls: type[Scheme]) -> Bug:
    """Return what a class in model/bugs declares of its bug."""
    if cls.bug is None:
        raise SchemeError(f"{cls.name} is in model/bugs and declares no bug: write `bug = Bug(…)`")
    return cls.bug


def mended(cls: type[Scheme]) -> type[Scheme]:
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
    """Return the bug's decision in a scheme that descends from the bug's own."""
    base = mended(bug)
    if not issubclass(scheme, base):
        raise SchemeError(
            f"{name}: {bug.name} is a decision of {base.name}, from which {scheme.name} does not "
            "descend; choose a later scheme of the same kind"
        )
    own: dict[str, object] = {
        "title": scheme.title,
        "kernels": "none",
        "bug": bug.bug,
        "__doc__": bug.__doc__,
    }
    own |= {"name": name, "__module__": scheme.__module__}
    made: type[Scheme] = type(name, (bug, scheme), own)
    return made
