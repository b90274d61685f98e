"""Every scheme and every seeded bug that comes with rmapcheck, by name."""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

import model.bugs
import model.schemes
from model.scheme import Scheme


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
    """Return the schemes by name, in the order of history (as written in their files)."""
    known = {m.__name__.rpartition(".")[2]: m for m in _modules(model.schemes)}
    return {cls.name: cls for name in model.schemes.HISTORY for cls in _classes_in(known[name])}


@cache
def bugs() -> dict[str, type[Scheme]]:
    """Return the seeded bugs by name, such as ``B23``."""
    return {cls.name: cls for module in _modules(model.bugs) for cls in _classes_in(module)}
