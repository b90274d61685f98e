"""Verdicts: exactly what a run has shown."""

import enum

import attrs

from rmapcheck.invariants.registry import Violation
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation


class Status(enum.Enum):
    """The kinds of verdict."""

    HOLDS = "HOLDS"
    """No violation in any state searched. `how` says which: exhaustive (every state of the scope),
    or bounded (every state within a depth)."""
    SAMPLED = "SAMPLED"
    """No violation in the runs that were made; other runs may have one."""
    UNKNOWN = "UNKNOWN"
    """No answer: a limit was reached, or the run was vacuous. `why` says which."""
    VIOLATED = "VIOLATED"
    """A trace violates an invariant, and replaying it confirmed that."""


class Exit(enum.IntEnum):
    """Exit codes of the command line."""

    EXPECTED = 0
    """The verdict is the expected one: a scheme holds, a seeded bug is found."""
    UNEXPECTED = 1
    USAGE = 2
    """A mistake of the user: in the command line, in a plug-in, in a case."""
    INCONCLUSIVE = 3
    """UNKNOWN, or nothing could be compared."""
    CRASH = 70
    """A fault of rmapcheck itself; EX_SOFTWARE of sysexits.h."""
    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT."""
    BROKEN_PIPE = 141
    """The reader of the output has gone: 128 + SIGPIPE."""


@attrs.frozen(kw_only=True)
class Verdict:
    """The answer of one engine about one scheme in one scope."""

    status: Status
    scheme: str
    scope: Scope
    engine: str
    how: str = ""
    """For HOLDS and SAMPLED: "exhaustive", "bounded, depth 7", "200000 steps", …"""
    why: str = ""
    """For UNKNOWN: what ended the run."""
    violations: tuple[Violation, ...] = ()
    """Everything that the last state or step of `trace` violates; the first is reported."""
    trace: tuple[Operation, ...] = ()
    """For VIOLATED: the operations from boot to the violation."""
    seed: int | None = None
    """Of a random engine."""

    @property
    def exhaustive(self) -> bool:
        """Return whether every state of the scope was searched."""
        return self.status is Status.HOLDS and self.how == "exhaustive"

    def target_first(self, target: str) -> "Verdict":
        """Return the verdict with a violation of `target` before other violations."""
        ordered = sorted(self.violations, key=lambda v: v.invariant != target)
        return attrs.evolve(self, violations=tuple(ordered))

    def __str__(self) -> str:
        if self.status is Status.VIOLATED:
            return f"VIOLATED({self.violations[0].invariant}, step {len(self.trace)})"
        if self.status is Status.HOLDS:
            return f"HOLDS({self.how}, {self.scope})"
        if self.status is Status.SAMPLED:
            return f"SAMPLED({self.how})"
        return f"UNKNOWN({self.why})"
