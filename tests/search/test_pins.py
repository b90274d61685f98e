"""Pins: a different number is noticed, and regenerating changes only the numbers."""

import attrs
import pytest

from tests import pins

PIN = pins.Pin("two pages", "avc-7.0")


def test_another_number_is_noticed():
    with pytest.raises(AssertionError):
        pins.Pins(regenerate=False).check(PIN, PIN.numbers | {"states": 1})


def test_regenerating_changes_the_line_of_the_pin_alone(tmp_path, monkeypatch):
    copy = tmp_path / "pinned.toml"
    before = pins.FILE.read_text(encoding="utf-8")
    copy.write_text(before, encoding="utf-8")
    monkeypatch.setattr(pins, "FILE", copy)
    again = pins.Pins(regenerate=True)
    again.check(PIN, {"states": 1, "vacuous": ["a goal"]})
    again.write()
    changed = set(copy.read_text(encoding="utf-8").splitlines()) - set(before.splitlines())
    assert changed == {'"avc-7.0" = { states = 1, vacuous = ["a goal"] }'}


def test_a_pin_without_a_line_is_an_error():
    with pytest.raises(LookupError, match="no line for nobody"):
        pins.replaced("", attrs.evolve(PIN, name="nobody"), {})
