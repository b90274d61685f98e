"""By day, one scheme of each design represents all schemes."""

from rmapcheck.plugins.catalogue import bugs, machines
from tests.designs import DESIGNS, design_of, sweep, sweep_of_bugs


def by_day(parameters):
    return [each.values[0] for each in parameters if not each.marks]


def test_each_design_has_one_scheme_by_day():
    assert set(by_day(sweep(machines()))) == set(DESIGNS)
    assert {design_of(name) for name in machines()} == {design_of(name) for name in DESIGNS}


def test_each_design_that_had_a_bug_has_one_by_day():
    found = [design_of(bugs()[name].__mro__[1].name) for name in by_day(sweep_of_bugs(bugs()))]
    assert len(found) == len(set(found))
    assert set(found) <= {design_of(name) for name in DESIGNS}
