"""ARCHITECTURE.md and CONTRIBUTING.md name files and folders that exist, and every room."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "src" / "rmapcheck"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_paths_exist(name):
    named = re.findall(
        r"`((?:[\w.]+/)+(?:[\w.]+\.\w+)?|[\w.]+/[\w./]+\.(?:py|md|toml))`", text(name)
    )
    assert named
    places = (ROOT, CODE, ROOT / "model")
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


def test_names_are_in_the_files_that_are_given_with_them():
    named = re.findall(r"`([\w./]+\.(?:py|c))` \(`([^`]+)`\)", text("ARCHITECTURE.md"))
    assert len(named) > 4
    assert [(path, name) for path, name in named if name not in text(path)] == []


def test_the_rows_are_those_that_lint_checks():
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers" and c.get("exhaustive"))
    checked = {
        room: row for row, layer in enumerate(reversed(layers), 1) for room in layer.split(" | ")
    }
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", text("ARCHITECTURE.md"), re.MULTILINE)
    named = {r: int(row) for row, rooms in rows for r in re.findall(r"`(\w+)(?:/|\.py)`", rooms)}
    assert named == checked


def test_architecture_is_one_page():
    assert text("ARCHITECTURE.md").count("\n") <= 110
