"""Text that is safe to print: names of files and of plug-ins may hold escape sequences."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

KEPT = "\n\t"


def printable(text: str) -> str:
    """Return `text` with every character that a terminal could obey written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in KEPT else _escape(c) for c in text)


def _escape(c: str) -> str:
    return ascii(c)[1:-1]


def printable_json(text: str) -> str:
    """Return JSON text in which such characters are escaped as JSON does it."""
    return "".join(c if c.isprintable() or c in KEPT else f"\\u{ord(c):04x}" for c in text)


class PrintableConsole(Console):
    """A console that prints no escape sequences except its own."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of `renderable`, with their text made printable."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
