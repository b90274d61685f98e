"""`python -m rmapcheck.tables docs` regenerates the generated pages of the documentation."""

import sys
from pathlib import Path

from rmapcheck.cost import tables as cost
from rmapcheck.host.files import write_whole
from rmapcheck.tables import designs, reference


def pages() -> dict[str, str]:
    """Return the text of all generated pages, by path below docs."""
    return {**designs.pages(), **reference.pages(), "reference/cost.md": cost.page()}


def main() -> None:
    """Write the pages into the folder that the command line names; remove pages of old designs."""
    folder = Path(sys.argv[1])
    made = pages()
    for old in (folder / "schemes").glob("*.md"):
        if f"schemes/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


if __name__ == "__main__":
    main()
