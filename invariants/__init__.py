"""What must hold: functions that yield violations and never change the state."""

from invariants import (
    chains,
    completeness,
    counts,
    families,
    files,
    goals,
    growth,
    isolation,
    lifetime,
    lists,
    locking,
    objects,
    scan,
    structure,
)
from invariants.registry import (
    INVARIANTS,
    Invariant,
    Violation,
    applicable,
    check_state,
    check_step,
)

__all__ = [
    "INVARIANTS",
    "Invariant",
    "Violation",
    "applicable",
    "chains",
    "check_state",
    "check_step",
    "completeness",
    "counts",
    "families",
    "files",
    "goals",
    "growth",
    "isolation",
    "lifetime",
    "lists",
    "locking",
    "objects",
    "scan",
    "structure",
]
