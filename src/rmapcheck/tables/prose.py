"""Turns docstrings into Markdown: fences their drawings, links the files and rules they name."""

import inspect
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "docs" / "reference" / "spec"
WIDTH = 120
"""Columns of a page, before references become links."""
CITATION = re.compile(r"\b([a-z_]+)#([a-z]+(?:-[a-z]+)*)")


def prose(text: str | None) -> str:
    """Return a docstring as Markdown: wrapped, with drawings in fences, and with links."""
    found: list[str] = []
    paragraph: list[str] = []
    drawing: list[str] | None = None
    for line in [*inspect.cleandoc(text or "").splitlines(), ""]:
        if drawing is not None and line and line[0] != " ":
            found += [*fenced(drawing), ""]
            drawing = None
        if drawing is not None:
            drawing.append(line)
        elif line and line[0] not in " -":
            paragraph.append(line[:-1] if line.endswith("::") else line)
        else:
            found += [*wrapped(paragraph), linked(line)]
            paragraph = []
        if line.endswith("::"):
            found += [*wrapped(paragraph), ""]
            paragraph, drawing = [], []
    return "\n".join([*found, *(fenced(drawing) if drawing else [])]).rstrip("\n")


def wrapped(lines: list[str]) -> list[str]:
    """Return a paragraph in lines as wide as those of other pages, with references as links."""
    text = " ".join(lines)
    wide = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [linked(line) for line in wide]


def fenced(lines: list[str]) -> list[str]:
    """Return the lines of a drawing, without their common indent, in a fence."""
    return ["```text", *textwrap.dedent("\n".join(lines)).strip("\n").splitlines(), "```"]


def linked(line: str) -> str:
    """Return a line of a page in docs/schemes, with the files and rules that it names as links."""

    def link(match: "re.Match[str]") -> str:
        name = match[0] if "/" in match[0] else f"model/schemes/{match[0]}"
        return f"[{match[0]}](../../{name})" if (ROOT / name).is_file() else match[0]

    line = re.sub(r"\b((?:model|docs)/(\w+/)*)?\w+\.(?:py|md)\b", link, line)
    return cited(line, "../reference/spec")


def cited(line: str, spec: str) -> str:
    """Return a line with each PAGE#RULE as a link; `spec` is the path of the specification."""

    def link(match: "re.Match[str]") -> str:
        known = (SPEC / f"{match[1]}.md").is_file()
        return f"[{match[0]}]({spec}/{match[1]}.md#{match[2]})" if known else match[0]

    return CITATION.sub(link, line)
