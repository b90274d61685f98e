"""What a comparison consists of: steps for the kernel, and differences from the model."""

import attrs

from rmapcheck.model.operations import Operation, Reclaim, SwapOut


@attrs.frozen
class Step:
    """What the kernel does between two comparisons: one operation, or a reclaim of all pages."""

    ops: tuple[Operation, ...]
    reclaim: bool = False

    @property
    def swaps(self) -> bool:
        """Return whether pages are written to swap."""
        return isinstance(self.ops[0], SwapOut | Reclaim)

    def __str__(self) -> str:
        return f"reclaim of {len(self.ops)} pages" if self.reclaim else str(self.ops[0])


@attrs.frozen
class Difference:
    """One point in which the kernel and the model differ."""

    what: str
    """return code, oops, VMAs, entry, same page, mapcount, exclusive, …"""
    where: str
    kernel: str
    model: str

    def __str__(self) -> str:
        place = f" of {self.where}" if self.where else ""
        return f"{self.what}{place}: the kernel has {self.kernel}, the model {self.model}"
