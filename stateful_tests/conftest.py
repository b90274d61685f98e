"""How much the stateful tests may do, by the Hypothesis profile."""

import random

import attrs
import pytest
from hypothesis import settings


@attrs.frozen
class Budget:
    examples: int
    steps: int
    seed: int
    """0, so that a test is the same each time; a new one every night."""


@pytest.fixture(scope="session")
def budget(pytestconfig):
    chosen = settings()
    nightly = pytestconfig.getoption("--hypothesis-profile", None) == "nightly"
    seed = random.SystemRandom().randrange(2**32) if nightly else 0
    return Budget(min(chosen.max_examples, 1_000), chosen.stateful_step_count, seed)
