"""Each rule that the code cites is one of docs/reference/spec, and each of those is cited.

A citation is ``PAGE#RULE``; the rules of a page are its headings of the third level.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.plugins.catalogue import bugs

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


BUG = re.compile(r"\b[BE]\d\d\b")
NUMBERED = dict(re.findall(r"^\| (B\d\d) \|(.*)$", PAGES["bugs"], re.MULTILINE))
TEXTS = [
    *ROOT.glob("docs/**/*.md"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")),
    *(path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts),
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_numbered_bug_is_seeded_or_in_the_list(path):
    named = set(BUG.findall(path.read_text(encoding="utf-8")))
    assert named - bugs().keys() - NUMBERED.keys() == set()


def test_the_list_says_which_bugs_are_seeded():
    seeded = {name for name, text in NUMBERED.items() if re.search(r"\| seeded \|", text)}
    assert seeded == {name for name in bugs() if name[0] == "B"}


def test_the_list_names_rules_that_exist():
    known = {rule.partition("#")[2] for rule in rules("Rules") + rules("Not modelled")}
    broken = {text.split(" | ")[-3] for text in NUMBERED.values()}
    assert broken - known == {"–"}
