"""An event and the states around it, and what explanations of events are made of."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.prove.refinement.steps import Step

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

Says = dict[str, Any]
Steps = list[Step]


@attrs.frozen(eq=False)
class Event:
    """What the machine told, and what a spec says of the states around it."""

    st: "Kernel"
    name: str
    objects: tuple[int, int, int, int]
    pre: Says
    post: Says
    has: Callable[[str], bool]
    """Tells whether the spec has an operation of that name."""


def covered(says: Says, vma: int) -> set[int]:
    """Return the addresses of a VMA."""
    return {x for v, x in says["covers"] if v == vma}


def offsets(says: Says, vma: int, addresses: set[int]) -> dict[int, int]:
    """Return the page offsets of some addresses of a VMA."""
    return {x: says["pgoff"][vma, x] for x in addresses}


def entries(says: Says, vma: int) -> set[int]:
    """Return the addresses of a VMA whose entries are not none."""
    found = {x for v, x, _ in says["pte"] if v == vma}
    return found | {x for v, x, _ in says["swap_pte"] if v == vma}


def address_of(e: Event, ptep: int) -> int:
    """Return the address of page-table entry `ptep`."""
    return (ptep - 1) % e.st.pages


def vmas_at(e: Event, ptep: int) -> list[int]:
    """Return the VMA that covers what the entry `ptep` maps, if there is one."""
    mm, address = divmod(ptep - 1, e.st.pages)
    return [v for v, x in e.pre["covers"] if x == address and e.pre["mm"][v] == mm + 1]


def swallow(e: Event, v: int, gone: int) -> Steps:
    """`v` takes over all of `gone`, which is freed."""
    c = covered(e.pre, gone)
    return [Step("merge", {"v": v, "w": gone, "C": c}), Step("remove_vma", {"v": gone})]


def dropped(pre: Says, post: Says) -> Steps:
    """Return the operations by which swap slots, swap-cache pages and anonmms went unmarked.

    The model tells of none of these: they follow from what it has told of.
    """
    steps = []
    for s, p in sorted(pre["swap_cache"] - post["swap_cache"]):
        steps.append(Step("swap_cache_delete", {"p": p, "s": s}))
    for s in sorted(pre["swap"] - post["swap"]):
        steps.append(Step("swap_free", {"s": s}))
    gone = pre.get("anonmm", set()) - post.get("anonmm", set())
    for a in sorted(gone, key=lambda a: (a in pre["is_head"], a)):
        steps.append(Step("free_head" if a in pre["is_head"] else "free_anonmm", {"a": a}))
    return steps
