"""Syscall: how a program asks a running kernel for an operation; each operation has one.

Three read it: the export of a case as a C program (rmapcheck.reproduce.program), the prediction of
what that program will find, and the puppets of the live-kernel oracle (rmapcheck.oracle.puppets)::

    Mprotect(mm=1, start=0, length=2, prot="r")
        in a program    { .what = MPROTECT, .mm = 1, .start = 0, .length = 2, .arg = PROT_READ }
        to a puppet     MPROTECT 0 2 1
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Values = Mapping[Any, tuple[str, int]]
"""What a value of a field is in C, as a word ("" if a program need not say it) and as a number."""


@attrs.frozen
class Argument:
    """A field of an operation that C is told."""

    field: str
    to: str = ""
    """The field of `struct op` in a program that it sets, if that has another name. Two arguments
    may set one, and are or-ed there."""
    values: Values | None = None
    """Missing: a number stays itself."""

    def of(self, op: object) -> tuple[str, int]:
        """Return what the argument is for `op`, in a program and to a puppet."""
        value = getattr(op, self.field)
        return (str(value), int(value)) if self.values is None else self.values[value]


@attrs.frozen
class Constant:
    """An argument that is always the same."""

    number: int


@attrs.frozen(kw_only=True)
class Syscall:
    """One operation in C. Its words are those of reproduce/c/program.c and of puppets/puppet.c."""

    program: str = ""
    """Member of `enum what`; "": no program asks for the operation."""
    puppet: str = ""
    """A puppet's command; "": no puppet performs the operation."""
    arguments: tuple[Argument, ...] = ()
    """In the order in which a puppet takes them."""
    puppet_arguments: tuple[Argument | Constant, ...] | None = None
    """Where a puppet takes others than a program does."""
    unsaid: tuple[str, ...] = ()
    """Fields that a program is not told, whatever their values are."""
    why_not: str = ""
    """Why no program can ask for the operation, where there is a reason of the kernel's."""

    def knows(self, field: str) -> bool:
        """Tell whether a program does justice to a field of the operation."""
        return field in self.unsaid or any(a.field == field for a in self.arguments)

    def in_program(self, op: object) -> dict[str, str]:
        """Return the fields of `struct op` for `op`, besides the operation and the process."""
        words: dict[str, list[str]] = {}
        for argument in self.arguments:
            word, _ = argument.of(op)
            if word:
                words.setdefault(argument.to or argument.field, []).append(word)
        return {name: " | ".join(both) for name, both in words.items()}

    def to_puppet(self, op: object) -> Iterator[int]:
        """Yield the arguments of the puppet's command."""
        numbers: dict[str, int] = {}
        chosen = self.arguments if self.puppet_arguments is None else self.puppet_arguments
        for place, argument in enumerate(chosen):
            if isinstance(argument, Constant):
                numbers[f"constant {place}"] = argument.number
            else:
                name = argument.to or argument.field
                numbers[name] = numbers.get(name, 0) | argument.of(op)[1]
        yield from numbers.values()


RANGE = (Argument("start"), Argument("length"))
