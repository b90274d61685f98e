"""Syscall: how a program requests an operation from a running kernel. Each operation has one.

It is used by the export of a case as a C program (rmapcheck.reproduce.program), by the prediction
of what that program will find, and by the puppets of the live-kernel oracle
(rmapcheck.oracle.puppets)::

    Mprotect(mm=1, start=0, length=2, prot="r")
        in a program    { .what = MPROTECT, .mm = 1, .start = 0, .length = 2, .arg = PROT_READ }
        to a puppet     MPROTECT 0 2 1
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Values = Mapping[Any, tuple[str, int]]
"""The C form of each value of a field: a word ("" if a program can leave it out) and a number."""


@attrs.frozen
class Argument:
    """A field of an operation that is passed to C."""

    field: str
    to: str = ""
    """The field of `struct op` in a program that it sets, if that has another name. Two arguments
    may set the same field; their values are or-ed."""
    values: Values | None = None
    """None: the number is used as it is."""

    def of(self, op: object) -> tuple[str, int]:
        """Return the argument's value for `op`: a word for a program, a number for a puppet."""
        value = getattr(op, self.field)
        return (str(value), int(value)) if self.values is None else self.values[value]


@attrs.frozen
class Constant:
    """An argument that is always the same."""

    number: int


@attrs.frozen(kw_only=True)
class Syscall:
    """One operation in C, with the words of reproduce/c/program.c and of puppets/puppet.c."""

    program: str = ""
    """Member of `enum what`; "": no program can do the operation."""
    puppet: str = ""
    """A puppet's command; "": no puppet can do the operation."""
    arguments: tuple[Argument, ...] = ()
    """The arguments of the program, and of the puppet in this order."""
    puppet_arguments: tuple[Argument | Constant, ...] | None = None
    """The puppet's arguments, if they differ from the program's."""
    ignored: tuple[str, ...] = ()
    """Fields that a program does not need, whatever their values are."""
    why_not: str = ""
    """The sentence that tells why no program can do the operation, if the kernel is the reason."""

    def covers(self, field: str) -> bool:
        """Return whether a program can respect a field of the operation, or may ignore it."""
        return field in self.ignored or any(a.field == field for a in self.arguments)

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
