"""The registry of invariants, and the violations that they yield.

An invariant is a generator that checks a state (or a step) and yields a `Violation` for each way
in which it fails. The text has the form *Let … Then … But …*: the objects that were checked, what
the invariant says of them, and what the state shows instead.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import attrs

from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import KernelOops, SchemeError

if TYPE_CHECKING:
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.operations import Operation, Outcome
    from rmapcheck.model.scheme import Scheme


@attrs.frozen
class Violation:
    """One failure of one invariant."""

    let: str
    then: str
    but: str
    witness: tuple[tuple[str, int], ...] = ()
    """Objects to look at, as (pool, number)."""
    invariant: str = attrs.field(default="", kw_only=True)
    """Name of the invariant. A check does not give it: `check_state` and `check_step` set it to
    the name that the decorator registered. Only for an oops it is another name: its kind."""

    def __new__(cls, *args: object, **named: object) -> Self:
        """Refuse the arguments of earlier versions, of which the first was the name."""
        texts = [arg for arg in args if isinstance(arg, str)]
        if len(texts) > 3 or (texts and "let" in named):
            raise SchemeError(
                f"Violation no longer takes the name of its invariant, {args[0]!r}: write "
                "Violation(let, then, but, witness), and the decorator gives the name"
            )
        return object.__new__(cls)

    def __str__(self) -> str:
        return f"Let {self.let}. Then {self.then}. But {self.but}."


@attrs.frozen(kw_only=True)
class Step:
    """An operation that was carried out, and its outcome, for invariants that check steps."""

    op: "Operation"
    outcome: "Outcome"
    before: Any
    """`isolation.projection` of the state before, for `failure_atomicity`; else None."""


StateCheck = Callable[["Kernel"], Iterator[Violation]]
StepCheck = Callable[["Kernel", Step], Iterator[Violation]]


@attrs.frozen(kw_only=True)
class Invariant:
    """A named invariant; exactly one of `state` and `step` is not None."""

    name: str
    source: str
    """What it checks: rules of docs/reference/spec as PAGE#RULE, commits, kernel functions."""
    universal: bool
    """Whether every scheme must keep it; otherwise only schemes that list it."""
    relies: str = ""
    """Which code relies on it, for an invariant that is not universal: a kernel of an era without
    such code need not keep it. Or "no code", and what it is good for."""
    only: str = ""
    """"rmap": only for schemes with an rmap; "scan": only for those that scan page tables."""
    runs_on: bool = False
    """Whether the check lets the machine run further; such a check gets a copy of it."""
    state: StateCheck | None = None
    step: StepCheck | None = None

    @property
    def doc(self) -> str:
        """First paragraph of the docstring."""
        text = (self.state or self.step).__doc__ or ""
        return " ".join(text.partition("\n\n")[0].split())


INVARIANTS: dict[str, Invariant] = {}


def invariant(
    source: str,
    *,
    relies: str = "",
    universal: bool = False,
    only: str = "",
    runs_on: bool = False,
) -> Callable[[StateCheck], StateCheck]:
    """Register a check of states under its function's name; `relies`: see `Invariant.relies`."""

    def register(check: StateCheck) -> StateCheck:
        name = check.__name__
        INVARIANTS[name] = Invariant(
            name=name,
            source=source,
            universal=universal,
            relies=relies,
            only=only,
            runs_on=runs_on,
            state=check,
        )
        return check

    return register


def step_invariant(source: str) -> Callable[[StepCheck], StepCheck]:
    """Register a check of steps under the name of its function, for every scheme."""

    def register(check: StepCheck) -> StepCheck:
        name = check.__name__
        INVARIANTS[name] = Invariant(name=name, source=source, universal=True, step=check)
        return check

    return register


def wanted(target: str, name: str) -> bool:
    """Return whether `target` (names separated by commas; "": all) includes `name`."""
    return not target or name in target.split(",")


