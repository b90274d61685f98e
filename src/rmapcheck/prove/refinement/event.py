"""An event with the states before and after it, and functions that explanations of events use."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.prove.refinement.steps import Step

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

Tables = dict[str, Any]
Steps = list[Step]


@attrs.frozen(eq=False)
class Event:
    """An event of the machine, and the tables of a spec before and after it."""

    st: "Kernel"
    name: str
    objects: tuple[int, int, int, int]
    pre: Tables
    post: Tables
    has: Callable[[str], bool]
    """Returns whether the spec has an operation of that name."""


def covered(tables: Tables, vma: int) -> set[int]:
    """Return the addresses of a VMA."""
    return {x for v, x in tables["covers"] if v == vma}


def offsets(tables: Tables, vma: int, addresses: set[int]) -> dict[int, int]:
    """Return the page offsets of some addresses of a VMA."""
    return {x: tables["pgoff"][vma, x] for x in addresses}


def entries(tables: Tables, vma: int) -> set[int]:
    """Return the addresses of a VMA at which there is a page or a swap entry."""
    found = {x for v, x, _ in tables["pte"] if v == vma}
    return found | {x for v, x, _ in tables["swap_pte"] if v == vma}


def address_of(e: Event, ptep: int) -> int:
    """Return the address of page-table entry `ptep`."""
    return (ptep - 1) % e.st.pages


def vmas_at(e: Event, ptep: int) -> list[int]:
    """Return a list with the VMA that covers entry `ptep`, or an empty one."""
    mm, address = divmod(ptep - 1, e.st.pages)
    return [v for v, x in e.pre["covers"] if x == address and e.pre["mm"][v] == mm + 1]


def take_over(e: Event, v: int, gone: int) -> Steps:
    """Return the steps by which VMA `v` takes over all of VMA `gone`, which is freed."""
    c = covered(e.pre, gone)
    return [Step("merge", {"v": v, "w": gone, "C": c}), Step("remove_vma", {"v": gone})]


def steps_without_event(pre: Tables, post: Tables) -> Steps:
    """Return the steps by which swap slots, swap-cache pages and anonmms have been freed.

    The model has no events for these, because they follow from other events.
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
