"""Known flaws of the base: what an author's scheme violates only because its base does.

A scheme that is derived from anon_vma-2.6.18 inherits E04, a bug of that kernel. It is not the
author's fault, and must not hide one. So where the base violates the same invariants at the end of
the same run, `verify` notes that as a flaw of the base and continues (Question.base).
"""

from collections.abc import Iterable

import attrs

from rmapcheck.invariants.registry import Violation
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.plugins.guard import is_plugin


@attrs.frozen
class Flaw:
    """A violation that the base of a scheme has too."""

    base: str
    bug: str
    """Name of the bug in the list of the base's flaws; "" if it is not in that list."""
    violations: tuple[Violation, ...]
    """What the first step that shows it violates."""

    @property
    def name(self) -> str:
        """Return the bug, or else the invariants that are violated."""
        return self.bug or " and ".join(v.invariant for v in self.violations)


def base_of(scheme: type[Scheme]) -> type[Scheme] | None:
    """Return the nearest built-in scheme from which a plug-in is derived; else None.

    A seeded bug is not a base: the author wants to know whether the scheme still has it.
    """
    if not is_plugin(scheme):
        return None
    built_in = (c for c in scheme.__mro__ if issubclass(c, Scheme) and not is_plugin(c))
    return next((c for c in built_in if c.name and c.bug is None), None)


def flaws_of(
    base: type[Scheme] | None, known: Iterable[tuple[Violation, ...]]
) -> tuple[Flaw, ...]:
    """Return the flaws that the violations are, each once; the violations of a step are one."""
    found: dict[str, Flaw] = {}
    if base is not None:
        for violations in known:
            flaw = Flaw(base.name, _listed(base, violations), violations)
            found.setdefault(flaw.name, flaw)
    return tuple(found.values())


def _listed(base: type[Scheme], violations: tuple[Violation, ...]) -> str:
    names = [v.invariant for v in violations]
    for flaw in base.era.flaws:
        bug = bugs()[flaw].bug
        if bug is not None and bug.violates in names:
            return flaw
    return ""


def apart_from(flaws: tuple[Flaw, ...]) -> str:
    """Return what HOLDS adds about flaws of the base; "" if there are none."""
    names = ", ".join(flaw.name for flaw in flaws)
    return f"; apart from what {flaws[0].base} violates too: {names}" if flaws else ""
