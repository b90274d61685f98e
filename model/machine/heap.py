"""The typed heap: pools of kernel structs, references, allocation, and poison on free.

A reference is an index into the pool of its struct; 0 is NULL. A pool of n objects is a list of n
+ 2 entries::

    pool[0]        NULL: touching a field is a null_dereference
    pool[1 … n]    the object while it is allocated, else poison: touching it is a use_after_free
    pool[n + 1]    target of weak references whose object was freed; always poison

This costs nothing on correct accesses: no access is checked, since a freed object is not in the
pool.
"""

from typing import Any, NoReturn, Protocol, TypeVar

import attrs

from rmapcheck.model.machine.errors import KernelOops

T = TypeVar("T")

NULL = 0


def num(high: int | str, *, scheme: bool = False, when: str = "") -> Any:  # noqa: ANN401
    """Declare a field that holds 0 … `high`. A string names a limit of the Scope.

    `scheme`: the field exists only if the scheme lists it in `Scheme.fields`. `when`: it exists,
    under every scheme, if this attribute of the Scope is not 0.
    """
    return attrs.field(default=0, metadata={"high": high, "scheme": scheme, "when": when})


def ref(struct: str, *, weak: bool = False, scheme: bool = False, when: str = "") -> Any:  # noqa: ANN401
    """Declare a field that holds a reference to `struct`; `scheme` and `when` as in `num`.

    A *weak* reference may outlive its object, as `folio->mapping` of an unmapped folio does. When
    the object is freed, the reference is redirected to the poisoned slot n + 1.
    """
    meta = {"ref": struct, "weak": weak, "scheme": scheme, "when": when}
    return attrs.field(default=0, metadata=meta)


def refs(struct: str, length: int | str, *, scheme: bool = False, limit: str = "") -> Any:  # noqa: ANN401
    """Declare an array of `length` references to `struct`. A string names a limit of the Scope.

    `limit`: the limit of the Scope that a `length` in numbers was taken from.
    """
    size = length if isinstance(length, int) else 0
    meta = {"ref": struct, "length": length, "scheme": scheme, "length_limit": limit}
    return attrs.field(factory=lambda: [NULL] * size, metadata=meta)


def nums(high: int | str, length: int) -> Any:  # noqa: ANN401
    """Declare an array of `length` numbers, 0 … `high`."""
    return attrs.field(factory=lambda: [0] * length, metadata={"high": high, "length": length})


class Poison:
    """Takes the place of an object that is not allocated; access to a field raises KernelOops."""

    __slots__ = ("_index", "_kind", "_struct")
    _index: int
    _kind: str
    _struct: str

    def __init__(self, kind: str, struct: str, index: int) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_struct", struct)
        object.__setattr__(self, "_index", index)

    def __getattr__(self, field: str) -> int:
        raise KernelOops(self._kind, self._struct, field, self._index)

    def __setattr__(self, field: str, value: object) -> None:
        raise KernelOops(self._kind, self._struct, field, self._index)


class Pool(list[T]):
    """All objects of one struct; `live` of them are allocated, under numbers up to `high`."""

    __slots__ = (
        "free",
        "high",
        "live",
        "name",
        "objects",
        "poison",
        "recycle",
        "referrers",
        "size",
    )

    def __init__(self, name: str, struct: type, size: int) -> None:
        self.name = name
        self.size = size
        self.live = 0
        self.high = size
        self.recycle = False
        self.free: list[int] | None = None
        """The free numbers in a large pool (`enlarge`), where a search for one would take long."""
        self.referrers: list[tuple[Pool[Any], str]] = []
        null = Poison("null_dereference", name, 0)
        gone = (Poison("use_after_free", name, i) for i in range(1, size + 1))
        self.poison = [null, *gone, Poison("use_after_free", name, 0)]
        self.objects = [None, *(struct() for _ in range(size)), None]
        super().__init__(self.poison)  # type: ignore[arg-type]

    def enlarge(self) -> None:
        """Keep a list of free numbers from now on, and reuse freed numbers at once."""
        self.recycle = True
        live = set(self.indices())
        self.free = [i for i in range(self.size, 0, -1) if i not in live]

    def is_live(self, index: int) -> bool:
        """Return whether `index` names an allocated object (not NULL, not freed)."""
        return self[index] is self.objects[index]

    def indices(self) -> list[int]:
        """Return the references to all allocated objects, in ascending order."""
        objects = self.objects
        return [i for i in range(1, self.high + 1) if self[i] is objects[i]]


class Allocates(Protocol):
    """The part of a state that an allocation reads and changes."""

    nr_allocs: int
    fail_at: int
    exhausted: str
    freed: list[tuple[str, int]]


def kmem_cache_alloc(st: Allocates, pool: Pool[Any]) -> int:
    """Return a new zeroed object of `pool`, or 0 if the allocation fails.

    It fails if it is the allocation that should fail in this operation (`fail_at`), or if the pool
    has no free object. In the second case `st.exhausted` is set, and the run drops the step.
    """
    st.nr_allocs += 1
    if st.nr_allocs == st.fail_at:
        return NULL
    index = free_slot(st, pool)
    if index == NULL:
        st.exhausted = pool.name
        return NULL
    claim(pool, index)
    return index


def claim(pool: Pool[Any], index: int) -> None:
    """Allocate object `index`, which must be free, with all fields 0."""
    pool[index] = pool.objects[index]
    pool[index].__init__()
    pool.live += 1
    pool.high = max(pool.high, index)


def free_slot(st: Allocates, pool: Pool[Any]) -> int:
    """Return a free number of `pool`, or 0. Numbers freed by this same operation do not count.

    It makes no difference which free number is taken, since all free objects are alike.
    """
    if pool.free is not None:
        return pool.free.pop() if pool.free else NULL
    objects = pool.objects
    for index in range(1, pool.size + 1):
        if pool[index] is not objects[index] and (
            pool.recycle or (pool.name, index) not in st.freed
        ):
            return index
    return NULL


def kmem_cache_free(st: Allocates, pool: Pool[Any], index: int) -> None:
    """Free an object: poison it, and redirect weak references to the slot that stays poisoned.

    Raise KernelOops if it is not allocated.
    """
    if not pool.is_live(index):
        kind = "double_free" if index else "null_dereference"
        raise KernelOops(kind, pool.name, "(object)", index)
    pool[index] = pool.poison[index]
    pool.live -= 1
    if pool.free is not None:
        pool.free.append(index)
        return
    st.freed.append((pool.name, index))
    if pool.recycle:
        return
    for referrer, field in pool.referrers:
        for i in referrer.indices():
            if getattr(referrer[i], field) == index:
                setattr(referrer[i], field, pool.size + 1)


def bug(st: object, what: str) -> NoReturn:
    """Stop the modelled kernel with the text `what`; BUG(), or panic() in mm/rmap.c of v2.5.27."""
    raise KernelOops("kernel_bug", "kernel", what, 0)
