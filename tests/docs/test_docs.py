"""The documentation is the code's: pages made anew are the same, and each link leads somewhere."""

import re
from pathlib import Path

import pytest

from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.plugins.catalogue import every_scheme
from rmapcheck.run import Run
from rmapcheck.tables.pages import PICTURED, STEPS, page, pages, picture, prose

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "schemes"
TEXTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def broken_links(path, text):
    """Return the targets of a Markdown text's links that are no files."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [t.partition("#")[0] for t in targets if "://" not in t]
    return [t for t in local if t and not (path.parent / t).exists()]


def test_make_docs_changes_no_page_of_a_scheme():
    made = pages()
    assert {p.name for p in FOLDER.iterdir()} == made.keys(), "run `make docs`"
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run `make docs`"


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found():
    text = "[a](README.md) [b](nowhere.md#x) [c](https://no.where)\n```text\n[d](e)\n```\n"
    assert broken_links(ROOT / "README.md", text) == ["nowhere.md"]


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
    text = page(Other)
    assert "Says something new." in text
    assert "[avc-7.0](avc-7.0.md)" in text
    assert "| `may_reuse()` | Never. |" in text
    assert "| `walk_checks_pte` | `False`, not `True` |" in text
    assert "| `anon_vma_fork()`" not in text


def test_a_picture_says_what_its_run_violates():
    class Blind(AvcPublish):
        def rmap_walk(self, st, folio, rwc):
            """Find nothing."""

    assert "Step 2 violates `walk_complete`: Let " in picture(Blind)
    assert "violates" not in picture(AvcPublish)


def test_a_drawing_of_a_docstring_is_a_block():
    text = prose("Head.\n\nAs in::\n\n    a ──> b\n\n      c\n\nAnd model/machine/heap.py, no.py.")
    assert text.splitlines() == [
        "Head.",
        "",
        "As in:",
        "",
        "```text",
        "a ──> b",
        "",
        "  c",
        "```",
        "",
        "And [model/machine/heap.py](../../model/machine/heap.py), no.py.",
    ]
