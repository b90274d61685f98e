"""The structs and fields that the states of one scheme have in one scope.

They are collected from the declarations of structs and schemes (num(), ref(), refs()). How states
are stored and compared is in layout.py.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import attrs

from rmapcheck.model.machine.errors import SchemeError, ScopeError
from rmapcheck.model.machine.heap import refs
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import CORE

FIXED = ("mm", "pte", "address_space")
"""Structs whose objects have fixed names, which are their numbers: processes, entries, files."""


class Declares(Protocol):
    """What a scheme's class declares about its structs. `Scheme` explains each attribute."""

    name: ClassVar[str]
    structs: ClassVar[tuple[type, ...]]
    fields: ClassVar[dict[str, tuple[str, ...]]]
    extra_fields: ClassVar[dict[str, dict[str, Any]]]
    i_mmap: ClassVar[Any]
    """The container of a file's VMAs, which has its own `fields`."""
    maps_files: ClassVar[bool]


@attrs.frozen
class FieldInfo:
    """One stored byte. `name` is the field's name, with the index in an array: ``ptes[0]``."""

    name: str
    high: int
    target: str = ""
    weak: bool = False
    limit: str = ""
    """The attribute of the Scope that `high` is, if it is one."""
    when: str = ""
    """The attribute of the Scope without which the field does not exist, if there is one."""
    length: str = ""
    """The attribute of the Scope that is the array's length, if it is one."""


@attrs.frozen
class StructInfo:
    """One struct as this scheme has it in this scope."""

    name: str
    cls: type
    size: int
    fields: tuple[FieldInfo, ...]


class Shape:
    """The structs of all states of `scheme` in `scope`; layout.py explains `named`."""

    def __init__(self, scope: Scope, scheme: type[Declares], named: tuple[str, ...] = ()) -> None:
        self.scope = scope
        self.scheme = scheme
        self.named = named
        if scope.files and not scheme.maps_files:
            msg = f"scheme {scheme.name!r} does not model files: choose a scope with files=0"
            raise ScopeError(msg)
        classes = {n: cls for n, cls in CORE.items() if n != "address_space" or scope.files}
        for cls in scheme.structs:
            classes[pool_name(cls)] = cls
        sizes = pool_sizes(scope, classes)
        self.structs = {n: self._struct(n, c, sizes) for n, c in classes.items()}
        self.heap = tuple(n for n in self.structs if n not in FIXED)
        for name in named:
            if name not in ("mm", *self.heap):
                msg = f"{name!r} cannot be named: the states of {scheme.name} have no such pool"
                raise SchemeError(msg)

    def _struct(self, name: str, cls: type, sizes: dict[str, int]) -> StructInfo:
        own = dict(self.scheme.extra_fields.get(name, {}))
        container = self.scheme.i_mmap.fields.get(name, {}) if self.scope.files else {}
        extra = own | container
        chosen = self.scheme.fields.get(name)
        cls = _with_fields(cls, extra | _measured(cls, self.scope))
        infos: list[FieldInfo] = []
        for attribute in attrs.fields(cls):
            if name in CORE:
                listed = attribute.name in (chosen or ()) or attribute.name in own
                active = listed or _active(attribute.metadata, self.scope)
            else:
                listed = chosen is None or attribute.name in (*chosen, *own)
                active = listed
            if active or attribute.name in container:
                source = extra.get(attribute.name, attribute)
                when = "" if listed else "files" if attribute.name in container else _when(source)
                infos += _infos(attribute.name, source, sizes, self.scope, when)
        return StructInfo(name, cls, sizes[name], tuple(infos))


def pool_sizes(scope: Scope, names: Iterable[str]) -> dict[str, int]:
    """Return how many objects each pool has in `scope`, for these and for all core structs."""
    sizes = dict.fromkeys(names, scope.objects)
    sizes["anon_vma"] = scope.anon_vmas or scope.objects
    sizes |= {"mm": scope.mms, "vma": scope.vmas, "pte": scope.mms * scope.pages}
    return sizes | {"folio": scope.folios, "swap": scope.swaps, "address_space": scope.files}


def pool_name(cls: type) -> str:
    """Return the name of a struct's pool: the pool of ``AnonVma`` is ``st.anon_vma``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def _infos(
    name: str,
    attribute: Any,  # noqa: ANN401
    sizes: dict[str, int],
    scope: Scope,
    when: str,
) -> list[FieldInfo]:
    meta = attribute.metadata
    target = meta.get("ref", "")
    if target and target not in sizes:
        msg = f"field {name!r} refers to {target!r}, a struct that the scheme does not list"
        raise SchemeError(msg)
    if not target and "high" not in meta:
        msg = f"field {name!r} must be declared with num(), ref() or their array forms"
        raise SchemeError(msg)
    high = meta.get("high", 0)
    limit = high if isinstance(high, str) else ""
    if limit:
        high = getattr(scope, limit)
    if target:
        high = sizes[target] + 1
    count = meta.get("length", 0)
    names = [f"{name}[{i}]" for i in range(count)] if count else [name]
    weak, length = meta.get("weak", False), meta.get("length_limit", "")
    return [FieldInfo(n, high, target, weak, limit, when, length) for n in names]


def _active(metadata: Any, scope: Scope) -> bool:  # noqa: ANN401
    """Return whether a field of a core struct exists even if the scheme does not list it."""
    when = metadata.get("when", "")
    return bool(getattr(scope, when)) if when else not metadata.get("scheme", False)


def _when(attribute: Any) -> str:  # noqa: ANN401
    """Return the attribute of the Scope that decides whether the field exists, or ""."""
    return str(attribute.metadata.get("when", ""))


def _measured(cls: type, scope: Scope) -> dict[str, Any]:
    """Return the arrays of `cls` whose length is a limit of the scope, with that length."""
    return {
        a.name: refs(a.metadata["ref"], getattr(scope, limit), limit=limit)
        for a in attrs.fields(cls)
        if isinstance(limit := a.metadata.get("length"), str)
    }


def _with_fields(cls: type, extra: dict[str, Any]) -> type:
    known = attrs.fields_dict(cls)
    new = {n: a for n, a in extra.items() if n not in known or _is_longer(known[n])}
    if not new:
        return cls
    made: type = attrs.make_class(cls.__name__, new, bases=(cls,), slots=True, eq=False)
    return made


def _is_longer(attribute: "attrs.Attribute[Any]") -> bool:
    return isinstance(attribute.metadata.get("length"), str)
