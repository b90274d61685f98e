"""The typed heap: pools of kernel structs, references, allocation, and poison on free.

A reference is an index into the pool of its struct; 0 is NULL. A pool of n objects is a list of
n + 2 entries::

    pool[0]        NULL: touching a field is a null_dereference
    pool[1 … n]    the object while it is allocated, else poison: touching it is a use_after_free
    pool[n + 1]    where references to freed objects of a weak kind are sent; poison for ever

The trap costs nothing while all is well: no access is checked, a freed object simply is not there.
"""

from typing import Any, NoReturn, Protocol, TypeVar

import attrs

from rmapcheck.model.machine.errors import KernelOops

T = TypeVar("T")

NULL = 0


def num(high: int | str, *, scheme: bool = False, when: str = "") -> Any:  # noqa: ANN401
    """Declare a field that holds 0 … `high`; a string names a limit of the Scope.

    `scheme`: the field exists only where the scheme lists it in `Scheme.fields`. `when`: it
    exists, whatever the scheme, where this attribute of the Scope is not 0.
    """
    return attrs.field(default=0, metadata={"high": high, "scheme": scheme, "when": when})


def ref(struct: str, *, weak: bool = False, scheme: bool = False, when: str = "") -> Any:  # noqa: ANN401
    """Declare a field that holds a reference to `struct`; `scheme` and `when` as in `num`.

    A *weak* reference may outlive its object (as `folio->mapping` of an unmapped folio does);
    when the object is freed it is sent to the poisoned slot n + 1.
    """
    meta = {"ref": struct, "weak": weak, "scheme": scheme, "when": when}
    return attrs.field(default=0, metadata=meta)


def refs(struct: str, length: int | str, *, scheme: bool = False) -> Any:  # noqa: ANN401
    """Declare an array of `length` references to `struct`; a string names a limit of the Scope."""
    size = length if isinstance(length, int) else 0
    meta = {"ref": struct, "length": length, "scheme": scheme}
    return attrs.field(factory=lambda: [NULL] * size, metadata=meta)


def nums(high: int | str, length: int) -> Any:  # noqa: ANN401
    """Declare an array of `length` numbers, 0 … `high`."""
    return attrs.field(factory=lambda: [0] * length, metadata={"high": high, "length": length})


class Poison:
    """Stands where no object is; any access to a field is an oops of the modelled kernel."""

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
    """All objects of one struct. `live` counts the allocated ones, none of them above `high`."""

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
        """The free identities, in a large pool (`enlarge`), where a search for one takes long."""
        self.referrers: list[tuple[Pool[Any], str]] = []
        null = Poison("null_dereference", name, 0)
        gone = (Poison("use_after_free", name, i) for i in range(1, size + 1))
        self.poison = [null, *gone, Poison("use_after_free", name, 0)]
        self.objects = [None, *(struct() for _ in range(size)), None]
        super().__init__(self.poison)  # type: ignore[arg-type]

    def enlarge(self) -> None:
        """Keep a list of free identities from now on, and give them out again at once."""
        self.recycle = True
        live = set(self.indices())
        self.free = [i for i in range(self.size, 0, -1) if i not in live]

    def is_live(self, index: int) -> bool:
        """Tell whether `index` names an allocated object (not NULL, not freed)."""
        return self[index] is self.objects[index]

    def indices(self) -> list[int]:
        """Return the references to all allocated objects, ascending."""
        objects = self.objects
        return [i for i in range(1, self.high + 1) if self[i] is objects[i]]


class Allocates(Protocol):
    """A state, as far as an allocation needs to know of its running operation."""

    nr_allocs: int
    fail_at: int
    exhausted: str
    freed: list[tuple[str, int]]


def kmem_cache_alloc(st: Allocates, pool: Pool[Any]) -> int:
    """Return a fresh zeroed object of `pool`, or 0 when the allocation fails.

    It fails when this is the allocation that the operation was told to fail, and when the scope
    has no more such objects; the latter is noted in `st.exhausted`, and the run drops the step.
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
    """Allocate object `index`, which must be free, zeroed."""
    pool[index] = pool.objects[index]
    pool[index].__init__()
    pool.live += 1
    pool.high = max(pool.high, index)


def free_slot(st: Allocates, pool: Pool[Any]) -> int:
    """Return an identity of `pool` that is free, or 0; one freed in this very operation is not.

    Which free identity is taken makes no difference, since all are alike.
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
    """Free an object: poison it, and send weak references to it where they stay poisoned."""
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
    """Stop the modelled kernel with `what`; BUG(), and the panic() of mm/rmap.c in v2.5.27."""
    raise KernelOops("kernel_bug", "kernel", what, 0)
