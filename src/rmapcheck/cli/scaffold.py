"""new: writes a scheme to start from, and its test."""

import keyword
import sys
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from rmapcheck.cli.common import Out, command
from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.plugins import catalogue
from rmapcheck.verdict import Exit

SCHEME = Template('''"""$title: a variant of anon_vma_chain, as it is in v7.0 (avc-7.0).

An anon_vma stands for the pages that were first written in one VMA. An anon_vma_chain (AVC) means
that a VMA may map pages of an anon_vma. A VMA that maps a page must have an AVC to the anon_vma in
page->mapping; otherwise reclaim does not find that mapping.

Each method below is one decision, as v7.0 takes it. Change one, then run

    rmapcheck verify $file

To see how a fault is caught, let `may_adopt` return True, or set inherits_copied_from to False.

A scheme must not look at page tables (st.pte), because its answers are checked against them. What
it remembers must be in structs or fields of the state, never in self.
"""

import attrs

from rmapcheck.model.machine.state import anon_vma_compatible
from rmapcheck.model.schemes.anon_vma_graph import chain_is_singular
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish


class $cls(AvcPublish):
    """Write here, in one line, what is different about this scheme."""

    name = "$name"
    title = "a short title for `rmapcheck verify` to print"

    # Decision 1: when mremap() merges the copied VMA with a neighbour that was never faulted, the
    # neighbour gets its anon_vma. Without this, pages are moved into a VMA that has no anon_vma.
    era = attrs.evolve(AvcPublish.era, kernels="none yet", inherits_copied_from=True)

    # Decision 2: fork may give the child an idle anon_vma of an ancestor instead of a new one, so
    # that chains stop growing. Idle means: no VMA's own, and with at most one child.
    def may_reuse(self, st, anon_vma, own):
        a = st.anon_vma[anon_vma]
        return a.num_children < 2 and a.num_active_vmas == 0

    # Decision 3: a VMA that is faulted for the first time may adopt its neighbour's anon_vma, so
    # that the two can merge later. It may not if the neighbour has inherited other anon_vmas,
    # because then the two chains would differ.
    def reusable_anon_vma(self, st, old, a, b):
        if anon_vma_compatible(st, a, b) and self.may_adopt(st, old):
            return st.vma[old].anon_vma
        return 0

    def may_adopt(self, st, neighbour):
        return chain_is_singular(st, neighbour)

    # Decision 4: may `tgt` take over pages whose VMA has `anon_vma` (0: was never faulted)? If
    # only one of the two is faulted, it must not be a fork child, whose chain has more than one
    # AVC.
    def is_mergeable_anon_vma(self, st, tgt, anon_vma, middle, copied_from):
        other = st.vma[tgt].anon_vma
        if other == 0 and anon_vma:
            return not self.is_fork_child(st, middle) and not self.is_fork_child(st, copied_from)
        if other and anon_vma == 0:
            return not self.is_fork_child(st, tgt)
        return other == anon_vma

    # Decision 5: when only this VMA maps a page, a write fault moves the page down to the VMA's
    # own anon_vma, so that later walks visit fewer VMAs.
    def folio_move_anon_rmap(self, st, folio, vma):
        st.folio[folio].mapping = st.vma[vma].anon_vma
''')

TEST = Template('''\
"""Tests that every scheme must pass, for $name; `rmapcheck verify` checks more."""

from pathlib import Path

from rmapcheck.plugins.find import find_scheme
from rmapcheck.testing import SMALL, SchemeConformance
from rmapcheck.verify import LADDER


class Test$cls(SchemeConformance):
    scheme = find_scheme(str(Path(__file__).with_name("$file")))
    scopes = (*SMALL, LADDER[6])
''')


@command(name="new")
def new_command(
    out: Out,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the scheme, such as lazy_clone.")
    ],
    folder: Annotated[Path, typer.Option("--folder", help="Write the files here.")] = Path(),
) -> int:
    """Write a scheme of your own to start from.

    NAME.py passes all checks, and explains how to make it fail; test_NAME.py is its test.
    """
    words = _words(name)
    files = {
        folder / words["file"]: SCHEME.substitute(words),
        folder / f"test_{words['file']}": TEST.substitute(words),
    }
    for path in files:
        if path.exists():
            raise ModelError(f"{path} exists already; choose another name or folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(files)
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written to ({error.strerror}); choose another --folder"
        ) from None
    for path in files:
        out.verdict(f"wrote  {path}", good=True)
    out.show(f"next   rmapcheck verify {folder / words['file']}")
    out.data({"files": [str(path) for path in files]})
    return Exit.EXPECTED


def _words(name: str) -> dict[str, str]:
    module = name.removesuffix(".py").replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module) or not module.isascii():
        raise ModelError(f"{name!r} cannot name a Python module; choose a name like lazy_clone")
    if module in sys.stdlib_module_names:
        raise ModelError(f"{module!r} is a module of Python itself; choose another name")
    shown = module.replace("_", "-")
    if shown in catalogue.schemes() or shown in catalogue.bugs():
        raise ModelError(f"there is already a built-in scheme {shown!r}; choose another name")
    cls = "".join(word[:1].upper() + word[1:] for word in module.split("_"))
    title = module.replace("_", " ")
    return {"name": shown, "file": f"{module}.py", "cls": cls, "title": title}


def _write(files: dict[Path, str]) -> None:
    """Write all files, or none: if one cannot be written, those before it are removed."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            write_whole(path, text)
            written.append(path)
    except OSError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
