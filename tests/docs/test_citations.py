"""Each rule that the code cites is one of docs/reference/spec, and each of those is cited.

A citation is ``PAGE#RULE``; the rules of a page are its headings of the third level.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from rmapcheck.invariants.registry import INVARIANTS

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "docs" / "reference" / "spec"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in SPEC.glob("*.md")}
CITATION = re.compile(rf"\b({'|'.join(PAGES)})#([\w-]+)")
RULE = re.compile(r"^### ([a-z]+(?:-[a-z]+)*)$", re.MULTILINE)
SOURCES = [
    path
    for folder in ("model", "invariants", "src/rmapcheck", "tests", "stateful_tests")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
]


def section(page, title):
    """Return what stands under a heading of the second level."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def rules(title):
    """Return PAGE#RULE for each rule under the heading `title` of each page."""
    return Counter(
        f"{name}#{rule}"
        for name, page in PAGES.items()
        for rule in RULE.findall(section(page, title))
    )


def citations(text):
    """Return the rules that a text cites."""
    return {match[0] for match in CITATION.finditer(text)}


CITED = {path: citations(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_each_citation_is_of_a_rule():
    known = rules("Rules")
    unknown = {
        f"{path.relative_to(ROOT)}: {c}" for path, cs in CITED.items() for c in cs - known.keys()
    }
    assert not unknown, "no such rule in docs/reference/spec (or it is not modelled)"


def test_each_rule_is_cited():
    assert not rules("Rules").keys() - set().union(*CITED.values()), "no code cites these rules"


def test_no_rule_stands_twice():
    every = rules("Rules") + rules("Not modelled")
    assert [rule for rule, times in every.items() if times > 1] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_heading_of_the_third_level_is_a_rule(page):
    headings = re.findall(r"^### (.*)$", PAGES[page], re.MULTILINE)
    found = [
        r for title in ("Rules", "Not modelled") for r in RULE.findall(section(PAGES[page], title))
    ]
    assert found == headings


@pytest.mark.parametrize("page", PAGES)
def test_pages_cite_rules_that_exist(page):
    every = rules("Rules") + rules("Not modelled")
    assert citations(PAGES[page]) <= every.keys()


@pytest.mark.parametrize("name", INVARIANTS)
def test_sources_of_invariants_are_rules_commits_or_kernel_functions(name):
    known = (
        CITATION,
        re.compile(r"[0-9a-f]{10,40}"),
        re.compile(r"v\d\S+"),
        re.compile(r"[\w/.]+(\(\)|\.c)"),
    )
    parts = INVARIANTS[name].source.split(", ")
    assert [p for p in parts if not any(k.fullmatch(p) for k in known)] == []
