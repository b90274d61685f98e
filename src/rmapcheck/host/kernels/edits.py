"""Fixes undone: small edits of a kernel's source, each of which brings one known bug back.

An edit replaces one condition by what it was before the fix, in our own words; it is no patch. It
applies only where its text is there exactly once, so that it can never half apply.
"""

import re
from pathlib import Path

import attrs

from rmapcheck.model.machine.errors import ModelError


@attrs.frozen
class Edit:
    """`old` becomes `new` in `file`; white space in `old` stands for any."""

    file: str
    old: str
    new: str

    def applied(self, text: str, place: str) -> str:
        """Return `text` with the edit made. Raise ModelError unless it fits exactly once."""
        pattern = r"\s*".join(re.escape(word) for word in re.findall(r"\w+|[^\w\s]", self.old))
        changed, count = re.subn(pattern, lambda _match: self.new, text)
        if count != 1:
            raise ModelError(
                f"{place}/{self.file} has {count} places that read `{self.old}`, and should have "
                "one; the edits were written for Linux 6.1"
            )
        return changed


@attrs.frozen(kw_only=True)
class Undone:
    """A fix undone: the bug that it brings back, and the case that shows it."""

    bug: str
    """Seeded bug in the model, as `find_scheme` knows it."""
    fixed: str
    """Commit of the fix."""
    case: str
    """Name of the saved case."""
    edits: tuple[Edit, ...]


UNDONE = {
    # Two counters say apart what `degree` said in one number before: their sum is that number.
    # It is counted at the same places (anon_vma_alloc(), anon_vma_fork(), anon_vma_prepare(),
    # anon_vma_clone(), unlink_anon_vmas(), mm/rmap.c), so the test is all that must go back.
    "B23": Undone(
        bug="B23",
        fixed="2555283eb40d",
        case="B23-lost-page",
        edits=(
            Edit(
                "mm/rmap.c",
                "anon_vma->num_children < 2 && anon_vma->num_active_vmas == 0",
                "anon_vma != src->anon_vma && "
                "anon_vma->num_children + anon_vma->num_active_vmas < 2",
            ),
        ),
    ),
    # A VMA may adopt its neighbour's anon_vma whatever else that one has inherited.
    "B04": Undone(
        bug="B04@avc-6.0",
        fixed="d0e9fe1758f2",
        case="B04-in-v6",
        edits=(
            Edit(
                "mm/mmap.c",
                "if (anon_vma && list_is_singular(&old->anon_vma_chain))",
                "if (anon_vma)",
            ),
        ),
    ),
    # A shared page that comes back from swap belongs to whoever asked first.
    "B02": Undone(
        bug="B02@avc-6.0",
        fixed="ea90002b0fa7",
        case="B02-in-v6",
        edits=(Edit("mm/rmap.c", "if (!exclusive) anon_vma = anon_vma->root;", ""),),
    ),
}


class Source:
    """A kernel source tree in which fixes can be undone and done again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: dict[Path, str] = {}

    def undo(self, undone: Undone) -> None:
        """Make the edits of one fix, all or none. Raise ModelError where they do not fit."""
        changed: dict[Path, str] = {}
        for edit in undone.edits:
            path = self.folder / edit.file
            if not path.exists():
                raise ModelError(f"there is no {path}; the edits were written for Linux 6.1")
            text = changed.get(path) or path.read_text(encoding="utf-8")
            changed[path] = edit.applied(text, str(self.folder))
        for path, text in changed.items():
            self.saved.setdefault(path, path.read_text(encoding="utf-8"))
            path.write_text(text, encoding="utf-8")

    def restore(self) -> None:
        """Put everything back as it was."""
        for path, text in self.saved.items():
            path.write_text(text, encoding="utf-8")
        self.saved.clear()
