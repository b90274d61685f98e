"""What is expected of a scheme, and what may be claimed: bugs, flaws, exit codes, HOLDS."""

from typing import Any

import attrs

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Bug, Scheme
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.plugins.guard import is_plugin
from rmapcheck.search.coverage import Arm
from rmapcheck.verdict import Exit, Status, Verdict
from rmapcheck.verify.flaws import Flaw, apart_from
from rmapcheck.verify.ladder import WIDE, required
from rmapcheck.verify.own_lines import why_unknown


def expected_bug(scheme: type[Scheme]) -> Bug | None:
    """Return the bug that the class itself declares; a plug-in that fixes one inherits none."""
    return vars(scheme).get("bug")


def known_flaw(scheme: type[Scheme], verdict: Verdict) -> str:
    """Return the bug that the kernels of a built-in scheme had and that this is, or ""."""
    names = [v.invariant for v in verdict.violations]
    for flaw in () if is_plugin(scheme) or expected_bug(scheme) else scheme.era.flaws:
        bug = bugs()[flaw].bug
        if bug is not None and bug.violates in names:
            return flaw
    return ""


def exit_code(scheme: type[Scheme], verdict: Verdict, target: str = "") -> Exit:
    """Return the exit code of a command whose result is `verdict`.

    A seeded bug is expected to violate the invariant that it names, or the user's `target`.
    """
    bug = expected_bug(scheme)
    if verdict.status is Status.VIOLATED:
        names = [v.invariant for v in verdict.violations]
        caught = bug is not None and any(n in names for n in (bug.violates, *target.split(",")))
        return Exit.EXPECTED if caught or known_flaw(scheme, verdict) else Exit.UNEXPECTED
    if verdict.status is not Status.HOLDS:
        return Exit.INCONCLUSIVE
    return Exit.UNEXPECTED if bug else Exit.EXPECTED


@attrs.frozen
class Shown:
    """What the rungs have shown of a scheme in which nothing was violated."""

    exhausted: tuple[Scope, ...]
    missed: tuple[str, ...]
    """Goals that no run reached."""
    not_run: tuple[Arm, ...]
    """Lines of the author that no completed search ran."""
    flaws: tuple[Flaw, ...]
    """Violations that the base has too."""
    interpreted: str = ""
    """Why searches were interpreted that should have been in C, or ""."""


def claim(scheme: type[Scheme], shown: Shown, *, budget: float, seed: int) -> Verdict:
    """Return what may be claimed where nothing was violated: no more than was shown.

    HOLDS names the scopes that were exhausted. It is not claimed if one of the required scopes
    was not, if a goal was never reached, or if a line of the author never ran in them.
    """
    base: dict[str, Any] = {"scheme": scheme.name, "engine": "verify", "seed": seed}
    needed = [scope for scope in required(scheme) if scope not in shown.exhausted]
    if needed:
        why = f"the budget of {budget:g} s ended before {needed[0]} was exhausted"
        if shown.interpreted:
            why += f", since the search was interpreted; {shown.interpreted}"
        return Verdict(status=Status.UNKNOWN, scope=needed[0], why=why, **base)
    if shown.missed:
        why = f"vacuous: no run reached {', '.join(shown.missed)}"
        return Verdict(status=Status.UNKNOWN, scope=WIDE, why=why, **base)
    if shown.not_run:
        return Verdict(status=Status.UNKNOWN, scope=WIDE, why=why_unknown(shown.not_run), **base)
    sizes = ", ".join(dict.fromkeys(f"{scope.mms}×{scope.pages}" for scope in shown.exhausted))
    how = f"exhaustive in {len(shown.exhausted)} scopes of {sizes} processes × pages"
    how += apart_from(shown.flaws)
    return Verdict(status=Status.HOLDS, scope=shown.exhausted[-1], how=how, **base)