def applicable(scheme: "Scheme | type[Scheme]") -> tuple[Invariant, ...]:
    """Return the invariants that `scheme` must keep: the universal ones and its own.

    Those that let the machine run further come last, because compiled code cannot check them: it
    has no copy of the machine.
    """
    for name in scheme.invariants:
        if name not in INVARIANTS:
            raise SchemeError(
                f"scheme {scheme.name!r} names the invariant {name!r}, which does not exist; "
                "`rmapcheck invariants` lists them"
            )
    other = "rmap" if scheme.virtual_scan else "scan"
    chosen = [
        i
        for i in INVARIANTS.values()
        if (i.universal and i.only != other)
        or i.name in scheme.invariants
        or (scheme.maps_files and i.name in scheme.i_mmap.invariants)
    ]
    return tuple(sorted(chosen, key=lambda i: i.runs_on))


def check_state(st: "Kernel", invariants: Iterable[Invariant]) -> list[Violation]:
    """Return the first violation of each invariant that fails in `st`.

    If checks themselves access freed memory (as a walk through a dangling pointer does), the first
    such access comes last in the list, because it follows from what another invariant reports.
    """
    found = []
    crash = None
    for inv in invariants:
        if inv.state is None:
            continue
        try:
            first = _first(inv, _in_future(st, inv.state) if inv.runs_on else inv.state(st))
        except KernelOops as oops:
            crash = crash or from_oops(oops, f"the state as {inv.name} reads it")
        else:
            if first is not None:
                found.append(first)
    # A leaked object also makes counts wrong, so the leak, which is the cause, comes first.
    found.sort(key=lambda v: v.invariant != "no_leak")
    return [*found, crash] if crash else found


def _first(inv: Invariant, found: Iterator[Violation]) -> Violation | None:
    """Return the first violation that a check yields, with the invariant's name, or None."""
    first = next(found, None)
    if first is None or first.invariant:
        return first
    return attrs.evolve(first, invariant=inv.name)


def _in_future(st: "Kernel", check: StateCheck) -> Iterator[Violation]:
    """Return what a check yields that lets the machine run further; it gets a copy of `st`."""
    other = _machine(st.scope, type(st.scheme))  # type: ignore[arg-type]
    st.layout.load_raw(other, st.layout.encode_raw(st))
    other.begin()
    return check(other)


@lru_cache(maxsize=4)
def _machine(scope: "Scope", scheme: "type[Scheme]") -> "Kernel":
    """Return a machine for such a check, in any state."""
    return Kernel(scope, scheme())


def check_step(st: "Kernel", step: Step, invariants: Iterable[Invariant]) -> list[Violation]:
    """Return the first violation of each invariant of steps that `step` violates."""
    found = []
    for inv in invariants:
        if inv.step is not None:
            first = _first(inv, inv.step(st, step))
            if first is not None:
                found.append(first)
    return found


def from_oops(oops: KernelOops, what: str) -> Violation:
    """Return the violation for an oops; `what` says during what it happened."""
    if oops.kind == "out_of_range":
        return Violation(
            f"o be the {oops.struct} whose {oops.field!r} is set in {what}",
            "the new value must be one that the field can hold",
            f"it is {oops.index}",
            invariant=oops.kind,
        )
    if oops.kind == "kernel_bug":
        return Violation(
            f"o be {what}",
            "o must not reach a BUG() of the kernel",
            oops.field,
            invariant=oops.kind,
        )
    why = {
        "use_after_free": "it has been freed",
        "null_dereference": "the pointer is NULL",
        "double_free": "it has been freed before",
    }.get(oops.kind, "the number is out of range")
    act = "freed" if oops.kind == "double_free" else f"asked for its {oops.field!r}"
    number = f" {oops.index}" if oops.index else ""
    article = "" if oops.index else "the "
    return Violation(
        f"o be {article}{oops.struct}{number} in {what}",
        "o must be allocated when it is used",
        f"o is {act} while {why}",
        ((oops.struct, oops.index),),
        invariant=oops.kind,
    )
