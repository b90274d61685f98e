"""How the structs of one scheme in one scope are stored, compared and renamed.

Made once for each (scope, scheme) from the declared fields, as source text that is then compiled:
the loops over fields are unrolled, which makes a state ten times cheaper to save and restore.

Two stored forms, both `bytes`, one byte a field:

raw
    every object in place, whatever its number. For brute force.
renamed
    processes in a given order; every other object numbered in the order in which a walk from
    the processes first meets it. Equal bytes mean equal states up to the names of objects; the
    smallest over all process orders is the canonical form of the state's orbit.

A layout may be told that some pools are *named*: in the renamed form too, their objects (or the
processes) keep their numbers. With processes, pages and anon_vmas named, states are told apart as
by a checker without symmetry whose VMAs are known by where they are and not by number.
"""

import re
from collections.abc import Callable
from functools import cache
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.model.machine.errors import KernelOops, SchemeError, ScopeError
from rmapcheck.model.machine.heap import Pool, refs
from rmapcheck.model.machine.layout_source import FIXED, source_of

if TYPE_CHECKING:
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.scheme import Scheme

CORE = ("mm", "vma", "pte", "folio", "swap", "address_space")


MADE = ("encode", "load", "encode_raw", "load_raw", "dangling", "leaked", "signature")
"""Functions of a layout that are compiled from source text."""


@attrs.frozen
class FieldInfo:
    """One stored byte: `name` as written after the object (an array element as ``ptes[0]``)."""

    name: str
    high: int
    target: str = ""
    weak: bool = False


@attrs.frozen
class StructInfo:
    """One struct as this layout stores it."""

    name: str
    cls: type
    size: int
    fields: tuple[FieldInfo, ...]


