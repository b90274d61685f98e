"""What an expression is while it is translated: C code, a kind, and its value where that is known.

::

    int         whole number or boolean               int
    text        string that matters, by its number    int
    words       string that only a message needs      nothing: messages come from the replay
    object      alias of a struct, `p = st.pte[i]`    struct pte *, 0 for NULL and 1 for freed
    list, rows  list of numbers, of tuples of them    List *
    array       array field, `c.ptes`                 int *, its length is `size`
    walk        RmapWalkControl                       Walk *
    local       a struct on the stack, on_stack.py    struct vma_merge_struct *
    operation   an operation                          const Op *
    tuple       several values                        `parts`
    part        object that is an attribute of a      nothing: known while translating
                scheme, or of another part
    state, scheme, pool, class, constant              nothing: known while translating
"""

from typing import Any, Final

import attrs

MISSING: Final = object()
"""No constant."""


@attrs.frozen
class Kind:
    """Kind of a value; `of` names the struct, pool or operation class."""

    name: str
    of: str = ""
    size: int = 0

    @property
    def ctype(self) -> str:
        """The C type of a variable of this kind, or "" where there is none."""
        if self.name in ("object", "local"):
            return f"struct {self.of} *"
        return _CTYPES.get(self.name, "")


_CTYPES = {
    "int": "int ",
    "text": "int ",
    "list": "List *",
    "rows": "List *",
    "array": "FIELD *",
    "walk": "Walk *",
    "operation": "const Op *",
}

INT = Kind("int")
TEXT = Kind("text")
WORDS = Kind("words")
LIST = Kind("list")
ROWS = Kind("rows")
WALK = Kind("walk")
STATE = Kind("state")
SCHEME = Kind("scheme")
CONSTANT = Kind("constant")
TUPLE = Kind("tuple")
NONE = Kind("none")


@attrs.frozen
class Value:
    """A translated expression."""

    code: str
    kind: Kind
    const: Any = MISSING
    busy: bool = False
    """It calls a function of the model, so that the order of evaluation matters."""
    parts: "tuple[Value, ...]" = ()

    @property
    def known(self) -> bool:
        """Tell whether the value is a constant."""
        return self.const is not MISSING


class StateFacts:
    """Stands for the state where an expression is evaluated while translating."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)


@attrs.frozen
class PoolFacts:
    """Stands for a pool: only its name and size are known while translating."""

    name: str
    size: int
