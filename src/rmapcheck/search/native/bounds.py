"""How C knows the limits of the scope: as constants, or as numbers that are set when it runs.

::

                        library of one scope     general library
    number("pages")     2                        st->scope.pages
    size("vma")         6                        st->scope.size_vma
    most("vma")         6                        30: the room in arrays

A library of one scope is faster. A general one is compiled once for a scheme, and searches every
scope within its `most`. See docs/adr/0018-one-library-for-many-scopes.md.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from rmapcheck.model.machine.fields import FieldInfo, pool_sizes
from rmapcheck.model.machine.layout import Layout
from rmapcheck.model.machine.scope import EXTRAS, GROUPS, PARTS, Scope
from rmapcheck.model.operations import OPERATIONS

WORDS = (*GROUPS, *EXTRAS, *PARTS)
"""The words of `Scope.ops`, each with the number of its bit."""
NUMBERS = (
    *(a.name for a in attrs.fields(Scope) if a.name != "ops"),
    *(n for n, value in vars(Scope).items() if isinstance(value, property) and n != "every"),
)
"""The attributes of a scope that are numbers or truth values, and grow with the scope."""
LARGEST = 255
"""The largest number in a stored field."""


class Bounds:
    """The limits of one scope, which are constants in C."""

    general = False

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def number(self, name: str) -> str:
        """Return the C code of an attribute of the scope."""
        return str(int(getattr(self.layout.scope, name)))

    def size(self, pool: str) -> str:
        """Return the C code for the number of objects of a pool."""
        return str(self.most(pool))

    def most(self, pool: str) -> int:
        """Return the number of objects for which a pool has room in C."""
        return self.layout.structs[pool].size

    def high(self, field: FieldInfo) -> str:
        """Return the C code of the largest value of a field."""
        return str(min(field.high, LARGEST))

    def room(self, pool: str) -> int:
        """Return the size in bytes of an array with a byte per object, in whole sixteens."""
        return (self.most(pool) + 2 + 15) // 16 * 16

    def sixteens(self, pool: str) -> str:
        """Return the C code for how many sixteens of such an array are in use."""
        return f"{self.room(pool)} / 16"

    def declaration(self) -> list[str]:
        """Return the C macros that add the scope to a state, and set it."""
        return ["#define SCOPE", "#define SET_SCOPE(st, numbers)"]

    def values(self, scope: Scope) -> list[int]:
        """Return the numbers that C gets for `scope` when it runs."""
        return []


class Running(Bounds):
    """The limits of any scope up to that of the layout; C reads them in `st->scope`.

    Attributes of the scope that are 0 in the layout's are 0 in all of them.
    """

    general = True

    def number(self, name: str) -> str:
        return f"st->scope.{name}" if getattr(self.layout.scope, name) else "0"

    def size(self, pool: str) -> str:
        return f"st->scope.size_{pool}"

    def high(self, field: FieldInfo) -> str:
        if field.limit:
            return self.number(field.limit)
        if field.target:
            return f"({self.size(field.target)} + 1)"
        return super().high(field)

    def sixteens(self, pool: str) -> str:
        return f"(({self.size(pool)} + 17) / 16)"

    def declaration(self) -> list[str]:
        names = [*NUMBERS, "ops", "exists", *(f"size_{pool}" for pool in self.layout.structs)]
        return [
            f"typedef struct {{ int {', '.join(names)}; }} Scope;",
            "#define SCOPE Scope scope;",
            "#define SET_SCOPE(st, numbers) memcpy(&(st)->scope, numbers, sizeof(Scope))",
        ]

    def values(self, scope: Scope) -> list[int]:
        """Return the members of `st->scope` for `scope`."""
        sizes = pool_sizes(scope, self.layout.structs)
        return [
            *(int(getattr(scope, name)) for name in NUMBERS),
            sum(1 << bit for bit, word in enumerate(WORDS) if word in scope.ops),
            sum(1 << bit for bit, cls in enumerate(OPERATIONS) if cls.exists(scope)),
            *(sizes[pool] for pool in self.layout.structs),
        ]

    def cover(self, scope: Scope) -> bool:
        """Return whether `scope` is within the limits."""
        most = self.layout.scope
        mine, theirs = (pool_sizes(s, self.layout.structs) for s in (scope, most))
        return (
            all(getattr(scope, name) <= getattr(most, name) for name in NUMBERS)
            and all(mine[pool] <= theirs[pool] for pool in mine)
            and set(scope.ops) <= set(most.ops)
        )


def widest(scopes: Sequence[Scope]) -> Scope:
    """Return the scope whose limits are the largest of each kind in `scopes`."""
    names = (a.name for a in attrs.fields(Scope) if a.name not in ("ops", "anon_vmas"))
    most: dict[str, Any] = {name: max(getattr(s, name) for s in scopes) for name in names}
    ops = dict.fromkeys(op for scope in scopes for op in scope.ops)
    anon_vmas = max(scope.anon_vmas or scope.objects for scope in scopes)
    return Scope(**most, anon_vmas=anon_vmas, ops=tuple(ops))
