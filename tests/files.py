"""The files of the repository, for tests that read them all."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def repository_files(*patterns):
    """Return the files that match a pattern such as "*.py": those in git, and new ones.

    Links are left out: what they lead to is in the repository, too. Without git, in an unpacked
    sdist, look in the folders.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [ROOT / name for name in done.stdout.splitlines()]
    if not found:
        hidden = (path for pattern in patterns for path in ROOT.rglob(pattern))
        found = [path for path in hidden if "/." not in str(path.relative_to(ROOT.parent))]
    return sorted({path for path in found if path.is_file() and not path.is_symlink()})
