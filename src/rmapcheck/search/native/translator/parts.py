"""Parts of a scheme: objects that are class attributes and contain only constants.

::

    class Avc70(AvcScheme):
        i_mmap = IntervalTree()              self.i_mmap.foreach(st, …)      its method, in C
        era = Era(mremap_many=True)          st.scheme.era.mremap_many       1, in C

A part may contain further parts. Attributes that may change while the model runs are not constants
and are refused: those of an object whose class is not frozen, and lists, dicts and sets.
"""

import inspect
from typing import Any

from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.translator.kinds import PoolFacts, ScopeFacts, StateFacts, Value

FROZEN = Value.__setattr__
"""attrs gives this method to every frozen class."""


def is_part(value: Any) -> bool:  # noqa: ANN401
    """Return whether `value` is an object of a class that is written in Python."""
    if type(value).__module__ == "builtins":
        return False
    facts = StateFacts | ScopeFacts | PoolFacts
    return not isinstance(value, int | str | tuple | dict | Scheme | facts)


def why_not_constant(part: object, name: str) -> str:
    """Return why attribute `name` of `part` is not a constant, or "" if it is one."""
    cls = type(part)
    try:
        found = inspect.getattr_static(part, name)
    except AttributeError:
        return f"{cls.__name__} has no attribute {name!r}"
    if cls.__setattr__ is not FROZEN and (is_own(part, name) or inspect.isdatadescriptor(found)):
        return f"{cls.__name__}.{name} may change; {cls.__name__} must be a frozen class"
    value = getattr(part, name)
    changing = _changing(value)
    if changing is None:
        return ""
    verb = "is" if changing is value else "holds"
    return f"{cls.__name__}.{name} {verb} a {type(changing).__name__}, which may change"


def is_own(part: object, name: str) -> bool:
    """Return whether `name` is an attribute of the object itself, not of its class."""
    return name in getattr(part, "__dict__", {})


def _changing(value: object) -> object | None:
    """Return `value` if it is a list, dict or set, or the first one in it; otherwise None."""
    if isinstance(value, tuple | frozenset):
        return next((c for v in value if (c := _changing(v)) is not None), None)
    return value if isinstance(value, list | dict | set | bytearray) else None
