"""Explains each event of the machine: returns operations of the spec with the same effect.

Most events correspond to one operation. An event that does several things at once corresponds to
several: a VMA that grows over two neighbours merges with one, then with the other. If the era
decides what happens (a new anon_vma or an old one), each possibility is tried.
"""

from collections.abc import Callable, Iterator
from typing import Any

from rmapcheck.prove.refinement.event import (
    Event,
    Steps,
    address_of,
    covered,
    entries,
    offsets,
    steps_without_event,
    take_over,
    vmas_at,
)
from rmapcheck.prove.refinement.steps import Step

# VMAs.


def _mmap(e: Event) -> Iterator[Steps]:
    v = e.objects[0]
    c = covered(e.post, v)
    at = {"v": v, "m": e.post["mm"][v], "C": c, "I": offsets(e.post, v, c)}
    file = e.post["vm_file"].get(v)
    yield [Step("mmap_file", {**at, "f": file}) if file else Step("mmap", at)]


def _expand(e: Event) -> Iterator[Steps]:
    v, gone = e.objects[:2]
    c = covered(e.post, v) - covered(e.pre, v) - covered(e.pre, gone)
    steps = [Step("expand", {"v": v, "C": c, "I": offsets(e.post, v, c)})]
    yield [*take_over(e, v, gone), *steps] if gone else steps


def _split(e: Event) -> Iterator[Steps]:
    v, w = e.objects[:2]
    yield [Step("split", {"v": v, "w": w, "C": covered(e.post, w)})]


def _merge(e: Event) -> Iterator[Steps]:
    v, middle, gone = e.objects[:3]
    if middle in e.post["vma"]:
        taken = covered(e.pre, middle) - covered(e.post, middle)
        yield [Step("merge", {"v": v, "w": middle, "C": taken})]
        return
    rest = take_over(e, v, gone) if gone else []
    yield [*take_over(e, v, middle), *rest]
    if gone:
        yield [*rest, *take_over(e, v, middle)]


def _munmap(e: Event) -> Iterator[Steps]:
    yield [Step("remove_vma", {"v": e.objects[0]})]


def _zap(e: Event) -> Iterator[Steps]:
    v, ptep = e.objects[:2]
    yield [Step("zap", {"v": v, "C": {address_of(e, ptep)}})]


def _dontunmap(e: Event) -> Iterator[Steps]:
    yield [Step("dontunmap", {"v": e.objects[0]})]


def _move(e: Event) -> Iterator[Steps]:
    """Explain a move: the copy is a new VMA, or joins a neighbour, which may join a third VMA."""
    v, w, start, to = e.objects
    if e.has("move_one_page"):
        yield []
        return
    gone = sorted(e.pre["vma"] - e.post["vma"])
    old = covered(e.pre, w).union(*(covered(e.pre, g) for g in gone))
    c = covered(e.post, w) - old
    moved = {(y - to + start, y) for y in entries(e.post, w) & c}
    shift = {"C": c, "I": offsets(e.post, w, c), "R": moved}
    rest = [step for g in gone for step in take_over(e, w, g)]
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
    """Return the steps if the copy joins its own source: the old place is split off."""
    part = e.st.vma.size + 1
    old = {x for x, _ in shift["R"]}
    return [
        Step("split", {"v": v, "w": part, "C": old}),
        Step("mremap_merge", {"v": part, "w": v, **shift}),
        *[Step("merge", {"v": v, "w": part, "C": old}), Step("remove_vma", {"v": part})],
    ]


def _copy(e: Event) -> Iterator[Steps]:
    """Explain the first half of a move page by page: a new VMA, or a neighbour grows."""
    v, w = e.objects[:2]
    gone = sorted(e.pre["vma"] - e.post["vma"])
    c = covered(e.post, w) - covered(e.pre, w).union(*(covered(e.pre, g) for g in gone))
    place = {"C": c, "I": offsets(e.post, w, c)}
    rest = [step for g in gone for step in take_over(e, w, g)]
    if w not in e.pre["vma"]:
        yield [Step("copy_vma", {"v": v, "w": w, **place})]
    else:
        yield [*rest, Step("expand", {"v": w, **place})]


def _move_pte(e: Event) -> Iterator[Steps]:
    old, new = e.objects[:2]
    x, y = address_of(e, old), address_of(e, new)
    for v in vmas_at(e, old):
        for w in vmas_at(e, new):
            yield [Step("move_one_page", {"v": v, "w": w, "x": x, "y": y})]


def _exec_move(e: Event) -> Iterator[Steps]:
    """Explain the stack's move at exec: it grows to cover both places, moves, and is cut."""
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
    yield [*steps_without_event(e.pre, e.post), Step("free_folio", {"p": e.objects[0]})]


def _add_to_swap(e: Event) -> Iterator[Steps]:
    yield [Step("add_to_swap", {"p": e.objects[0], "s": e.objects[1]})]


