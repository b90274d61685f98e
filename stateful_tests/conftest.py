"""Which schemes the stateful tests run on, and for how long, by day and at night."""

import random

import attrs
import pytest
from hypothesis import settings

from tests.designs import DESIGNS


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """By day, run only one scheme of each design, unless `--rmap-scheme` names one."""
    if config.getoption("--rmap-scheme"):
        return
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        scheme = params.get("rmap_scheme")
        if scheme and scheme.name not in DESIGNS:
            item.add_marker(pytest.mark.nightly)


@attrs.frozen
class Budget:
    examples: int
    steps: int
    seconds: int
    """Time limit of the longest walks."""
    seed: int
    """By day 0, so that each run is the same; at night a new one."""


AT_NIGHT = {"nightly": (100, 10), "soak": (1_000, 60)}
"""Examples and seconds: all schemes take half an hour (nightly), or hours (soak)."""


@pytest.fixture(scope="session")
def budget():
    chosen, profile = settings(), settings.get_current_profile_name()
    steps = chosen.stateful_step_count
    if profile not in AT_NIGHT:
        return Budget(min(chosen.max_examples, 1_000), steps, seconds=1, seed=0)
    examples, seconds = AT_NIGHT[profile]
    seed = random.SystemRandom().randrange(2**32)
    return Budget(examples, steps, seconds=seconds, seed=seed)
