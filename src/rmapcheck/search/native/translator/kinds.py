"""The result of translating an expression: C code, a kind, and the value if it is known.

The kinds, and their types in C::

    int         whole number or boolean               int
    text        string that the model needs           int, the number of the string
    words       string that only a message needs      none: messages come from the replay
    object      alias of a struct, `p = st.pte[i]`    struct pte *, 0 for NULL and 1 for freed
    list, rows  list of numbers, of tuples of them    List *
    array       array field, `c.ptes`                 int *, its length is `size`
    walk        RmapWalkControl                       Walk *
    local       a struct on the stack, on_stack.py    struct vma_merge_struct *
    operation   an operation                          const Op *
    tuple       several values                        none: see `parts`
    part        object that is an attribute of a      none: known while translating
                scheme, or of another part
    scope       the scope in a general library        none: its numbers are in st->scope
    groups      `st.scope.ops` there                  int, with a bit for each word
    first       the first n of some constants; only   int n; `const` are all of them
                C knows n
    state, scheme, pool, class, constant              none: known while translating
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
    size: str = ""
    """The C code of an array's length."""

    @property
    def ctype(self) -> str:
        """The C type of a variable of this kind, or "" if there is none."""
        if self.name in ("object", "local"):
            return f"struct {self.of} *"
        return _CTYPES.get(self.name, "")

    @property
    def noun(self) -> str:
        """The kind in words, with its article, for messages."""
        return _NOUNS[self.name]

    def noun_after(self, other: "Kind") -> str:
        """Return the kind in words, for a message that has just named `other`."""
        return "another one" if self.noun == other.noun else self.noun


_CTYPES = {
    "int": "int ",
    "text": "int ",
    "list": "List *",
    "rows": "List *",
    "array": "FIELD *",
    "walk": "Walk *",
    "operation": "const Op *",
}

_NOUNS = {
    "int": "a number",
    "text": "a string",
    "words": "text for a message",
    "object": "an object of a pool",
    "list": "a list of numbers",
    "rows": "a list of tuples",
    "array": "an array field",
    "walk": "an RmapWalkControl",
    "local": "a struct on the stack",
    "operation": "an operation",
    "tuple": "a tuple",
    "part": "a part of the scheme",
    "groups": "the operation groups",
    "first": "the first of some constants",
    "scope": "the scope",
    "state": "the state",
    "scheme": "the scheme",
    "pool": "a pool",
    "class": "a class",
    "constant": "a constant",
    "none": "no value",
}

INT = Kind("int")
TEXT = Kind("text")
WORDS = Kind("words")
LIST = Kind("list")
ROWS = Kind("rows")
WALK = Kind("walk")
STATE = Kind("state")
SCOPE = Kind("scope")
GROUPS = Kind("groups")
FIRST = Kind("first")
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
    """It calls a function of the model, so the order of evaluation matters."""
    parts: "tuple[Value, ...]" = ()

    @property
    def known(self) -> bool:
        """Return whether the value is a constant."""
        return self.const is not MISSING


class StateFacts:
    """Stands for the state where an expression is evaluated while translating."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)


class PoolFacts:
    """Stands for a pool: only its name and, in a library of one scope, its size are known."""

    def __init__(self, name: str, size: int | None) -> None:
        self.name = name
        if size is not None:
            self.size = size


class ScopeFacts:
    """Stands for the scope in a general library: only what is 0 in all its scopes is known."""

    def __init__(self, nothing: dict[str, Any]) -> None:
        self.__dict__.update(nothing)
