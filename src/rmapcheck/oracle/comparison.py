"""What is compared: a step that the kernel takes, and a difference from what the model says."""

import attrs

from rmapcheck.model.operations import Operation, Reclaim, SwapOut


@attrs.frozen
class Step:
    """What the kernel does in one go: one operation, or a reclaim of all pages there are."""

    ops: tuple[Operation, ...]
    reclaim: bool = False

    @property
    def swaps(self) -> bool:
        """Tell whether pages are written to swap."""
        return isinstance(self.ops[0], SwapOut | Reclaim)

    def __str__(self) -> str:
        return f"reclaim of {len(self.ops)} pages" if self.reclaim else str(self.ops[0])


@attrs.frozen
class Difference:
    """Where the kernel does not do what the model says."""

    what: str
    """return code, oops, VMAs, entry, same page, mapcount, exclusive, …"""
    where: str
    kernel: str
    model: str

    def __str__(self) -> str:
        place = f" of {self.where}" if self.where else ""
        return f"{self.what}{place}: the kernel has {self.kernel}, the model {self.model}"
