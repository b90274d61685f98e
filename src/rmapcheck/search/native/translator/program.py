"""What is known of one scheme in one scope, and which C functions have been written for it."""

from collections.abc import Callable
from typing import Any, NoReturn

import attrs

from rmapcheck.invariants.goals import goals_of
from rmapcheck.model.machine.layout import layout_of
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import OPERATIONS, Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.bounds import NUMBERS, Bounds, Running
from rmapcheck.search.native.translator.kinds import (
    INT,
    TEXT,
    WORDS,
    Kind,
    PoolFacts,
    ScopeFacts,
    StateFacts,
)
from rmapcheck.search.native.translator.source import Definition


@attrs.frozen
class StructFacts:
    """What the translator knows of a struct."""

    name: str
    size: int
    numbers: tuple[str, ...]
    arrays: dict[str, str]
    """Array fields, with the C code of their length."""
    absent: tuple[str, ...]
    """Fields that the scheme does not have: always 0."""


def _facts(bounds: Bounds, name: str) -> StructFacts:
    struct = bounds.layout.structs[name]
    lengths: dict[str, int] = {}
    limits: dict[str, str] = {}
    numbers = []
    for field in struct.fields:
        base, bracket, _ = field.name.partition("[")
        if bracket:
            lengths[base] = lengths.get(base, 0) + 1
            limits[base] = field.length
        else:
            numbers.append(base)
    arrays = {n: bounds.number(limits[n]) if limits[n] else str(lengths[n]) for n in lengths}
    every = [a.name for a in attrs.fields(struct.cls)]
    absent = tuple(n for n in every if n not in arrays and n not in numbers)
    return StructFacts(name, struct.size, tuple(numbers), arrays, absent)


class Instance:
    """One C function: a Python function for these kinds of arguments, in one mode."""

    def __init__(
        self, definition: Definition, name: str, parameters: list[tuple[str, Kind]]
    ) -> None:
        self.definition = definition
        self.name = name
        self.parameters = parameters
        self.result = INT
        self.settled = False
        self.done = False
        self.recursive = False

    def settle(self, kind: Kind, refuse: Callable[[str], NoReturn]) -> None:
        """Note that the function returns a value of `kind`."""
        if not self.settled:
            self.result = kind
            self.settled = True
        elif self.result != kind:
            if {self.result, kind} == {INT, TEXT}:
                self.result = INT
            elif {self.result, kind} <= {TEXT, WORDS}:
                self.result = WORDS
            else:
                then = kind.noun_after(self.result)
                refuse(f"the function returns {self.result.noun} elsewhere and {then} here")

    def prototype(self) -> str:
        """Return the declaration of the C function, without the semicolon."""
        params = ["S *st", *(f"{k.ctype}p_{n}" for n, k in self.parameters)]
        result = self.result.ctype or "int "
        if self.result.name in ("list", "rows"):
            params.append("List *result")
        return f"static {result}{self.name}({', '.join(params)})"


class Program:
    """The C program of `scheme` in `scope`; `symmetry` and `named` are those of `explore`.

    A `general` program is that of all scopes up to `scope`.
    """

    def __init__(
        self,
        scheme: type[Scheme],
        scope: Scope,
        *,
        symmetry: bool = True,
        named: tuple[str, ...] = (),
        locks: bool = True,
        general: bool = False,
    ) -> None:
        self.scheme = scheme
        self.scope = scope
        self.symmetry = symmetry
        self.locks = locks
        """Track which locks are held."""
        self.asks_locks = False
        """The model itself checks which locks are held, so they are tracked even without
        lock_discipline."""
        self.layout = layout_of(scope, scheme, named)  # type: ignore[arg-type]
        self.bounds = (Running if general else Bounds)(self.layout)
        self.structs = {n: _facts(self.bounds, n) for n in self.layout.structs}
        self.state = self._state_facts()
        self.goals = tuple(goals_of(scheme, scope))
        self.branches = frozenset(g.name for g in self.goals if g.predicate is None)
        """Branches that a search in C has to note."""
        self.operations = {cls.__name__: cls for cls in OPERATIONS}
        self.operation_fields = _operation_fields()
        self.texts: dict[str, int] = {"": 0}
        self.instances: dict[Any, Instance] = {}
        self.tables: dict[Any, str] = {}
        self.functions: list[str] = []
        self.walks = 0
        """Number of places where a walk begins; each has its own memory for visits."""
        self.parts: list[object] = []

    def _state_facts(self) -> StateFacts:
        """Return what is known of the state while translating: pools, scope and scheme."""
        facts: dict[str, Any] = {"scheme": self.scheme(), "every_name": not self.symmetry}
        if self.bounds.general:
            nothing = {n: 0 for n in NUMBERS if not getattr(self.scope, n)}
            facts |= {n: PoolFacts(n, None) for n in self.structs}
            return StateFacts(facts | {"scope": ScopeFacts(nothing)})
        facts |= {n: PoolFacts(n, s.size) for n, s in self.structs.items()}
        return StateFacts(facts | {"scope": self.scope, "pages": self.scope.pages})

    def text(self, text: str) -> int:
        """Return the number of a string. "" has number 0, so that it is false in C, too."""
        return self.texts.setdefault(text, len(self.texts))

    def table(self, values: dict[str, str], key: str) -> str:
        """Return C code that looks up `key` in a constant table."""
        name = self.tables.setdefault(tuple(values.items()), f"table_{len(self.tables)}")
        return f"{name}(st, {key})"

    def part_number(self, part: object) -> int:
        """Return the number of a part of the scheme; two equal objects have two numbers."""
        for number, known in enumerate(self.parts):
            if known is part:
                return number
        self.parts.append(part)
        return len(self.parts) - 1

    def operation_number(self, cls: type[Operation]) -> int:
        """Return the number of an operation class."""
        return OPERATIONS.index(cls)

    @staticmethod
    def arguments(operation: type[Operation]) -> dict[str, Any]:
        """Return the arguments of an operation and their defaults (0 if there is no default)."""
        fields = attrs.fields(operation)
        return {a.name: 0 if a.default is attrs.NOTHING else a.default for a in fields}


def _operation_fields() -> dict[str, Kind]:
    """Return the arguments of all operations, and their kinds: strings or numbers."""
    return {
        a.name: TEXT if a.type in (str, "str") else INT
        for cls in OPERATIONS
        for a in attrs.fields(cls)
    }
