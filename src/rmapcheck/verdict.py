"""Verdicts: what a run has shown, and never more than that."""

import enum

import attrs

from rmapcheck.invariants.registry import Violation
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation


class Status(enum.Enum):
    """The kinds of verdict, worst last to be reported first."""

    HOLDS = "HOLDS"
    """No violation in any state: `how` says exhaustive (every state of the scope) or bounded."""
    SAMPLED = "SAMPLED"
    """No violation in the runs made; says nothing of others."""
    UNKNOWN = "UNKNOWN"
    """The budget ended first, or the run was vacuous; `why` says which."""
    VIOLATED = "VIOLATED"
    """A trace breaks an invariant, and has been replayed."""


class Exit(enum.IntEnum):
    """Exit codes of the command line."""

    EXPECTED = 0
    UNEXPECTED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    CRASH = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


@attrs.frozen(kw_only=True)
class Verdict:
    """What one engine says of one scheme in one scope."""

    status: Status
    scheme: str
    scope: Scope
    engine: str
    how: str = ""
    """"exhaustive", "bounded, depth 7", "200000 steps", …"""
    why: str = ""
    """For UNKNOWN: what ended the run."""
    violations: tuple[Violation, ...] = ()
    """Everything that the last state or step of `trace` violates; the first is reported."""
    trace: tuple[Operation, ...] = ()
    seed: int | None = None

    def __str__(self) -> str:
        if self.status is Status.VIOLATED:
            return f"VIOLATED({self.violations[0].invariant}, step {len(self.trace)})"
        if self.status is Status.HOLDS:
            return f"HOLDS({self.how}, {self.scope})"
        if self.status is Status.SAMPLED:
            return f"SAMPLED({self.how})"
        return f"UNKNOWN({self.why})"
