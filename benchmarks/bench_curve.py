"""Measures what each bound of a scope costs: states, CPU time, memory, and what an hour allows.

`python benchmarks/bench_curve.py [SECONDS]` searches the full model of avc-7.0 around a small
scope, and the AVC profile of benchmarks/peers around 2,2,2,2. It raises one bound at a time until
a search takes SECONDS (default 20). It writes docs/cost-curve.svg and, to standard output, the
table of docs/how-to/search-a-wide-scope.md.
"""

import math
import sys
import time
from pathlib import Path

import attrs

from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.search.native.search import Ended, NativeSearch
from rmapcheck.search.question import Question

sys.path.insert(0, str(Path(__file__).with_name("peers")))

from avc_profile import INVARIANTS, AvcProfile, Bounds

BASE = Scope(mms=1, pages=1, folios=2, swaps=1, objects=12, vmas=6)
BOUNDS = {
    "mms": (1, 2, 3, 4),
    "pages": (1, 2, 3, 4),
    "folios": (1, 2, 3, 4),
    "objects": (2, 4, 8, 12),
    "swaps": (0, 1, 2, 3),
}
AROUND = {"folios": 2, "objects": 2, "swaps": 2}
"""Number of processes, for bounds that have little effect with one process."""
PROFILE = Bounds(2, 2, 2, 2)
PROFILE_BOUNDS = {
    "mms": (1, 2, 3, 4, 5),
    "pages": (1, 2, 3, 4),
    "folios": (1, 2, 3, 4),
    "anon_vmas": (1, 2, 3, 4, 5, 6),
}
COLOURS = {
    "mms": "#0b62a4",
    "pages": "#c0392b",
    "folios": "#2e8b57",
    "objects": "#8e44ad",
    "anon_vmas": "#8e44ad",
    "swaps": "#b8860b",
}
WIDTH, HEIGHT, LEFT, BOTTOM = 660, 360, 60, 40
HOUR = 3600.0
AVC = "AVC, "
Point = tuple[int, int, float, int, bool]


def search(
    scope: Scope, seconds: float, scheme: type[Scheme], target: str = ""
) -> tuple[int, float, int, bool]:
    """Return states, CPU seconds, bytes, and whether the search was complete."""
    found = NativeSearch(Question(scheme, scope, target=target), memory_mb=3000)
    found.start()
    begin = time.process_time()
    ended = Ended.SLICE
    while ended is Ended.SLICE and time.process_time() - begin < seconds:
        ended = found.run(None, None, 0.2)
    used = time.process_time() - begin
    return found.distinct, used, found.report.bytes, ended is Ended.EXHAUSTED


def curve(bound: str, seconds: float) -> list[Point]:
    """Raise one bound until a search does not end in time."""
    points = []
    base = attrs.evolve(BASE, mms=AROUND.get(bound, 1))
    for value in BOUNDS[bound]:
        scope = attrs.evolve(base, **{bound: value})
        points.append((value, *search(scope, seconds, schemes()["avc-7.0"])))
        if not points[-1][-1]:
            break
    return points


def profile_curve(bound: str, seconds: float) -> list[Point]:
    """Do the same with the AVC profile, with symmetry."""
    points = []
    for value in PROFILE_BOUNDS[bound]:
        scope = attrs.evolve(PROFILE, **{bound: value}).scope()
        points.append((value, *search(scope, seconds, AvcProfile, ",".join(INVARIANTS))))
        if not points[-1][-1]:
            break
    return points


def hour(points: list[Point]) -> str:
    """Return the bound that an hour allows, if each step multiplies the cost by the same factor.

    The factor is that of the last measured step, which is an early one, so this is only a guess.
    """
    done = [p for p in points if p[-1]]
    if points[-1][-1] and done[-1][1] < 1.1 * done[-2][1]:
        return "never: no state uses more"
    step = math.log(done[-1][2] / done[-2][2]) / (done[-1][0] - done[-2][0])
    return f"{done[-1][0] + math.log(HOUR / done[-1][2]) / step:.1f}"


def row(bound: str, points: list[Point]) -> str:
    """Return a line of the table."""
    cells = [f"{v}: {n:,} {t:.2f} s" if end else f"{v}: > {n:,}" for v, n, t, _, end in points]
    ended = [p for p in points if p[-1]] or points
    memory = f"{ended[-1][3] / 2**20:.0f} MB"
    return f"| `{bound}` | {' · '.join(cells)} | {memory} | {hour(points)} |"


def drawing(curves: dict[str, list[Point]]) -> str:
    """Return the curves as SVG: bounds on the x axis, CPU seconds on a logarithmic y axis."""

    def place(value: float, seconds: float) -> str:
        x = LEFT + value / 12 * (WIDTH - LEFT - 90)
        y = HEIGHT - BOTTOM - (math.log10(max(seconds, 1e-3)) + 3) / 7 * (HEIGHT - BOTTOM - 20)
        return f"{x:.0f},{y:.0f}"

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(-3, 5):
        x, y = place(0, 10**power).split(",")
        out.append(f'<path d="M{x},{y}H{WIDTH - 110}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{int(y) + 4}" text-anchor="end">1e{power} s</text>')
    _, y = place(0, HOUR).split(",")
    out.append(f'<path d="M{LEFT},{y}H{WIDTH - 110}" stroke="black" stroke-dasharray="4"/>')
    out.append(f'<text x="{WIDTH - 106}" y="{int(y) + 4}">one hour</text>')
    for value in range(0, 13, 2):
        x, _ = place(value, 1).split(",")
        out.append(f'<text x="{x}" y="{HEIGHT - 16}" text-anchor="middle">{value}</text>')
    for number, (name, points) in enumerate(curves.items()):
        line = " ".join(place(value, seconds) for value, _, seconds, _, _ in points)
        colour, dashes = COLOURS[name.removeprefix(AVC)], name.startswith(AVC)
        style = f'stroke="{colour}" stroke-width="2"' + ' stroke-dasharray="5 3"' * dashes
        out.append(f'<polyline points="{line}" fill="none" {style}/>')
        y = 120 + 18 * number
        out.append(f'<text x="{WIDTH - 106}" y="{y}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    """Search, draw and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    curves = {bound: curve(bound, seconds) for bound in BOUNDS}
    curves |= {f"{AVC}{bound}": profile_curve(bound, seconds) for bound in PROFILE_BOUNDS}
    file = Path(__file__).parent.parent / "docs" / "cost-curve.svg"
    write_whole(file, drawing(curves))
    lines = [row(bound, points) for bound, points in curves.items()]
    head = ["| bound | states and CPU time | memory | an hour ends at |", "|---|---|---:|---|"]
    sys.stdout.write("\n".join([*head, *lines]) + "\n")


main()
