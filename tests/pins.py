"""Sizes of state spaces that tests expect: tests/pinned.toml, read and regenerated.

A section has a scope, as limits and ops, and under `pins` the numbers of each scheme. `make pins`
runs the tests that are marked `pinned`, writes what they found and shows the difference.
"""

import json
import re
import tomllib
from pathlib import Path

import attrs
import pytest

from rmapcheck.model.machine.scope import Scope

FILE = Path(__file__).with_name("pinned.toml")
SECTIONS = tomllib.loads(FILE.read_text(encoding="utf-8"))


@attrs.frozen
class Pin:
    """What is expected of one scheme in one section."""

    section: str
    name: str

    def __str__(self):
        return f"{self.section}-{self.name}"

    @property
    def scope(self):
        return scope_of(self.section)

    @property
    def numbers(self):
        return SECTIONS[self.section]["pins"][self.name]


def scope_of(section):
    """Return the scope of a section."""
    here = SECTIONS[section]
    ops = {"ops": tuple(here["ops"])} if "ops" in here else {}
    return Scope(**here["limits"], **ops)


def pins_of(section):
    """Return all pins of a section."""
    return [Pin(section, name) for name in SECTIONS[section]["pins"]]


def each(*sections):
    """Return the decorator that runs a test for every pin of the sections, as `pin`."""
    found = [pin for section in sections for pin in pins_of(section)]
    return pytest.mark.parametrize("pin", found, ids=str)


def numbers_of(found):
    """Return what is pinned of a search; `vacuous` only where a goal is not reached."""
    numbers = {"states": found.distinct, "transitions": found.generated, "depth": found.depth}
    return numbers | ({"vacuous": list(found.vacuous)} if found.vacuous else {})


class Pins:
    """Compares what a search found with its pin; or keeps it, when pins are regenerated."""

    def __init__(self, *, regenerate):
        self.found = {} if regenerate else None

    def check(self, pin, numbers):
        """Assert that `numbers` are those of the pin, unless they are to become it."""
        if self.found is None:
            assert numbers == pin.numbers
        else:
            self.found[pin] = numbers

    def write(self):
        """Write what was found into the file, each pin on the line that it has there."""
        text = FILE.read_text(encoding="utf-8")
        for pin, numbers in (self.found or {}).items():
            text = replaced(text, pin, numbers)
        FILE.write_text(text, encoding="utf-8")


def replaced(text, pin, numbers):
    """Return the text of the file with other numbers for a pin, whose line must be there."""
    head, mark, rest = text.partition(f"\n[{json.dumps(pin.section)}.pins]\n")
    values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in numbers.items())
    line = f"{json.dumps(pin.name)} = {{ {values} }}"
    done, times = re.subn(rf"(?m)^{re.escape(json.dumps(pin.name))} = .*$", line, rest, count=1)
    if not mark or not times:
        raise LookupError(f"{FILE.name} has no line for {pin.name} in [{pin.section}]")
    return head + mark + done
