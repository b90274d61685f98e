"""doctor: checks whether everything that rmapcheck needs is installed and works."""

import importlib.metadata
import importlib.util
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import attrs
import typer

from rmapcheck.cases.case import version
from rmapcheck.cli.common import Out, command
from rmapcheck.cli.results import plain_table
from rmapcheck.explore import explore
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.find import entry_points, find_scheme
from rmapcheck.verdict import Exit, Status
from rmapcheck.verify.ladder import LADDER

NEEDED = (
    "attrs",
    "cattrs",
    "hypothesis",
    "jsonschema",
    "pytest",
    "rich",
    "typer",
    "z3-solver",
)


@attrs.frozen
class Check:
    """The result of one check."""

    name: str
    fine: bool
    says: str


@command(name="doctor")
def doctor_command(
    out: Out,
    kernel: Annotated[
        bool,
        typer.Option(
            "--kernel", help="Check instead what can be compared with the running kernel."
        ),
    ] = False,
) -> int:
    """Check the installation. Python, packages, schemes, plug-ins, the current folder."""
    if kernel:
        return _kernel(out)
    checks = list(_checks())
    table = plain_table("", "", "")
    table.show_header = False
    for check in checks:
        table.add_row("ok" if check.fine else "BAD", check.name, check.says)
    out.show(table)
    bad = [check.name for check in checks if not check.fine]
    sentence = f"not in order: {', '.join(bad)}" if bad else "everything is in order"
    out.verdict(sentence, good=not bad)
    out.data({"checks": [attrs.asdict(check) for check in checks], "fine": not bad})
    return Exit.UNEXPECTED if bad else Exit.EXPECTED


def _kernel(out: Out) -> int:
    """Set up a stage; print which tiers it has, and why the others are missing."""
    from rmapcheck.oracle.calibrate import calibrated_stage
    from rmapcheck.oracle.eras import running
    from rmapcheck.oracle.stage import TIERS, StageOptions

    release = platform.release()
    skipped, says = dict.fromkeys(TIERS, ""), ""
    try:
        says = f"predicted by {running().name}"
        with calibrated_stage(StageOptions(structure=True, shared_swap=True, wait=1.0)) as stage:
            skipped |= stage.skipped
    except ModelError as error:
        skipped = dict.fromkeys(TIERS, str(error))
    out.show(f"kernel  {release} {says}")
    for tier in TIERS:
        out.show(f"{tier:7} {'skipped: ' + skipped[tier] if skipped[tier] else 'yes'}")
    there = [tier for tier in TIERS if not skipped[tier]]
    out.verdict(f"can be compared here: {', '.join(there) or 'nothing'}", good=bool(there) or None)
    out.data(
        {"kernel": release, "tiers": there, "skipped": {k: v for k, v in skipped.items() if v}}
    )
    return Exit.EXPECTED if there else Exit.INCONCLUSIVE


def _checks() -> Iterator[Check]:
    yield Check("rmapcheck", True, version())
    yield Check("Python", sys.version_info >= (3, 11), platform.python_version())
    for package in NEEDED:
        yield _package(package)
    yield _compiler()
    yield _cache()
    yield _search()
    for name in entry_points():
        yield _plugin(name)
    yield _writable()


def _package(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, f"is missing: pip install {name}")


def _compiler() -> Check:
    """Return which compiler is used. None is needed, but long searches are 20 times as fast."""
    from rmapcheck.host.compile import compiler

    return Check("C compiler", True, compiler() or "none, so long searches are interpreted")


def _cache() -> Check:
    from rmapcheck.host.cache import CacheError, cache_folder, check_room

    try:
        folder = cache_folder()
        check_room(folder)
        return Check("cache", True, str(folder))
    except CacheError as error:
        return Check("cache", False, str(error))
    except OSError as error:
        return Check("cache", False, f"{folder} cannot be written to: {error.strerror}")


def _search() -> Check:
    """Search the smallest scope of each scheme."""
    schemes = catalogue.schemes()
    verdicts = {name: explore(cls, LADDER[0]).verdict for name, cls in schemes.items()}
    bad = [name for name, verdict in verdicts.items() if verdict.status is not Status.HOLDS]
    says = f"{len(schemes)} searched in the smallest scope, {len(catalogue.bugs())} bugs"
    return Check("schemes", not bad, f"violated: {', '.join(bad)}" if bad else says)


def _plugin(name: str) -> Check:
    try:
        cls = find_scheme(name)
        return Check(f"plug-in {name}", True, f"{cls.__module__}:{cls.__qualname__}")
    except ModelError as error:
        return Check(f"plug-in {name}", False, str(error))


def _writable() -> Check:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            return Check("this folder", True, "cases can be saved here")
    except OSError as error:
        return Check("this folder", False, f"cannot be written to: {error.strerror}")
