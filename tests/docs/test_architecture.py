"""ARCHITECTURE.md and CONTRIBUTING.md name files and folders that exist, and every room."""

import re
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


def test_every_room_is_named():
    rooms = {f"`{path.name}/`" for path in CODE.iterdir() if (path / "__init__.py").is_file()}
    assert {room for room in rooms if room not in text("ARCHITECTURE.md")} == set()


def test_architecture_is_one_page():
    assert text("ARCHITECTURE.md").count("\n") <= 110
