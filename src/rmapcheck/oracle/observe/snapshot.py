"""Saves and restores a state at a cost that depends on its live objects, not on the pools.

`encode_raw` saves every slot of every pool. The oracle's scope has hundreds, most of them empty.
"""

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.heap import Pool


def _copying(fields: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
    """Return a function like `fields` that copies lists, because these are changed in place."""
    return lambda o: _copied(fields(o))


def _copied(values: Any) -> Any:  # noqa: ANN401 - one value or a tuple of them, as attrgetter
    if type(values) is not tuple:
        return values
    return tuple(v[:] if type(v) is list else v for v in values)


@attrs.frozen(eq=False)
class _Saved:
    """The live objects of one pool, field by field."""

    pool: "Pool[Any]"
    slots: list[Any]
    count: int
    live: list[Any]
    fields: "Callable[[Any], Any]"
    values: list[Any]

    @classmethod
    def of(cls, pool: "Pool[Any]", struct: type) -> "_Saved":
        live = [o for o, own in zip(pool, pool.objects, strict=True) if o is own]
        fields: Callable[[Any], Any] = attrgetter(*(a.name for a in attrs.fields(struct)))
        if any(type(getattr(o, a.name)) is list for o in live[:1] for a in attrs.fields(struct)):
            fields = _copying(fields)
        return cls(pool, list(pool), pool.live, live, fields, [fields(o) for o in live])

    def restore(self) -> None:
        self.pool[:] = self.slots
        self.pool.live = self.count
        fields = self.fields
        for obj, values in zip(self.live, self.values, strict=True):
            if fields(obj) != values:
                obj.__init__(*_copied(values)) if type(values) is tuple else obj.__init__(values)


class Snapshot:
    """A copy of the live objects of a state, to restore it later."""

    def __init__(self, st: "Kernel") -> None:
        structs = st.layout.structs
        self.saved = [_Saved.of(getattr(st, name), s.cls) for name, s in structs.items()]

    def restore(self) -> None:
        """Restore the state as it was when the snapshot was taken."""
        for saved in self.saved:
            saved.restore()
