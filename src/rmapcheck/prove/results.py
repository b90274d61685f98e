"""How to prove, and what became of each obligation."""

import attrs

from rmapcheck.prove.cti import Cti
from rmapcheck.prove.obligations import Goal

PROVED, FAILS, UNDECIDED = "proved", "CTI", "unknown"
POSSIBLE, VACUOUS = "possible", "vacuous"


@attrs.frozen(kw_only=True)
class Options:
    """How to prove."""

    solver: str = "z3"
    """z3, cvc5 or both"""
    seed: int = 0
    timeout: float = 10.0
    """Seconds for each question."""
    cores: bool = False
    """Find out which hypotheses each proof needs."""
    small: bool = True
    """Look for small counterexamples, which keep the deep lemmas too."""
    patience: float = 0.5
    """Seconds for a question with deep lemmas, which a solver need not be able to answer."""


@attrs.frozen(eq=False, kw_only=True)
class Result:
    """What became of one obligation."""

    operation: str
    goal: Goal
    status: str
    deep: bool = False
    """Proved only with the deep lemmas."""
    answers: tuple[tuple[str, str], ...] = ()
    """What each solver said."""
    seconds: float = 0.0
    why: str = ""
    needs: tuple[str, ...] | None = None
    """Hypotheses that a proof needs, if they were asked for."""
    cti: Cti | None = None


@attrs.frozen(eq=False, kw_only=True)
class Vacuity:
    """Whether an operation can happen at all where all lemmas hold, and do something."""

    operation: str
    status: str
    seconds: float
    why: str = ""
