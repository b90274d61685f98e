"""cost: counts what each scheme costs, in bytes and steps."""

from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from rmapcheck.cli.common import Out, command
from rmapcheck.cli.engines import Schemes, checked_plugin
from rmapcheck.cli.results import plain_table
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import scheme_errors, watchdog
from rmapcheck.verdict import Exit

if TYPE_CHECKING:
    from rmapcheck.cost.figures import Figure
    from rmapcheck.cost.workloads import Measured


@command(name="cost")
def cost_command(
    out: Out,
    schemes: Schemes = None,
    workload: Annotated[
        list[str] | None, typer.Option("--workload", metavar="NAME", help="May be repeated.")
    ] = None,
    scale: Annotated[
        int, typer.Option(metavar="N", min=0, max=2000, help="Size; 0: the workload's default.")
    ] = 0,
    figures: Annotated[
        bool, typer.Option(help="At the end, compare figures quoted in mails with the model's.")
    ] = True,
) -> int:
    """Count what each scheme costs. Locks, allocations, nodes and bytes, on named workloads."""
    from rmapcheck.cost.figures import FIGURES
    from rmapcheck.cost.tables import FIGURES_HEAD, HEAD, figure_rows, row
    from rmapcheck.cost.workloads import WORKLOADS, measure

    for name in workload or []:
        if name not in WORKLOADS:
            raise ModelError(f"no workload is called {name!r}; there are {', '.join(WORKLOADS)}")
    chosen = [checked_plugin(find_scheme(name)) for name in schemes or []] or _all()
    found: list[dict[str, Any]] = []
    for name in workload or WORKLOADS:
        w = WORKLOADS[name]
        out.show(f"{w.name}: {w.title}, N = {scale or w.scale}", style="bold")
        table = plain_table(*HEAD, right=(2, 3, 4, 5, 6, 7))
        for cls in chosen:
            if w.files and not cls.maps_files:
                continue
            with scheme_errors(cls), watchdog(cls):
                measured = measure(cls, name, scale)
            for m in measured:
                table.add_row(*row(cls.name, m))
                found.append({"scheme": cls.name, **_measured_json(m)})
        out.show(table)
        out.show("")
    quoted: list[dict[str, Any]] = []
    summary = f"{_count(len(found), 'measurement')} of {_count(len(chosen), 'scheme')}"
    if figures and not schemes and not workload:
        table = plain_table(*FIGURES_HEAD)
        for line in figure_rows():
            table.add_row(*line)
        out.show(table)
        quoted = [_figure_json(f) for f in FIGURES]
    out.verdict(summary, good=True)
    out.data({"measured": found, "figures": quoted})
    return Exit.EXPECTED


def _measured_json(m: "Measured") -> dict[str, Any]:
    i386, bits64 = m.size
    nodes, visited, mapping = m.precision
    walk = {"nodes": nodes, "visited": visited, "mapping": mapping} if visited else None
    values = attrs.asdict(m) | {"size": {"i386": i386, "64-bit": bits64}, "walk": walk}
    del values["precision"]
    return values


def _figure_json(f: "Figure") -> dict[str, Any]:
    return {
        "what": f.what,
        "source": f.source,
        "unit": f.unit,
        "quoted": f.quoted,
        "counted": f.counted(),
        "ratio": f.ratio,
        "note": f.note or None,
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _all() -> list[Any]:
    from rmapcheck.plugins import catalogue

    return list(catalogue.schemes().values())
