"""kernel inside: compares the model with a user-mode Linux, operation by operation."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rmapcheck.cli.common import Out, command, kernel_app
from rmapcheck.cli.results import FOLDER, good
from rmapcheck.host.errors import Unavailable
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.oracle.uml import compare_in_uml
from rmapcheck.verdict import Exit


@command(name="inside", group=kernel_app)
def kernel_inside_command(
    out: Out,
    kernel: Annotated[Path, typer.Argument(metavar="FILE", help="A user-mode Linux with hostfs.")],
    operations: Annotated[int, typer.Option(help="Number of operations.")] = 5_000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same operations.")] = 1,
    processes: Annotated[int, typer.Option(help="As for `rmapcheck kernel`.")] = 6,
    pages: Annotated[int, typer.Option(help="As for `rmapcheck kernel`.")] = 10,
    scheme: Annotated[str, typer.Option(metavar="BUG", help="As for `rmapcheck kernel`.")] = "",
    memory: Annotated[int, typer.Option(metavar="MB", help="Memory of the kernel.")] = 512,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Stop the kernel after this time.")
    ] = 600,
    save: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Save the run of a difference here.")
    ] = Path(FOLDER),
) -> int:
    """Compare the model with another kernel: run `rmapcheck kernel` in user-mode Linux.

    The exit code is that of `rmapcheck kernel`. Root is not needed.
    """
    if not 128 <= memory <= 100_000:
        raise ModelError(f"--memory must be from 128 to 100000 megabytes, not {memory}")
    if not 0 < timeout <= 100_000:
        raise ModelError(f"--timeout must be from 0 to 100000 seconds, not {timeout:g}")
    words = [f"--operations={operations}", f"--seed={seed}", f"--processes={processes}"]
    words += [f"--pages={pages}", *(["--json"] if out.as_json else [])]
    words += [f"--scheme={shlex.quote(scheme)}"] if scheme else []
    try:
        done = compare_in_uml(kernel, words, seconds=timeout, memory=memory, save=save)
    except Unavailable as error:
        return out.error(str(error), Exit.INCONCLUSIVE)
    for line in done.errors.splitlines():
        out.complain(line.removeprefix("rmapcheck: "))
    if out.as_json and done.text:
        out.data(json.loads(done.text))
    _show(out, done.text.splitlines(), done.code)
    for case in done.cases:
        out.verdict(f"copied    {case}", good=None)
    return done.code


def _show(out: Out, lines: list[str], code: Exit) -> None:
    """Print the output from inside; its verdict also with --quiet."""
    for line in lines:
        if line.startswith(("no difference", "the first difference", "nothing was compared")):
            out.verdict(line, good=good(code))
        else:
            out.show(line)
