"""What a sweep over all schemes does by day, and what it leaves to `make nightly`.

A test that says the same of forty schemes says it by day of one of each design, its newest, and
at night of all.
"""

import pytest

from rmapcheck.plugins.catalogue import bugs

DESIGNS = (
    "virtual_scan-2.4.23aa2",
    "pte_chain-2.6.0",
    "rmap-speedup",
    "rmap15",
    "objrmap-2.6.6",
    "anonmm-2.6.7-rc1",
    "anon_vma-2.6.32",
    "avc-7.0",
)


def design_of(name):
    """Return the design of a scheme: its name without the kernel's version."""
    return name.partition("-")[0]


def sweep(names, by_day=DESIGNS):
    """Return parameters for all schemes of `names`; those that are not `by_day` are nightly."""
    return [
        pytest.param(name, marks=() if name in by_day else pytest.mark.nightly) for name in names
    ]


def sweep_of_bugs(names):
    """Return parameters for all bugs of `names`; all but the first of each design are nightly."""
    seen, found = set(), []
    for name in names:
        design = design_of(bugs()[name].__mro__[1].name)
        found.append(pytest.param(name, marks=pytest.mark.nightly if design in seen else ()))
        seen.add(design)
    return found
