"""Docstrings as Markdown: their drawings, and links to the files and rules that they name."""

import inspect
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "docs" / "reference" / "spec"
CITATION = re.compile(r"\b([a-z_]+)#([a-z]+(?:-[a-z]+)*)")


def prose(text: str | None) -> str:
    """Return a docstring as Markdown: drawings fenced; files and rules of the spec linked."""
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
    """Return a drawing as a block of Markdown."""
    return ["```text", *textwrap.dedent("\n".join(lines)).strip("\n").splitlines(), "```"]


def linked(line: str) -> str:
    """Return a line with the files and rules that it names as links, seen from docs/schemes."""

    def link(match: "re.Match[str]") -> str:
        name = match[0] if "/" in match[0] else f"model/schemes/{match[0]}"
        return f"[{match[0]}](../../{name})" if (ROOT / name).is_file() else match[0]

    line = re.sub(r"\b((?:model|docs)/(\w+/)*)?\w+\.(?:py|md)\b", link, line)
    return cited(line, "../reference/spec")


def cited(line: str, spec: str) -> str:
    """Return a line with each PAGE#RULE as a link into the folder `spec`."""

    def link(match: "re.Match[str]") -> str:
        known = (SPEC / f"{match[1]}.md").is_file()
        return f"[{match[0]}]({spec}/{match[1]}.md#{match[2]})" if known else match[0]

    return CITATION.sub(link, line)
