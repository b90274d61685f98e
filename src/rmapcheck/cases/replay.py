"""Replays saved cases, on the scheme that they name or on another."""

import shlex
from pathlib import Path

import attrs

from rmapcheck.cases.case import Case, CaseError, Expect
from rmapcheck.cases.results import check
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import built_in
from rmapcheck.run import NotPossible, Replayed, Run, replay
from rmapcheck.verdict import Status


@attrs.frozen(kw_only=True)
class CaseReplay:
    """The result of replaying a case on a scheme."""

    case: Case
    scheme: str
    """Name of the scheme that ran, which may be another than the case names."""
    replayed: Replayed | None = None
    """None if a step was not possible; `reason` then says which, and why."""
    reason: str = ""

    @property
    def status(self) -> Status:
        """VIOLATED, HOLDS (for these steps), or UNKNOWN if a step was not possible."""
        if self.replayed is None:
            return Status.UNKNOWN
        return Status.VIOLATED if self.replayed.violations else Status.HOLDS

    @property
    def as_expected(self) -> bool:
        """Return whether verdict, invariant and step are those that the case expects."""
        expect = self.case.expect
        if self.replayed is None or self.status.value != expect.verdict:
            return False
        if self.status is Status.HOLDS:
            return True
        names = [v.invariant for v in self.replayed.violations]
        return expect.invariant in names and self.replayed.step == expect.step

    def __str__(self) -> str:
        """Return what happened and what was expected, as one sentence."""
        if self.replayed is None:
            return f"{self.scheme} cannot run this case: {self.reason}."
        happened = "HOLDS in every step"
        if self.replayed.violations:
            names = " and ".join(v.invariant for v in self.replayed.violations)
            happened = f"VIOLATED({names}, step {self.replayed.step})"
        if self.as_expected:
            return f"{self.scheme}: {happened}, as expected."
        return f"{self.scheme}: {happened}, but the case expects {self.case.expect}."


def scheme_of(case: Case) -> type[Scheme]:
    """Return the built-in scheme or bug that the case names.

    Raise CaseError for a plug-in: it is code, and reading a case must never run code. A caller who
    trusts the plug-in must load it and pass it on.
    """
    known = built_in(case.scheme)
    if known is not None:
        return known
    if ":" in case.scheme or case.scheme.endswith(".py"):
        raise CaseError(
            f"the case is about the plug-in {case.scheme}, and a case must not load code; "
            f"if you trust it, name it with --scheme {case.scheme}"
        )
    raise CaseError(
        f"no scheme or bug is called {case.scheme!r}; `rmapcheck schemes` and `rmapcheck bugs` "
        "list them"
    )


def command_for(path: Path, case: Case) -> str:
    """Return the command that replays the saved case, also if it is about a plug-in."""
    option = "" if built_in(case.scheme) else f" --scheme {shlex.quote(case.scheme)}"
    return f"rmapcheck replay {shlex.quote(str(path))}{option}"


def replay_case(case: Case, scheme: type[Scheme] | None = None) -> CaseReplay:
    """Replay the case on the scheme that it names, or on `scheme`.

    The run may violate other invariants before the expected one. These count only if the expected
    one is never violated. A result that is not the expected one violates `expected_result`, and
    comes before what a later step violates. Raise CaseError if the case names a plug-in and there
    is no `scheme`, and SchemeError if a scheme does not keep to its interface.
    """
    cls = scheme or scheme_of(case)
    try:
        done = replay(cls, case.scope, case.steps, target=case.expect.invariant)
        if not done.violations and case.expect.invariant:
            done = replay(cls, case.scope, case.steps)
        done = check(cls, case.scope, case.steps[: done.step], case.results) or done
    except NotPossible as error:
        reason = _with_step(cls, case, str(error))
        return CaseReplay(case=case, scheme=cls.name, reason=reason)
    return CaseReplay(case=case, scheme=cls.name, replayed=done)


def case_on(case: Case, scheme: type[Scheme], name: str) -> Case:
    """Return the case of the same steps on `scheme`, called `name`, as a replay finds it there.

    Raise CaseError if that scheme cannot run it.
    """
    done = replay_case(attrs.evolve(case, results=()), scheme)
    if done.replayed is None:
        raise CaseError(str(done).rstrip("."))
    names = [v.invariant for v in done.replayed.violations]
    expect = Expect(verdict=done.status.value)
    if names:
        first = case.expect.invariant if case.expect.invariant in names else names[0]
        expect = attrs.evolve(expect, invariant=first, step=done.replayed.step)
    return attrs.evolve(case, scheme=name, expect=expect, results=())


def _with_step(cls: type[Scheme], case: Case, reason: str) -> str:
    if reason.startswith("step "):
        return reason
    return f"step {blocked_at(cls, case.scope, case.steps)}, {reason}"


def blocked_at(cls: type[Scheme], scope: Scope, steps: tuple[Operation, ...]) -> int:
    """Return the number, from 1, of the first step that is not possible; 0 if all are possible."""
    machine = Run(cls, scope)
    for number, op in enumerate(steps, 1):
        if machine.why_not(op):
            return number
        machine.apply(op)
    return 0