def _unmap(e: Event) -> Iterator[Steps]:
    """Explain an unmap: the virtual scan takes one entry; elsewhere reclaim's walk is one step."""
    ptep, folio, swap = e.objects[:3]
    mm, address = divmod(ptep - 1, e.st.pages)
    for v, x, p in e.pre["pte"]:
        if x == address and p == folio and e.pre["mm"][v] == mm + 1:
            at = {"v": v, "x": x, "p": folio, "s": swap}
            yield [Step("try_to_swap_out", at) if swap else Step("zap", {"v": v, "C": {x}})]


def _swap_out(e: Event) -> Iterator[Steps]:
    """Explain a swap-out; of a page that no process maps, only the swap-cache entry is left."""
    if e.objects[0] not in e.pre["anon"]:
        yield []
        return
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


def _copy_fails(e: Event) -> Iterator[Steps]:
    """Explain a failed copy: a page that is already at its address may stay there, and be read."""
    v, ptep, folio = e.objects[:3]
    x = address_of(e, ptep)
    failed = (v, x, folio) in e.pre["copying"]
    yield [Step("do_wp_page_enomem", {"v": v, "x": x, "p": folio})] if failed else []


def _found(e: Event) -> Iterator[Steps]:
    """Explain that page_referenced() moves a page from a dead process to the one that maps it."""
    ptep, folio = e.objects[:2]
    yield []
    for v in vmas_at(e, ptep):
        yield [Step("page_referenced_anon", {"v": v, "x": address_of(e, ptep), "p": folio})]


# Files.


def _cache_add(e: Event) -> Iterator[Steps]:
    p = e.objects[0]
    at = {"p": p, "f": e.post["inode"][p], "i": e.post["index"][p]}
    yield [Step("page_cache_add", at)]


def _file_fault(e: Event) -> Iterator[Steps]:
    """Explain a fault at the linear place or anywhere in a nonlinear VMA, maybe with a chain."""
    v, ptep, p = e.objects[:3]
    at = {"v": v, "x": address_of(e, ptep), "p": p}
    yield [Step("file_fault", at)]
    if e.has("remap_file_pages"):
        yield [Step("remap_file_pages", at)]
    if e.has("page_convert_anon"):
        yield [Step("page_convert_anon", {"p": p}), Step("remap_file_pages", at)]


def _nonlinear(e: Event) -> Iterator[Steps]:
    """Explain that a VMA becomes nonlinear; a spec whose rmap does not use this has no symbol."""
    yield [Step("make_nonlinear", {"v": e.objects[0]})] if e.has("make_nonlinear") else []


def _convert(e: Event) -> Iterator[Steps]:
    """Explain a conversion: in some designs a step, unless there is a chain or no memory."""
    yield []
    if e.has("page_convert_anon"):
        yield [Step("page_convert_anon", {"p": e.objects[0]})]


def _reclaim(e: Event) -> Iterator[Steps]:
    yield [Step("unmap_file_page", {"p": e.objects[0]})]


def _cache_del(e: Event) -> Iterator[Steps]:
    yield [Step("filemap_remove_folio", {"p": e.objects[0]})]


# Processes.


def _exec_mm(e: Event) -> Iterator[Steps]:
    """Explain exec: the process leaves its bundle and gets a new one."""
    m = e.objects[0]
    a = e.post["of_mm"][m]
    left = [Step("exit_mm", {"m": m})] if m in e.pre["mm_live"] else []
    yield [*left, Step("exec_mmap", {"m": m, "a": a, "b": e.post["bundle"][a]})]


def _dup_mm(e: Event) -> Iterator[Steps]:
    c, m = e.objects[:2]
    yield [Step("dup_mm", {"m": m, "c": c, "a": e.post["of_mm"][c]})]


def _exit_mm(e: Event) -> Iterator[Steps]:
    yield [Step("exit_mm", {"m": e.objects[0]})]


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
    """Explain the end of an operation: nothing has happened since the event before."""
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
        _copy,
        _move_pte,
        _exec_move,
        _fault,
        _reuse,
        _free_page,
        _add_to_swap,
        _unmap,
        _swap_out,
        _swap_in,
        _copy_fails,
        _found,
        _cache_add,
        _file_fault,
        _nonlinear,
        _convert,
        _reclaim,
        _cache_del,
        _exec_mm,
        _dup_mm,
        _exit_mm,
        _fork,
        _prepare,
        _end,
    )
}
"""Event → its explanations. Other events are not steps, since specs change entries by VMA."""
ONLY_WITH = {
    "unmap": "try_to_swap_out",
    "copy": "move_one_page",
    "move_pte": "move_one_page",
    "copy_fails": "do_wp_page_enomem",
    "found": "page_referenced_anon",
    "exec_mm": "exec_mmap",
    "dup_mm": "dup_mm",
    "exit_mm": "exit_mm",
}
"""Event → operation: the event is a step only of specs that have this operation."""