def pool_name(cls: type) -> str:
    """Return the name of a struct's pool: ``AnonVma`` lives in ``st.anon_vma``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def _infos(name: str, attribute: Any, sizes: dict[str, int], scope: "Scope") -> list[FieldInfo]:  # noqa: ANN401
    meta = attribute.metadata
    target = meta.get("ref", "")
    if target and target not in sizes:
        msg = f"field {name!r} refers to {target!r}, a struct that the scheme does not list"
        raise SchemeError(msg)
    if not target and "high" not in meta:
        msg = f"field {name!r} must be declared with num(), ref() or their array forms"
        raise SchemeError(msg)
    high = meta.get("high", 0)
    if isinstance(high, str):
        high = getattr(scope, high)
    if target:
        high = sizes[target] + 1
    count = meta.get("length", 0)
    names = [f"{name}[{i}]" for i in range(count)] if count else [name]
    return [FieldInfo(n, high, target, meta.get("weak", False)) for n in names]


def _core_structs(scope: "Scope") -> dict[str, type]:
    from rmapcheck.model.machine import state  # noqa: PLC0415 - state needs this module first

    core: dict[str, type] = {
        "mm": state.Mm,
        "vma": state.Vma,
        "pte": state.Pte,
        "folio": state.Folio,
        "swap": state.Swap,
    }
    return core | {"address_space": state.AddressSpace} if scope.files else core


class Layout:
    """The stored form of all states of `scheme` in `scope`."""

    def __init__(
        self, scope: "Scope", scheme: "type[Scheme]", named: tuple[str, ...] = ()
    ) -> None:
        self.scope = scope
        self.scheme = scheme
        self.named = named
        if scope.files and not scheme.maps_files:
            msg = f"scheme {scheme.name!r} does not model files: choose a scope with files=0"
            raise ScopeError(msg)
        classes = _core_structs(scope)
        for cls in scheme.structs:
            classes[pool_name(cls)] = cls
        sizes = dict.fromkeys(classes, scope.objects)
        sizes["anon_vma"] = scope.anon_vmas or scope.objects
        sizes |= {"mm": scope.mms, "vma": scope.vmas, "pte": scope.mms * scope.pages}
        sizes |= {"folio": scope.folios, "swap": scope.swaps, "address_space": scope.files}
        self.structs = {n: self._struct(n, c, sizes) for n, c in classes.items()}
        self.heap = tuple(n for n in self.structs if n not in FIXED)
        for name in named:
            if name not in ("mm", *self.heap):
                msg = f"{name!r} cannot be named: the states of {scheme.name} have no such pool"
                raise SchemeError(msg)

    def _struct(self, name: str, cls: type, sizes: dict[str, int]) -> StructInfo:
        extra = dict(self.scheme.extra_fields.get(name, {}))
        if self.scope.files:
            extra |= self.scheme.i_mmap_fields.get(name, {})
        chosen = self.scheme.fields.get(name)
        cls = _with_fields(cls, extra | _measured(cls, self.scope))
        infos: list[FieldInfo] = []
        for attribute in attrs.fields(cls):
            if name in CORE:
                active = _active(attribute.metadata, self.scope)
                active |= attribute.name in (chosen or ())
            else:
                active = chosen is None or attribute.name in chosen
            if active or attribute.name in extra:
                source = extra.get(attribute.name, attribute)
                infos += _infos(attribute.name, source, sizes, self.scope)
        return StructInfo(name, cls, sizes[name], tuple(infos))

    def make_pools(self, *, checked: bool) -> dict[str, Pool[Any]]:
        """Return fresh empty pools, by name."""
        pools: dict[str, Pool[Any]] = {
            s.name: Pool(s.name, _checked(s) if checked else s.cls, s.size)
            for s in self.structs.values()
        }
        for struct in self.structs.values():
            for field in struct.fields:
                if field.weak:
                    pools[field.target].referrers.append((pools[struct.name], field.name))
        for name in self.structs:
            pools[name].recycle = self.scope.recycle and name not in CORE
        return pools

    encode: "Callable[[State, tuple[int, ...]], bytes]"
    load: "Callable[[State, bytes], None]"
    encode_raw: "Callable[[State], bytes]"
    load_raw: "Callable[[State, bytes], None]"
    dangling: "Callable[[State], tuple[str, int, str, int] | None]"
    leaked: "Callable[[State], tuple[str, int] | None]"
    signature: "Callable[[State, int], tuple[Any, ...]]"

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - one of those just named
        """Compile what is asked for first; a run that only counts steps never asks."""
        if name not in MADE:
            raise AttributeError(name)
        self._compile()
        return self.__dict__[name]

    def _compile(self) -> None:
        source = source_of(self)
        namespace: dict[str, Any] = {}
        exec(compile(source, f"<layout of {self.scheme.name}>", "exec"), namespace)  # noqa: S102
        self.__dict__.update({name: namespace[name] for name in MADE})

    def orders(self, st: "State") -> list[tuple[int, ...]]:
        """Return the process orders among which the canonical one is to be found.

        Processes are sorted by a signature that does not depend on names; only those that tie
        are permuted. Dead processes come last: nothing tells them apart.
        """
        mm = st.mm
        if "mm" in self.named:
            return [tuple(range(1, mm.size + 1))]
        alive = mm.indices()
        dead = tuple(m for m in range(1, mm.size + 1) if m not in alive)
        if len(alive) == 1:
            return [(alive[0], *dead)]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for m in alive:
            groups.setdefault(self.signature(st, m), []).append(m)
        ties = [list(permutations(groups[key])) for key in sorted(groups)]
        return [(*(m for part in choice for m in part), *dead) for choice in product(*ties)]

    def canonical(self, st: "State") -> tuple[bytes, tuple[int, ...]]:
        """Return the canonical form of `st` and the process order that gives it."""
        orders = self.orders(st)
        order = orders[0]
        best = self.encode(st, order)
        for other in orders[1:]:
            data = self.encode(st, other)
            if data < best:
                best, order = data, other
        return best, order


def _active(metadata: Any, scope: "Scope") -> bool:  # noqa: ANN401
    """Tell whether a field of the core exists without the scheme's asking for it."""
    when = metadata.get("when", "")
    return bool(getattr(scope, when)) if when else not metadata.get("scheme", False)


def _measured(cls: type, scope: "Scope") -> dict[str, Any]:
    """Return the arrays of `cls` whose length the scope says, declared anew with that length."""
    return {
        a.name: refs(a.metadata["ref"], getattr(scope, a.metadata["length"]))
        for a in attrs.fields(cls)
        if isinstance(a.metadata.get("length"), str)
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


def _checked(struct: StructInfo) -> type:
    """Return the struct's class with a range test on every write."""
    highs = {f.name: f.high for f in struct.fields if "[" not in f.name}
    lists = {f.name.partition("[")[0] for f in struct.fields if "[" in f.name}

    def setattr_(self: object, name: str, value: Any) -> None:  # noqa: ANN401
        high = highs.get(name)
        if high is None:
            if name not in lists and value != 0 and type(value) is not list:
                msg = (
                    f"{struct.name}.{name} is no field of this scheme's state: "
                    "list it in the scheme's `fields` or `extra_fields`"
                )
                raise SchemeError(msg)
        elif type(value) not in (int, bool):
            msg = f"{struct.name}.{name} must be a whole number, not {value!r}"
            raise SchemeError(msg)
        elif not 0 <= value <= high:
            raise KernelOops("out_of_range", struct.name, name, value)
        object.__setattr__(self, name, value)

    return type(struct.cls.__name__, (struct.cls,), {"__slots__": (), "__setattr__": setattr_})


@cache
def layout_of(scope: "Scope", scheme: "type[Scheme]", named: tuple[str, ...] = ()) -> Layout:
    """Return the layout of `scheme` in `scope`, made at the first call."""
    return Layout(scope, scheme, named)
