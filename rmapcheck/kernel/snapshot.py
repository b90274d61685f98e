"""A state put aside and taken back, at the cost of the objects that live, not of those that may.

`encode_raw` stores every slot of every pool; an oracle's scope has hundreds, most of them empty.
"""

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from model.heap import Pool
    from model.state import State


class Snapshot:
    """The live objects of a state, field by field."""

    def __init__(self, st: "State") -> None:
        self.saved: list[tuple[Pool[Any], list[Any], int, list[Any], list[Any]]] = []
        for name, struct in st.layout.structs.items():
            pool: Pool[Any] = getattr(st, name)
            live = [pool[i] for i in pool.indices()] if name != "pte" else pool[1:-1]
            values = attrgetter(*(a.name for a in attrs.fields(struct.cls)))
            self.saved.append((pool, list(pool), pool.live, live, [values(o) for o in live]))

    def restore(self) -> None:
        """Make the state what it was."""
        for pool, slots, count, live, values in self.saved:
            pool[:] = slots
            pool.live = count
            for obj, fields in zip(live, values, strict=True):
                obj.__init__(*fields) if type(fields) is tuple else obj.__init__(fields)
