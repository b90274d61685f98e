"""Reverts fixes: small edits of a kernel's source, each of which brings one known bug back.

An edit replaces one condition by an equivalent of the one before the fix. It is written by us, not
a reverse patch. It applies only if its text occurs exactly once, so it cannot apply in part.
"""

import re
from pathlib import Path

import attrs

from rmapcheck.model.machine.errors import ModelError


@attrs.frozen
class Edit:
    """Replaces `old` by `new` in `file`; white space in `old` matches any white space."""

    file: str
    old: str
    new: str

    def applied(self, text: str, place: str) -> str:
        """Return `text` with the edit made. Raise ModelError unless `old` occurs exactly once.

        `place` is the name of the source tree, for the message.
        """
        pattern = r"\s*".join(re.escape(word) for word in re.findall(r"\w+|[^\w\s]", self.old))
        changed, count = re.subn(pattern, lambda _match: self.new, text)
        if count != 1:
            raise ModelError(
                f"{place}/{self.file} has {count} places that read `{self.old}` instead of one; "
                "the edits were written for Linux 6.1"
            )
        return changed


@attrs.frozen(kw_only=True)
class RevertedFix:
    """A fix that is reverted: the bug that comes back, and the case that shows it."""

    bug: str
    """Name of the seeded bug in the model, for `find_scheme`."""
    fixed: str
    """Commit of the fix."""
    case: str
    """Name of the saved case."""
    edits: tuple[Edit, ...]


REVERTED_FIXES = {
    # The fix replaced `degree` by two counters, whose sum is the old number. They are updated at
    # the same places (anon_vma_alloc(), anon_vma_fork(), anon_vma_prepare(), anon_vma_clone(),
    # unlink_anon_vmas(), mm/rmap.c), so only the condition has to be reverted.
    "B23": RevertedFix(
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
    # A VMA may adopt its neighbour's anon_vma even if the neighbour is a fork child.
    "B04": RevertedFix(
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
    # A shared page that is swapped in gets the anon_vma of the process that faults first.
    "B02": RevertedFix(
        bug="B02@avc-6.0",
        fixed="ea90002b0fa7",
        case="B02-in-v6",
        edits=(Edit("mm/rmap.c", "if (!exclusive) anon_vma = anon_vma->root;", ""),),
    ),
}


class Source:
    """A kernel source tree in which fixes can be reverted and restored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: dict[Path, str] = {}

    def revert(self, fix: RevertedFix) -> None:
        """Make all edits of one fix. Raise ModelError, and change nothing, if one does not fit."""
        changed: dict[Path, str] = {}
        for edit in fix.edits:
            path = self.folder / edit.file
            if not path.exists():
                raise ModelError(f"there is no {path}; the edits were written for Linux 6.1")
            text = changed.get(path) or path.read_text(encoding="utf-8")
            changed[path] = edit.applied(text, str(self.folder))
        for path, text in changed.items():
            self.saved.setdefault(path, path.read_text(encoding="utf-8"))
            path.write_text(text, encoding="utf-8")

    def restore(self) -> None:
        """Restore all changed files."""
        for path, text in self.saved.items():
            path.write_text(text, encoding="utf-8")
        self.saved.clear()
