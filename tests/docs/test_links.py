"""Each relative link of each Markdown file leads to a file, and each anchor to a heading in it."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def markdown_files():
    """Return the Markdown files of the repository, those that git does not know yet included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    found = [ROOT / name for name in listed] or [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return [path for path in found if path.is_file()]


def without_blocks(text):
    """Return a Markdown text without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def links(text):
    """Return the targets of the links of a Markdown text that leave no trace of a protocol."""
    prose = re.sub(r"`[^`\n]*`", "", without_blocks(text))
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", t)]


@cache
def anchors(path):
    """Return the anchors of a Markdown file's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(
        r"^#+ +(.*)$", without_blocks(path.read_text("utf-8")), re.MULTILINE
    ):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", a) is not None for a in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken(path, text):
    """Return the targets in a text at `path` that lead nowhere."""
    found = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        there = (path.parent / name) if name else path
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in anchors(there)
        ):
            found.append(target)
    return found


@pytest.mark.parametrize("path", markdown_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert broken(path, path.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found():
    text = (
        "[a](README.md) [b](nowhere.md#x) [c](https://no.where) [d](README.md#nothing) `[e](f)`\n"
        "[g](README.md#three-tasks)\n```text\n[h](i)\n```\n"
    )
    assert broken(ROOT / "README.md", text) == ["nowhere.md#x", "README.md#nothing"]
