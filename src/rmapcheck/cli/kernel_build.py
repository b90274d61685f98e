"""kernel build: builds user-mode kernels with and without a fix, and compares them."""

from pathlib import Path
from typing import Annotated

import typer

from rmapcheck.cases.case import load_case
from rmapcheck.cases.schema import SCHEMA_FILE
from rmapcheck.cli.common import Out, command, kernel_app
from rmapcheck.cli.kernel_run import sentence
from rmapcheck.cli.results import good
from rmapcheck.host.compile import cache_folder
from rmapcheck.host.errors import Unavailable
from rmapcheck.host.kernels.edits import REVERTED_FIXES
from rmapcheck.host.kernels.recipe import Recipe
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.plugins.find import find_scheme
from rmapcheck.reproduce.run import Reproduction, reproduce
from rmapcheck.verdict import Exit

Bugs = Annotated[
    list[str] | None,
    typer.Argument(metavar="BUG...", help=f"Some of {', '.join(REVERTED_FIXES)}; by default all."),
]


@command(name="build", group=kernel_app)
def kernel_build_command(
    out: Out,
    bugs: Bugs = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Build here; by default in the cache folder.")
    ] = None,
    version: Annotated[
        str, typer.Option("--linux", metavar="VERSION", help="Of Debian's linux-source-VERSION.")
    ] = "6.1",
    jobs: Annotated[int, typer.Option(help="How many compilers to run at once.")] = 2,
) -> int:
    """Build kernels with and without a fix. Run the bug's case on both.

    The first time, this takes about five minutes of CPU time and 1.6 GB of disk.
    """
    wanted = bugs or list(REVERTED_FIXES)
    recipe = Recipe(folder or cache_folder() / "kernels", version, out.show, jobs=jobs)
    try:
        recipe.make_all(wanted)
        codes = [_show_both(out, recipe, bug) for bug in wanted]
    except Unavailable as error:
        return out.error(str(error), Exit.INCONCLUSIVE)
    worst = max(codes)
    out.data({"kernels": [str(recipe.kernel(b)) for b in ("", *wanted)], "exit": int(worst)})
    return worst


def _show_both(out: Out, recipe: Recipe, bug: str) -> Exit:
    """Run the case on both kernels; each must behave like its model."""
    fix = REVERTED_FIXES[bug]
    case = load_case(SCHEMA_FILE.parent / f"{fix.case}.json")
    scheme = find_scheme(fix.bug)
    codes = []
    for kernel, model in ((recipe.kernel(), without_bug(scheme)), (recipe.kernel(bug), scheme)):
        done = reproduce(case, model, kernel=kernel)
        out.verdict(f"{kernel.name}: {sentence(done)}", good=good(done.exit))
        for line in _places(done):
            out.show(f"  {line}")
        codes.append(done.exit)
    return max(codes)


def _places(done: Reproduction) -> list[str]:
    lines = [
        f"page {page} of process {mm} stays mapped in {some} of {of} arenas"
        for (mm, page), (some, of) in sorted(done.mapped.items())
        if some
    ]
    return [*lines, *done.splats]
