"""How the structs of one scheme in one scope are stored, compared and renamed.

The functions are generated for each (scope, scheme) from the declared fields: as source text,
which is then compiled. The loops over fields are unrolled, so that saving and restoring a state
takes a tenth of the time.

There are two stored forms. Both are `bytes`, one byte a field:

raw
    every object at its place, in order of numbers. For brute force.
renamed
    processes in a given order; every other object is numbered in the order in which a walk that
    starts at the processes first meets it. Equal bytes mean that two states differ at most in the
    names of objects. The smallest bytes over all process orders are the canonical form of the
    state's orbit.

Some pools may be *named*: their objects (or the processes) keep their numbers in the renamed form
too. If processes, pages and anon_vmas are named, the search distinguishes as many states as a
checker without symmetry that identifies a VMA by its place and not by its number.
"""

from collections.abc import Callable
from functools import cache
from itertools import permutations, product
from typing import Any, Protocol

from rmapcheck.model.machine.errors import KernelOops, SchemeError
from rmapcheck.model.machine.fields import Declares, Shape, StructInfo
from rmapcheck.model.machine.heap import Pool
from rmapcheck.model.machine.layout_source import source_of
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import CORE

MADE = ("encode", "load", "encode_raw", "load_raw", "dangling", "leaked", "signature")
"""Functions of a layout that are compiled from generated source."""


class Pools(Protocol):
    """A state whose pools a layout reads. The compiled functions use all of them."""

    mm: Pool[Any]


class Layout(Shape):
    """The stored form of all states of `scheme` in `scope`."""

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

    encode: Callable[[Pools, tuple[int, ...]], bytes]
    load: Callable[[Pools, bytes], None]
    encode_raw: Callable[[Pools], bytes]
    load_raw: Callable[[Pools, bytes], None]
    dangling: Callable[[Pools], tuple[str, int, str, int] | None]
    leaked: Callable[[Pools], tuple[str, int] | None]
    signature: Callable[[Pools, int], tuple[Any, ...]]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - one of those just named
        """Compile the functions at first use; a run that only counts steps never needs them."""
        if name not in MADE:
            raise AttributeError(name)
        self._compile()
        return self.__dict__[name]

    def _compile(self) -> None:
        source = source_of(self)
        namespace: dict[str, Any] = {}
        exec(compile(source, f"<layout of {self.scheme.name}>", "exec"), namespace)  # noqa: S102
        self.__dict__.update({name: namespace[name] for name in MADE})

    def orders(self, st: Pools) -> list[tuple[int, ...]]:
        """Return the process orders that may give the canonical form.

        Processes are sorted by a signature that does not depend on names; only processes with
        equal signatures are permuted. Dead processes come last, since they are all alike.
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

    def canonical(self, st: Pools) -> tuple[bytes, tuple[int, ...]]:
        """Return the canonical form of `st` and the process order that gives it."""
        orders = self.orders(st)
        order = orders[0]
        best = self.encode(st, order)
        for other in orders[1:]:
            data = self.encode(st, other)
            if data < best:
                best, order = data, other
        return best, order


def _checked(struct: StructInfo) -> type:
    """Return a subclass of the struct's class that checks the range on every write."""
    highs = {f.name: f.high for f in struct.fields if "[" not in f.name}
    lists = {f.name.partition("[")[0] for f in struct.fields if "[" in f.name}

    def setattr_(self: object, name: str, value: Any) -> None:  # noqa: ANN401
        high = highs.get(name)
        if high is None:
            if name not in lists and value != 0 and type(value) is not list:
                msg = (
                    f"{struct.name}.{name} is not a field of this scheme's state: "
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
def layout_of(scope: Scope, scheme: type[Declares], named: tuple[str, ...] = ()) -> Layout:
    """Return the layout of `scheme` in `scope`; it is built at the first call and kept."""
    return Layout(scope, scheme, named)
