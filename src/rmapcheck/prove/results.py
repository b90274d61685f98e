"""Options for proofs, and the results of obligations."""

import attrs

from rmapcheck.prove.cti import Cti
from rmapcheck.prove.obligations import Goal

PROVED, FAILS, UNDECIDED = "proved", "CTI", "unknown"
POSSIBLE, VACUOUS = "possible", "vacuous"


@attrs.frozen(kw_only=True)
class Options:
    """Options for proofs."""

    solver: str = "z3"
    """One of: z3, cvc5, both."""
    seed: int = 0
    timeout: float = 10.0
    """Seconds for each question."""
    cores: bool = False
    """Find out which hypotheses each proof needs."""
    small: bool = True
    """Look for small counterexamples in which the deep lemmas hold, too."""
    deep_timeout: float = 0.5
    """Seconds for a question with deep lemmas, which a solver may be unable to answer."""


@attrs.frozen(eq=False, kw_only=True)
class Result:
    """The result of one obligation."""

    operation: str
    goal: Goal
    status: str
    deep: bool = False
    """Proved only with the deep lemmas."""
    answers: tuple[tuple[str, str], ...] = ()
    """The answer of each solver, with its name."""
    seconds: float = 0.0
    why: str = ""
    needs: tuple[str, ...] | None = None
    """Hypotheses that the proof needs; None if that was not requested (`Options.cores`)."""
    cti: Cti | None = None


@attrs.frozen(eq=False, kw_only=True)
class Vacuity:
    """Whether an operation can happen and have an effect in a state in which all lemmas hold."""

    operation: str
    status: str
    seconds: float
    why: str = ""
