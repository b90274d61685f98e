"""Checks of a plug-in scheme while it runs.

Some faults show only when a scheme runs. Each is reported as a SchemeError of one sentence:

a hook reads page tables, against which its answers are checked              `guarded`
a hook returns something that its caller cannot use                          `guarded`
a hook keeps something outside the state, or is not repeatable               `check_behaviour`
a hook raises an exception                                                   `failures`
a hook, or a walk over the lists that it built, never ends                   `watchdog`
a hook starts a process or a thread                                          `limits`
a hook uses memory without end                                               `limits`
a hook runs a loop in C code, or ends the process                            `cli/supervise.py`

The first three cost time, so `check_behaviour` looks for them once, before the engines start. The
others cost nothing as long as nothing is wrong, so every engine runs inside them
(docs/adr/0017-stopping-plug-ins.md).
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from rmapcheck.model.machine.errors import ENOMEM, SchemeError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.failures import not_repeatable, scheme_errors
from rmapcheck.plugins.limits import FEW, memory_limit
from rmapcheck.plugins.own import HOOKS, is_plugin, place_of
from rmapcheck.plugins.watchdog import watchdog
from rmapcheck.run import NotPossible, Run
from rmapcheck.search.question import Limits

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.scope import Scope

__all__ = ["check_behaviour", "guarded", "is_plugin", "scheme_errors", "watchdog"]

NUMBERS = ("merge_source", "merge_pgoff", "mprotect_continues")
"""Hooks that return a VMA, an offset or an address."""


# Page tables.


class ForbiddenPageTables:
    """Replaces `st.pte` while a hook runs: every use of it raises SchemeError."""

    _hook: str
    _scheme: str

    def __init__(self, hook: str, scheme: str) -> None:
        self.__dict__.update(_hook=hook, _scheme=scheme)

    def _refuse(self, *_: object) -> NoReturn:
        raise SchemeError(
            f"hook {self._hook} of scheme {self._scheme!r} reads page tables (st.pte), but its "
            "answers are checked against them: keep what it needs in structs of the scheme"
        )

    __getitem__ = __setitem__ = __iter__ = __len__ = __getattr__ = __setattr__ = _refuse


def guarded(scheme: type[Scheme]) -> type[Scheme]:
    """Return a subclass of the scheme in which every hook is checked.

    Its hooks raise SchemeError when they read page tables, return a value that the caller cannot
    use, or set an attribute of the scheme.
    """
    body: dict[str, Any] = {n: _guard_hook(n, getattr(scheme, n)) for n in HOOKS}
    body |= {"__module__": scheme.__module__, "__setattr__": _refuse_attribute}
    return type(scheme.__name__, (scheme,), body)


def _refuse_attribute(self: Scheme, name: str, _value: object) -> NoReturn:
    raise SchemeError(
        f"scheme {self.name!r} keeps something in self.{name}, which is not part of the state "
        "that is saved and restored: declare a struct, or a field in `extra_fields`"
    )


def _guard_hook(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def hook(self: Scheme, st: "Kernel", *args: Any, **named: Any) -> Any:  # noqa: ANN401
        pte = st.pte
        if not isinstance(pte, ForbiddenPageTables):  # as it is where one hook calls another
            st.pte = ForbiddenPageTables(name, self.name)  # type: ignore[assignment]
        try:
            answer = original(self, st, *args, **named)
        finally:
            st.pte = pte
        wrong = _wrong_answer(name, answer)
        if wrong:
            raise SchemeError(f"{place_of(original)}hook {name} of scheme {self.name!r} {wrong}")
        return answer

    return hook


def _wrong_answer(name: str, answer: object) -> str:
    """Return what is wrong with a hook's answer and what it should be; "" if it is right."""
    expected = getattr(Scheme, name).__annotations__["return"]
    if hasattr(answer, "send"):
        return "contains `yield` (or is async), so its body never runs: use plain statements"
    if expected is None:
        return "" if answer is None else f"returned {answer!r}, but it must return nothing"
    if expected is bool:
        fine = answer is True or answer is False or answer == 0 or answer == 1
        return "" if fine else f"returned {answer!r} instead of True or False"
    if type(answer) is not int:
        return f"returned {answer!r} instead of a whole number"
    if name in NUMBERS:
        return "" if answer >= 0 else f"returned {answer}, but it must be 0 or more"
    if name.endswith(("_lock", "_lock_file")):
        return "" if answer >= 0 else f"returned {answer}, but a lock is a number of 0 or more"
    fine = answer in (0, -ENOMEM)
    return "" if fine else f"returned {answer} instead of 0 or -ENOMEM ({-ENOMEM})"


def check_behaviour(
    scheme: type[Scheme], scope: "Scope", *, seed: int = 0, steps: int = 4000, seconds: float = 3.0
) -> int:
    """Run the guarded scheme in short random runs of at most 30 operations.

    End after `steps` operations or after `seconds`, and return the number of operations. Raise
    SchemeError for the first fault. A violation only ends its run: the engines report those.
    """
    rng = random.Random(seed)
    limits, started = Limits(seconds=seconds), Limits.clock()
    done = 0
    with scheme_errors(scheme), watchdog(scheme), memory_limit(FEW):
        strict = guarded(scheme)
        while done < steps and limits.left(started) > 0:
            done += _random_run(strict, scope, rng)
    return done


def _random_run(strict: type[Scheme], scope: "Scope", rng: random.Random) -> int:
    run = Run(strict, scope)
    for _ in range(30):
        choices = run.possible()
        if not choices:
            break
        op = rng.choice(choices)
        if rng.random() < 0.2:
            op = attrs.evolve(op, fail=rng.randint(1, 3))
        if run.apply(op):
            break
    _check_repeatable(strict, run)
    return len(run.steps) + 1


def _check_repeatable(strict: type[Scheme], run: Run) -> None:
    """Repeat a run; raise SchemeError if it ends in another state."""
    again = Run(strict, run.st.scope)
    why = "the same operations lead to another state"
    try:
        for op in run.steps:
            again.apply(op)
    except NotPossible as error:
        why = str(error)
    else:
        layout = run.st.layout
        if layout.encode_raw(again.st) == layout.encode_raw(run.st):
            return
    raise SchemeError(not_repeatable(strict, why))
