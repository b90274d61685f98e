"""What a case may expect of a step besides the verdict: its errno, and the VMAs after it.

An invariant cannot tell that mremap() returned -ENOMEM where the kernel succeeds, or that two VMAs
merged that must not. A case can::

    "results": [
      {"step": 4, "errno": "ENOMEM"},
      {"step": 5, "errno": "",
       "maps": [{"mm": 1, "vmas": [{"start": 0, "end": 2, "anon_vma": "a"},
                                   {"start": 3, "end": 4, "anon_vma": "a"}]}]}
    ]

What is left out is not compared. Equal letters stand for the same anon_vma, other letters for
others, and "" for none. A result that is not the expected one violates `expected_result`.
"""

import errno
from collections.abc import Sequence

import attrs

from rmapcheck.invariants.registry import Violation
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.maps import Mapping
from rmapcheck.model.operations import Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import Replayed, Run

NAME = "expected_result"
"""The invariant that a wrong result violates."""
ERRNOS = ("", "EPERM", "EFAULT", "ENOMEM", "EAGAIN", "EINVAL")
"""Names of the errors that a step may return; "" is success."""


@attrs.frozen(kw_only=True)
class Vma:
    """One VMA, as far as it is expected; None: anything."""

    start: int
    end: int
    prot: str | None = None
    pgoff: int | None = None
    file: int | None = None
    shared: bool | None = None
    anon_vma: str | None = None
    """A letter that stands for an anon_vma; "": it has none."""


@attrs.frozen(kw_only=True)
class Maps:
    """All VMAs of a process, in the order of addresses."""

    mm: int
    vmas: tuple[Vma, ...]


@attrs.frozen(kw_only=True)
class Result:
    """What is expected of one step."""

    step: int
    """Its number, from 1."""
    errno: str | None = None
    """One of ERRNOS; None: it may return anything."""
    maps: tuple[Maps, ...] = ()
    """The VMAs of some processes after it."""


def check(
    scheme: type[Scheme], scope: Scope, steps: Sequence[Operation], expected: Sequence[Result]
) -> Replayed | None:
    """Return the replay up to the first result that is not the expected one; None if all are.

    Raise NotPossible if a step is not possible.
    """
    if not expected:
        return None
    machine = Run(scheme, scope)
    outcomes = []
    for number, op in enumerate(steps, 1):
        machine.apply(op)
        outcomes.append(machine.outcome)
        found = [v for r in expected if r.step == number for v in _violations(machine, op, r)]
        if found:
            return Replayed(tuple(found), number, tuple(outcomes))
    return None


def recorded(scheme: type[Scheme], scope: Scope, steps: Sequence[Operation]) -> tuple[Result, ...]:
    """Return the results of a run as it is: each errno, and the VMAs of all processes at the end.

    Raise NotPossible if a step is not possible.
    """
    machine = Run(scheme, scope)
    found = []
    for number, op in enumerate(steps, 1):
        machine.apply(op)
        found.append(Result(step=number, errno=error_name(machine.outcome.error)))
    if found:
        letters: dict[int, str] = {0: ""}
        processes = tuple(
            Maps(mm=mm, vmas=tuple(_vma(line, letters) for line in machine.maps(mm)))
            for mm in machine.st.mm.indices()
        )
        found[-1] = attrs.evolve(found[-1], maps=processes)
    return tuple(found)


def error_name(error: int) -> str:
    """Return the name of an error, 0 or -errno; "" for 0."""
    return errno.errorcode[-error] if error else ""


def error_number(name: str) -> int:
    """Return what a step returns whose error has this name: 0 or -errno."""
    return -getattr(errno, name) if name else 0


def _vma(line: Mapping, letters: dict[int, str]) -> Vma:
    letter = letters.setdefault(line.anon_vma, chr(ord("a") + len(letters) - 1))
    shown = attrs.asdict(line)
    return Vma(**{**shown, "anon_vma": letter})


def _violations(machine: Run, op: Operation, result: Result) -> list[Violation]:
    found = []
    name = error_name(machine.outcome.error)
    if result.errno is not None and name != result.errno:
        found.append(
            Violation(
                f"r be the result of step {result.step}, {op}",
                f"r must be {result.errno or 'success'}, as the case expects",
                f"it is {name or 'success'}",
                invariant=NAME,
            )
        )
    letters: dict[str, int] = {"": 0}
    for expected in result.maps:
        have = machine.maps(expected.mm)
        if not _agree(expected.vmas, have, letters):
            own: dict[int, str] = {0: ""}
            found.append(
                Violation(
                    f"m be the VMAs of process {expected.mm} after step {result.step}, {op}",
                    f"m must be {_shown(expected.vmas)}, as the case expects",
                    f"it is {_shown([_vma(line, own) for line in have])}",
                    (("mm", expected.mm),),
                    invariant=NAME,
                )
            )
    return found


def _agree(expected: Sequence[Vma], have: Sequence[Mapping], letters: dict[str, int]) -> bool:
    """Return whether these are the expected VMAs; `letters` holds the anon_vma of each letter."""
    if len(expected) != len(have):
        return False
    for vma, line in zip(expected, have, strict=True):
        wanted = attrs.asdict(vma)
        letter = wanted.pop("anon_vma")
        if any(v is not None and v != getattr(line, name) for name, v in wanted.items()):
            return False
        if letter is not None and not _same(letters, letter, line.anon_vma):
            return False
    return True


def _same(letters: dict[str, int], letter: str, anon_vma: int) -> bool:
    """Return whether the letter stands for that anon_vma, and no other letter does."""
    if letter not in letters and anon_vma not in letters.values():
        letters[letter] = anon_vma
    return letters.get(letter) == anon_vma


def _shown(vmas: Sequence[Vma]) -> str:
    """Return VMAs as text, such as "0 … 2 rw anon_vma a"."""
    return ", ".join(_text(vma) for vma in vmas) or "none"


def _text(vma: Vma) -> str:
    parts = [f"{vma.start}-{vma.end}", vma.prot or ""]
    parts += [f"pgoff {vma.pgoff}"] if vma.pgoff is not None else []
    parts += [f"file {vma.file}"] if vma.file else []
    parts += [f"anon_vma {vma.anon_vma or 'none'}"] if vma.anon_vma is not None else []
    return " ".join(part for part in parts if part)
