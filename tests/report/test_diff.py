"""Comparing schemes: differences that processes can see, and differences of bookkeeping."""

from pathlib import Path

import attrs
import pytest

from rmapcheck.cases.case import Case, Expect, load_case
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Mmap, Mremap, Write
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.report.diff import diff

FOLDER = Path(__file__).parents[2] / "counterexamples"

EVERY = {**schemes(), **bugs()}


def compare(name, *names):
    return diff(load_case(FOLDER / f"{name}.json"), [EVERY[n] for n in names])


def test_the_bookkeeping_of_a_bug_and_its_fix_differs_at_the_step_of_the_violation():
    found = compare("B29-unfaulted-mremap-merge", "B29", "avc-6.16")
    assert found.first_visible is None
    assert found.first_bookkeeping == 5
    assert "B29 has 0 anon_vma, avc-6.16 has 1." in str(found)
    assert "use_after_free" in str(found)
    assert "+anon_vma 1: head anon_vma_chain 1" in found.pictures(5)


def test_growth_shows_in_the_number_of_objects():
    found = compare("B19-endless-growth", "B19", "avc-3.19", "avc-3.0")
    last = found.steps[-1].views
    assert last["B19"].counts["anon_vma"] == last["avc-3.0"].counts["anon_vma"] == 6
    assert last["avc-3.19"].counts["anon_vma"] < 6
    assert "processes see no difference in 11 steps" in str(found)


def test_names_of_pages_make_no_difference_to_processes():
    found = compare("B02-newest-for-shared", "avc-2.6.34", "avc-7.0")
    assert found.first_visible is None
    assert all(step.views["avc-2.6.34"].visible for step in found.steps)


def test_a_scheme_that_cannot_continue_stops_with_a_reason_and_the_others_continue():
    steps = (
        Mmap(mm=1, start=0, length=1),
        Mremap(mm=1, start=0, length=1, new_length=1, to=1, dontunmap=True),
        Write(mm=1, address=1),
    )
    case = Case(
        title="x", scheme="avc-7.0", scope=Scope(), expect=Expect(verdict="HOLDS"), steps=steps
    )
    found = diff(case, [EVERY["avc-7.0"], EVERY["avc-2.6.34"]])
    assert "MREMAP_DONTUNMAP" in found.stopped["avc-2.6.34"]
    assert list(found.steps[3].views) == ["avc-7.0"]
    assert "avc-2.6.34 stops: step 2" in str(found)


def test_a_call_that_one_kernel_refuses_is_a_visible_difference():
    steps = (
        Mmap(mm=1, start=0, length=1),
        Write(mm=1, address=0),
        Mmap(mm=1, start=1, length=1, prot="r"),
        Mremap(mm=1, start=0, length=2, new_length=2, to=2),
    )
    case = Case(
        title="x",
        scheme="avc-7.0",
        scope=Scope(pages=4),
        expect=Expect(verdict="HOLDS"),
        steps=steps,
    )
    found = diff(case, [EVERY["avc-6.0"], EVERY["avc-6.16"]])
    assert found.first_visible == 4
    assert "avc-6.0 returns -14, avc-6.16 returns 0." in found.steps[4].visible
    assert any(" has no VMA, " in text or " has " in text for text in found.steps[4].visible)


def test_a_comparison_needs_two():
    case = load_case(FOLDER / "B28-one-sided-merge.json")
    for names in ([], ["B28"], ["B28", "B28"]):
        with pytest.raises(ModelError, match="two different schemes"):
            diff(case, [EVERY[n] for n in names])


def test_a_comparison_is_the_same_every_time():
    one = compare("B04-adopt-any-neighbour", "B04", "avc-2.6.34")
    other = compare("B04-adopt-any-neighbour", "B04", "avc-2.6.34")
    assert attrs.asdict(one) == attrs.asdict(other)
