"""Turns docstrings into Markdown: fences their drawings, links the files and rules they name."""

import inspect
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "docs" / "reference" / "spec"
CITATION = re.compile(r"\b([a-z_]+)#([a-z]+(?:-[a-z]+)*)")


def prose(text: str | None) -> str:
    """Return a docstring as Markdown, with its drawings in fences and its references as links."""
    found: list[str] = []
    drawing: list[str] | None = None
    for line in inspect.cleandoc(text or "").splitlines():
        if drawing is not None and line and line[0] != " ":
            found += [*fenced(drawing), ""]
            drawing = None
        if drawing is not None:
            drawing.append(line)
        elif line.endswith("::"):
            found += [linked(line[:-1]), ""]
            drawing = []
        else:
            found.append(linked(line))
    return "\n".join([*found, *(fenced(drawing) if drawing else [])])


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
