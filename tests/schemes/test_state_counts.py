"""How many states each scheme has in small scopes: pinned, so that no change goes unseen."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.plugins.catalogue import machines, schemes
from rmapcheck.verdict import Status
from tests import pins

SECTIONS = [name for name, section in pins.SECTIONS.items() if "test" not in section]


@pytest.mark.pinned
@pins.each(*SECTIONS)
def test_holds_in_every_state_of_which_there_are_as_many_as_pinned(pin, pinned):
    found = explore(schemes()[pin.name], pin.scope)
    assert found.verdict.status is Status.HOLDS, found.verdict
    assert found.verdict.how == "exhaustive"
    pinned.check(pin, pins.numbers_of(found))


def test_every_scheme_is_pinned():
    assert set(pins.SECTIONS["two pages"]["pins"]) == set(machines())
