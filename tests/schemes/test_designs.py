"""By day, one scheme of each design represents all schemes."""

import importlib
from pathlib import Path

from rmapcheck.model import schemes as scheme_files
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs, every_scheme, machines
from tests.designs import DESIGNS, design_of, sweep, sweep_of_bugs


def is_scheme_of(value, module):
    own = isinstance(value, type) and value.__module__ == module.__name__
    return own and issubclass(value, Scheme) and "name" in vars(value)


def by_day(parameters):
    return [each.values[0] for each in parameters if not each.marks]


def test_every_file_with_schemes_has_its_place_in_history():
    """Schemes in a file that is not in HISTORY would be left out silently."""
    files = {path.stem for path in Path(scheme_files.__path__[0]).glob("*.py")} - {"__init__"}
    found = set()
    for file in files:
        module = importlib.import_module(f"{scheme_files.__name__}.{file}")
        found |= {file for cls in vars(module).values() if is_scheme_of(cls, module)}
    assert found == set(scheme_files.HISTORY)


def test_each_design_has_one_scheme_by_day():
    assert set(by_day(sweep(machines()))) == set(DESIGNS)
    assert {design_of(name) for name in machines()} == {design_of(name) for name in DESIGNS}


def test_each_design_that_had_a_bug_has_one_by_day():
    found = [design_of(bugs()[name].__mro__[1].name) for name in by_day(sweep_of_bugs(bugs()))]
    assert len(found) == len(set(found))
    assert set(found) <= {design_of(name) for name in DESIGNS}


def test_the_line_of_classes_of_a_design_is_short():
    """An author reads it from the newest class down; see docs/adr/0014-a-scheme-is-composed.md."""
    lines = {name: cls.__mro__[:-1] for name, cls in every_scheme().items()}
    assert len(lines["avc-7.0"]) <= 7
    assert max(map(len, lines.values())) <= 9
