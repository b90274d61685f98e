"""The number of states of each scheme in small scopes is pinned, so that changes are noticed."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.host.compile import compiler
from rmapcheck.plugins.catalogue import machines, schemes
from rmapcheck.verdict import Status
from tests import pins
from tests.designs import DESIGNS

SWEEP = "exec, memory fails"
"""The section of which only one scheme of each design runs by day."""
SECTIONS = [name for name, section in pins.SECTIONS.items() if "test" not in section]


PINS = [
    pytest.param(pin, marks=pytest.mark.nightly)
    if pin.section == SWEEP and pin.name not in DESIGNS
    else pin
    for section in SECTIONS
    for pin in pins.pins_of(section)
]
LONG = 400
"""States for which the compiler takes less time than the interpreted search."""


@pytest.mark.pinned
@pytest.mark.parametrize("pin", PINS, ids=str)
def test_holds_in_every_state_of_which_there_are_as_many_as_pinned(pin, pinned):
    long = compiler() and pin.numbers.get("states", 0) > LONG
    found = explore(schemes()[pin.name], pin.scope, engine="native" if long else "auto")
    assert found.verdict.status is Status.HOLDS, found.verdict
    assert found.verdict.how == "exhaustive"
    pinned.check(pin, pins.numbers_of(found))


def test_every_scheme_is_pinned():
    assert set(pins.SECTIONS["two pages"]["pins"]) == set(machines())
