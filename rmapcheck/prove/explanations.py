"""What each event of the machine is to a spec: the operations that should explain it.

Most events are one operation. A system call that does several things at once is several: a VMA
that grows over two neighbours merges with one, then with the other. Where the era decides what
happens (a new anon_vma or an old one), each possibility is tried. Swap slots and swap-cache pages
that are gone since the event before were dropped by operations of their own, which nobody marks.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.prove.steps import Step

if TYPE_CHECKING:
    from model.state import State

Says = dict[str, Any]
Steps = list[Step]


@attrs.frozen(eq=False)
class Event:
    """What the machine told, and what a spec says of the states around it."""

    st: "State"
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


def dropped(pre: Says, post: Says) -> Steps:
    """Return the operations by which swap slots and swap-cache pages went unmarked."""
    steps = []
    for s, p in sorted(pre["swap_cache"] - post["swap_cache"]):
        steps.append(Step("swap_cache_delete", {"p": p, "s": s}))
    for s in sorted(pre["swap"] - post["swap"]):
        steps.append(Step("swap_free", {"s": s}))
    return steps


# VMAs.


def _mmap(e: Event) -> Iterator[Steps]:
    v = e.objects[0]
    c = covered(e.post, v)
    at = {"v": v, "m": e.post["mm"][v], "C": c, "I": offsets(e.post, v, c)}
    file = e.post["vm_file"].get(v)
    yield [Step("mmap_file", {**at, "f": file}) if file else Step("mmap", at)]


def swallow(e: Event, v: int, gone: int) -> Steps:
    """`v` takes over all of `gone`, which is freed."""
    c = covered(e.pre, gone)
    return [Step("merge", {"v": v, "w": gone, "C": c}), Step("remove_vma", {"v": gone})]


def _expand(e: Event) -> Iterator[Steps]:
    v, gone = e.objects[:2]
    c = covered(e.post, v) - covered(e.pre, v) - covered(e.pre, gone)
    steps = [Step("expand", {"v": v, "C": c, "I": offsets(e.post, v, c)})]
    yield [*swallow(e, v, gone), *steps] if gone else steps


def _split(e: Event) -> Iterator[Steps]:
    v, w = e.objects[:2]
    yield [Step("split", {"v": v, "w": w, "C": covered(e.post, w)})]


def _merge(e: Event) -> Iterator[Steps]:
    v, middle, gone = e.objects[:3]
    if middle in e.post["vma"]:
        taken = covered(e.pre, middle) - covered(e.post, middle)
        yield [Step("merge", {"v": v, "w": middle, "C": taken})]
        return
    rest = swallow(e, v, gone) if gone else []
    yield [*swallow(e, v, middle), *rest]
    if gone:
        yield [*rest, *swallow(e, v, middle)]


def _munmap(e: Event) -> Iterator[Steps]:
    yield [Step("remove_vma", {"v": e.objects[0]})]


def _zap(e: Event) -> Iterator[Steps]:
    v, ptep = e.objects[:2]
    yield [Step("zap", {"v": v, "C": {address_of(e, ptep)}})]


def _dontunmap(e: Event) -> Iterator[Steps]:
    yield [Step("dontunmap", {"v": e.objects[0]})]


def _move(e: Event) -> Iterator[Steps]:
    """The copy is a new VMA, or joined a neighbour, which may have joined a third."""
    v, w, start, to = e.objects
    gone = sorted(e.pre["vma"] - e.post["vma"])
    old = covered(e.pre, w).union(*(covered(e.pre, g) for g in gone))
    c = covered(e.post, w) - old
    moved = {(y - to + start, y) for y in entries(e.post, w) & c}
    shift = {"C": c, "I": offsets(e.post, w, c), "R": moved}
    rest = [step for g in gone for step in swallow(e, w, g)]
    if w not in e.pre["vma"]:
        yield [Step("mremap", {"v": v, "w": w, **shift})]
    elif v != w:
        yield [Step("mremap_merge", {"v": v, "w": w, **shift}), *rest]
        yield [*rest, Step("mremap_merge", {"v": v, "w": w, **shift})]
    elif not moved:
        yield [Step("expand", {"v": w, "C": c, "I": shift["I"]}), *rest]
    else:
        yield [*_within(e, v, shift), *rest]
        yield [*rest, *_within(e, v, shift)]


def _within(e: Event, v: int, shift: dict[str, Any]) -> Steps:
    """The copy joined the very VMA that it is a copy of: as if the old place were split off."""
    part = e.st.vma.size + 1
    old = {x for x, _ in shift["R"]}
    return [
        Step("split", {"v": v, "w": part, "C": old}),
        Step("mremap_merge", {"v": part, "w": v, **shift}),
        *[Step("merge", {"v": v, "w": part, "C": old}), Step("remove_vma", {"v": part})],
    ]


def _exec_move(e: Event) -> Iterator[Steps]:
    """The stack grew to cover both places, moved, and was cut."""
    v = e.objects[0]
    old, new = covered(e.pre, v), covered(e.post, v)
    both = old | new
    shift = min(old) - min(new)
    at = {x: e.post["pgoff"][v, min(new)] + x - min(new) for x in both}
    yield [
        Step("exec_grow", {"v": v, "C": new - old, "I": at}),
        Step("exec_move", {"v": v, "C": new, "R": {(x, x - shift) for x in old}}),
    ]


# Pages.


def _fault(e: Event) -> Iterator[Steps]:
    v, ptep, folio, old = e.objects
    at = {"v": v, "x": address_of(e, ptep)}
    yield (
        [Step("cow", {**at, "p": old, "q": folio})] if old else [Step("fault", {**at, "p": folio})]
    )


def _reuse(e: Event) -> Iterator[Steps]:
    v, folio = e.objects[:2]
    for w, x, p in e.pre["pte"]:
        if w == v and p == folio:
            yield [Step("wp_reuse", {"v": v, "x": x, "p": p})]


def _free_page(e: Event) -> Iterator[Steps]:
    yield [*dropped(e.pre, e.post), Step("free_folio", {"p": e.objects[0]})]


def _add_to_swap(e: Event) -> Iterator[Steps]:
    yield [Step("add_to_swap", {"p": e.objects[0], "s": e.objects[1]})]


def _unmap(e: Event) -> Iterator[Steps]:
    """The virtual scan takes one entry; elsewhere the whole walk of reclaim is one step."""
    ptep, folio, swap = e.objects[:3]
    mm, address = divmod(ptep - 1, e.st.pages)
    for v, x, p in e.pre["pte"]:
        if x == address and p == folio and e.pre["mm"][v] == mm + 1:
            at = {"v": v, "x": x, "p": folio, "s": swap}
            yield [Step("try_to_swap_out", at) if swap else Step("zap", {"v": v, "C": {x}})]


def _swap_out(e: Event) -> Iterator[Steps]:
    yield [Step("try_to_unmap", {"p": e.objects[0], "s": e.objects[1]})]


def _swap_in(e: Event) -> Iterator[Steps]:
    v, ptep, folio, entry = e.objects
    read = []
    if folio not in e.pre["folio"]:
        read = [Step("swap_read", {"p": folio, "s": entry})]
    at = {"v": v, "x": address_of(e, ptep), "p": folio, "s": entry}
    if e.has("do_swap_page"):
        yield [*read, Step("do_swap_page", at)]
    if e.has("do_swap_page_exclusive"):
        yield [*read, Step("do_swap_page_exclusive", at)]
    if e.has("do_swap_page_shared"):
        mapping = e.post["mapping"].get(folio)
        for r in sorted({a for w, a in e.pre["avc"] if w == v}, key=lambda a: a != mapping):
            yield [*read, Step("do_swap_page_shared", {**at, "r": r})]


# Files.


def _cache_add(e: Event) -> Iterator[Steps]:
    p = e.objects[0]
    at = {"p": p, "f": e.post["inode"][p], "i": e.post["index"][p]}
    yield [Step("page_cache_add", at)]


def _file_fault(e: Event) -> Iterator[Steps]:
    """At its linear place, or anywhere in a nonlinear VMA; a chain may come with the entry."""
    v, ptep, p = e.objects[:3]
    at = {"v": v, "x": address_of(e, ptep), "p": p}
    yield [Step("file_fault", at)]
    if e.has("remap_file_pages"):
        yield [Step("remap_file_pages", at)]
    if e.has("page_convert_anon"):
        yield [Step("page_convert_anon", {"p": p}), Step("remap_file_pages", at)]


def _convert(e: Event) -> Iterator[Steps]:
    """Only some designs do something then, and not if the page has a chain, or memory is out."""
    yield []
    if e.has("page_convert_anon"):
        yield [Step("page_convert_anon", {"p": e.objects[0]})]


def _reclaim(e: Event) -> Iterator[Steps]:
    yield [Step("unmap_file_page", {"p": e.objects[0]})]


def _cache_del(e: Event) -> Iterator[Steps]:
    yield [Step("filemap_remove_folio", {"p": e.objects[0]})]


# fork and anon_vmas.


def _fork(e: Event) -> Iterator[Steps]:
    c, v = e.objects[:2]
    copied = entries(e.post, c)
    at = {"v": v, "c": c, "m": e.post["mm"][c]}
    if e.has("fork"):
        yield [Step("fork", {**at, "K": copied})]
    if not copied and c not in e.post.get("active", ()):
        yield [Step("fork_wipe", at)]
    if e.has("fork_new"):
        for n in sorted(e.post["anon_vma"] - e.pre["anon_vma"]):
            yield [Step("fork_new", {**at, "n": n, "K": copied})]
    if e.has("fork_reuse") and c in e.post["active"]:
        yield [Step("fork_reuse", {**at, "a": e.post["active"][c], "K": copied})]


def _prepare(e: Event) -> Iterator[Steps]:
    v = e.objects[0]
    if not e.has("prepare_new") or v in e.pre["faulted"]:
        yield []
        return
    for n in sorted(e.post["anon_vma"] - e.pre["anon_vma"]):
        yield [Step("prepare_new", {"v": v, "n": n})]
    own = e.post["active"].get(v)
    for w, a in sorted(e.pre["active"].items()):
        if a == own and e.pre["mm"][w] == e.pre["mm"][v]:
            yield [Step("prepare_adopt", {"v": v, "w": w})]


def _end(e: Event) -> Iterator[Steps]:
    """The operation is over; nothing has happened since the event before."""
    yield []


EXPLANATIONS: dict[str, Callable[[Event], Iterator[Steps]]] = {
    f.__name__.removeprefix("_"): f
    for f in (
        _mmap,
        _expand,
        _split,
        _merge,
        _munmap,
        _zap,
        _dontunmap,
        _move,
        _exec_move,
        _fault,
        _reuse,
        _free_page,
        _add_to_swap,
        _unmap,
        _swap_out,
        _swap_in,
        _cache_add,
        _file_fault,
        _convert,
        _reclaim,
        _cache_del,
        _fork,
        _prepare,
        _end,
    )
}
"""By event; others are no step of a spec whose page tables change by the VMA."""
ONLY_WITH = {"unmap": "try_to_swap_out"}
"""Events that are a step of those specs only that have this operation."""
