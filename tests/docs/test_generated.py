"""Generated pages are those of the code, and say what a class says, each thing once."""

from pathlib import Path

import pytest

from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.plugins.catalogue import every_scheme
from rmapcheck.report.markdown import joined, spans
from rmapcheck.run import Run
from rmapcheck.tables.__main__ import pages
from rmapcheck.tables.designs import PICTURED, STEPS, designs, page, violated
from rmapcheck.tables.prose import prose

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MOST_LINES = 2_000
"""Of all generated pages together: what is equal is said once."""


@pytest.fixture(scope="module")
def made():
    return pages()


def test_make_docs_changes_nothing(made):
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name}: run `make docs`"


def test_there_is_no_other_page_of_a_design(made):
    found = {f"schemes/{path.name}" for path in (DOCS / "schemes").iterdir()}
    assert found == {name for name in made if name.startswith("schemes/")}


def test_generated_pages_are_short_together(made):
    lines = sum(text.count("\n") for text in made.values())
    assert lines <= MOST_LINES, "a new design may add a hundred"


def test_each_scheme_is_on_one_page():
    names = [cls.name for eras in designs().values() for cls in eras]
    assert sorted(names) == sorted(every_scheme())


@pytest.mark.parametrize("name", every_scheme())
def test_the_run_of_the_picture_goes_to_its_end(name):
    machine = Run(every_scheme()[name], PICTURED)
    for op in STEPS:
        assert not machine.apply(op)
        assert not machine.outcome.oops
        assert not machine.outcome.error


def test_a_page_shows_what_a_class_says_and_overrides():
    class Other(AvcPublish):
        """Says something new."""

        name = "other"
        walk_checks_pte = False

        def may_reuse(self, st, anon_vma, own):
            """Never."""
            return False

    Other.__module__ = AvcPublish.__module__
    text = page("avc", [AvcPublish, Other])
    assert "Says something new." in text
    assert "| other | `may_reuse()` | Never. |" in text
    assert "| other | `walk_checks_pte` | `False`, not `True` |" in text
    assert "| other | `anon_vma_fork()`" not in text


def test_a_picture_says_what_its_run_violates():
    class Blind(AvcPublish):
        def rmap_walk(self, st, folio, rwc):
            """Find nothing."""

    assert violated(Blind)[0].startswith("step 2 violates `walk_complete`: Let ")
    assert violated(AvcPublish) == []


def test_rows_that_differ_in_their_first_cell_only_are_one():
    order = ["a", "b", "c", "d"]
    assert list(joined([("a", "1"), ("b", "2"), ("c", "1"), ("d", "1")], order)) == [
        ("a, c … d", "1"),
        ("b", "2"),
    ]


def test_neighbours_are_named_by_the_first_and_the_last():
    assert spans(["b", "a", "c"], ["a", "b", "c", "d"]) == "a … c"
    assert spans(["a", "d"], ["a", "b", "c", "d"]) == "a, d"
    assert spans([], ["a"]) == ""


def test_a_drawing_of_a_docstring_is_a_block_and_what_it_names_is_linked():
    text = prose(
        "Head,\nin two lines.\n\n- one\n- two\n\nAs in::\n\n    a ──> b\n\n      c\n\n"
        "And model/machine/heap.py, no.py, avc#keys, no#rule."
    )
    assert text.splitlines() == [
        "Head, in two lines.",
        "",
        "- one",
        "- two",
        "",
        "As in:",
        "",
        "```text",
        "a ──> b",
        "",
        "  c",
        "```",
        "",
        (
            "And [model/machine/heap.py](../../model/machine/heap.py), no.py, "
            "[avc#keys](../reference/spec/avc.md#keys), no#rule."
        ),
    ]
