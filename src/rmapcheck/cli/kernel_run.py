"""kernel run: runs a saved case on a real kernel, and compares it with the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from rmapcheck.cli.cases import OneCase, Other, loaded, own_scheme, read_case
from rmapcheck.cli.common import Out, command, kernel_app
from rmapcheck.cli.results import good, plain_table
from rmapcheck.host.errors import Unavailable
from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.plugins.guard import scheme_errors, watchdog
from rmapcheck.reproduce.prediction import Prediction
from rmapcheck.reproduce.program import UNSEEN
from rmapcheck.reproduce.run import Reproduction, reproduce
from rmapcheck.verdict import Exit

ARENAS = 20_000


@command(name="run", group=kernel_app)
def kernel_run_command(
    out: Out,
    case: OneCase,
    kernel: Annotated[
        Path | None,
        typer.Option(
            "--kernel", metavar="FILE", help="A user-mode Linux or bzImage; else the running one."
        ),
    ] = None,
    scheme: Other = "",
    holds: Annotated[
        bool, typer.Option("--holds", help="Expect a kernel that does not have the case's bug.")
    ] = False,
    arenas: Annotated[int, typer.Option(help="How many copies of the run to do at once.")] = 200,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Stop the kernel after this time.")
    ] = 120,
    memory: Annotated[int, typer.Option(metavar="MB", help="Memory of the kernel.")] = 256,
    module: Annotated[
        list[Path] | None, typer.Option("--module", metavar="FILE.ko", help="Load it first.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Write the kernel's output here.")
    ] = None,
    shared_swap: Annotated[
        bool, typer.Option("--shared-swap", help="Use the swap that the machine has.")
    ] = False,
) -> int:
    """Run a case on a real kernel. Show which pages stay mapped there, and in the model.

    0: the kernel behaves like the model; 1: it does not; 3: it could not be checked.
    """
    _check(arenas, timeout, memory)
    saved = read_case(case)
    cls = loaded(scheme) or own_scheme(case, saved)
    if holds:
        cls = without_bug(cls)
    try:
        with scheme_errors(cls), watchdog(cls):
            done = reproduce(
                saved,
                cls,
                kernel=kernel,
                seconds=timeout,
                arenas=arenas,
                memory=memory,
                modules=module or (),
                shared_swap=shared_swap,
            )
    except Unavailable as error:
        return out.error(str(error), Exit.INCONCLUSIVE)
    if log is not None:
        _write(log, done.log.text)
    show(out, done)
    return done.exit


def _check(arenas: int, timeout: float, memory: int) -> None:
    if not 1 <= arenas <= ARENAS:
        raise ModelError(f"--arenas must be from 1 to {ARENAS}, not {arenas}")
    if not 0 < timeout <= 100_000:
        raise ModelError(f"--timeout must be from 0 to 100000 seconds, not {timeout:g}")
    if not 64 <= memory <= 100_000:
        raise ModelError(f"--memory must be from 64 to 100000 megabytes, not {memory}")


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror})") from None


def show(out: Out, done: Reproduction) -> None:
    """Print which pages stay mapped on the kernel and in the model, and whether the two agree."""
    out.show(f"case    {done.case.title}")
    out.show(f"kernel  {done.kernel or 'it did not get far enough to print its version'}")
    out.show(_table(done))
    for splat in done.splats:
        out.show(f"kernel  {splat}")
    out.verdict(sentence(done), good=good(done.exit))
    out.data(_json(done))


def _predictions(done: Reproduction) -> Iterator[Prediction]:
    yield done.prediction
    if done.fixed is not None:
        yield done.fixed


def _table(done: Reproduction) -> Any:  # noqa: ANN401 - a rich table
    columns = [f"in {made.scheme.name}" for made in _predictions(done)]
    table = plain_table("process", "page", "mapped after reclaim", *columns)
    for (mm, page), (some, of) in sorted(done.mapped.items()):
        stays = [(mm, page) in made.places for made in _predictions(done)]
        words = ["stays mapped" if yes else "-" for yes in stays]
        table.add_row(str(mm), str(page), f"{some} of {of}", *words)
    return table


def sentence(done: Reproduction) -> str:
    """Return the result of the run as one sentence: as expected, not as expected, or unknown."""
    result = f"{done.verdict or 'no verdict'}{f' ({done.reason})' if done.reason else ''}"
    if done.exit is Exit.INCONCLUSIVE:
        why = "" if done.verdict != "OK" or done.distinguishes else f" {UNSEEN}"
        return f"nothing is known about this kernel: {result}.{why}"
    expected = done.prediction.scheme.name
    names = [made.scheme.name for made in _predictions(done) if done.agrees(made)]
    if expected in names:
        return f"as expected, the kernel behaves like {expected}: {result}."
    if not names:
        return f"not as expected, the kernel does not behave like {expected}: {result}."
    other = f"it behaves like {names[0]}, which is expected with --holds"
    return f"not as expected, the kernel does not have the bug of {expected}: {other}."


def _json(done: Reproduction) -> dict[str, Any]:
    return {
        "kernel": done.kernel or None,
        "verdict": done.verdict or None,
        "reason": done.reason or None,
        "mapped": [
            {"mm": mm, "page": page, "arenas": some, "of": of}
            for (mm, page), (some, of) in sorted(done.mapped.items())
        ],
        "predictions": {
            made.scheme.name: {
                "stays": sorted(made.places),
                "agrees": done.agrees(made),
            }
            for made in _predictions(done)
        },
        "splats": list(done.splats),
        "seconds": round(done.log.seconds, 2),
        "exit": int(done.exit),
    }
