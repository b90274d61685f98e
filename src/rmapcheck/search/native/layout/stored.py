"""The stored forms of a state in C: those of model/machine/layout.py, in bits (see packed.py).

The renamed form of a machine with two processes, of which one has exited, and one file::

    +-----------------------+---+---------------+---+-------+-------+---+---------+-- - -
    | 1 mm  pte pte pte …   | 0 | address_space | 2 | vma 1 | vma 2 | 1 | folio 1 | 0 …
    +-----------------------+---+---------------+---+-------+-------+---+---------+-- - -
     process 1, with all of   |   every file, as  |   VMAs in the order in which  |
     its page table           |   files are never |   references meet them        no swap slot
                 process 2 is missing             how many there are

A reference is stored as the object's number in that order, so the form does not depend on which
slots the pools use. It does depend on the order of the processes. The smallest of the forms, over
all orders that have to be tried, is the state's key (c/canonical.c). In a *named* pool each slot
has a fixed place, and a free slot is a byte 0. In the raw form, every pool is like that.

encode() reserves room for all live objects of a pool before it meets them. Objects to which no
reference leads are numbered at the end, the smallest first.
"""

from collections.abc import Callable

from rmapcheck.model.machine.fields import StructInfo
from rmapcheck.model.machine.layout import Layout
from rmapcheck.model.machine.layout_source import pte_offset, renamed
from rmapcheck.search.native.bounds import Bounds
from rmapcheck.search.native.layout.heap import each_file
from rmapcheck.search.native.layout.numbering import adopt, start_numbering
from rmapcheck.search.native.layout.packed import (
    Place,
    Word,
    load_words,
    object_words,
    process_words,
    width,
)


def value_of(bounds: Bounds, place: Place) -> str:
    """Return the C expression for the stored value of a field."""
    layout, pages, entries = bounds.layout, bounds.number("pages"), bounds.size("pte")
    o, field = place
    value = f"{o}->{field.name}"
    if field.target == "mm":
        return f"((void)mm_is_live(st, {value}), label_mm[{value}])"
    if field.target == "pte":
        mm, address = f"label_mm[({value} - 1) / {pages} + 1]", f"({value} - 1) % {pages}"
        label = pte_offset(mm, address, pages)
        known = f"{value} == 0 || {value} > {entries}"
        return f"((void)pte_is_live(st, {value}), {known} ? {value} : {label})"
    if field.target in layout.named:
        return f"named_{field.target}(st, name_of_{field.target}, {value})"
    if renamed(field) and bounds.most(field.target):
        return f"label_{field.target}(st, &q_{field.target}, {value})"
    return _number(bounds, place)


def _number(bounds: Bounds, place: Place) -> str:
    o, field = place
    return f"fits(st, {o}->{field.name}, {bounds.high(field)})"


def _puts(parts: list[Word], to: str, value: Callable[[Place], str]) -> list[str]:
    """Return the statements that store words at `to`; values are evaluated in field order."""
    lines, offset = [], 0
    for word in parts:
        lines.append(f"{{ uint64_t x = {'1ull << 63' if word.flag else '0'};")
        for place, left in word.shifts():
            shifted = f" << {left}" if width(place[1]) else " * 0"
            lines.append(f"x |= (uint64_t){value(place)}{shifted};")
        lines.append(f"put({to} + {offset}, x, {word.bytes}); }}")
        offset += word.bytes
    return lines


def _bytes(parts: list[Word]) -> int:
    return sum(word.bytes for word in parts)


def encode(bounds: Bounds) -> str:
    """Return encode(), which writes the renamed form for one order of the processes."""
    layout = bounds.layout
    scope, structs = layout.scope, layout.structs
    process = process_words(layout)
    out = [
        *(adopt(structs[n]) for n in layout.heap),
        "static int encode(S *st, const int *order, unsigned char *to)",
        "{",
        "  unsigned char *b = to;",
        f"  int label_mm[{scope.mms} + 2] = {{0}};",
        f"  label_mm[{scope.mms} + 1] = {scope.mms} + 1;",
        f"  for (int k = 0; k < {scope.mms}; k++) label_mm[order[k]] = k + 1;",
        *(start_numbering(bounds, n) for n in layout.heap),
        f"  for (int k = 0; k < {scope.mms}; k++) {{",
        "    int m = order[k];",
        "    if (st->mm.state[m] != 1) { *b++ = 0; continue; }",
        "    struct mm *o = &st->mm.o[m]; (void)o;",
        f"    struct pte *ptes = &st->pte.o[{pte_offset('m', '0', scope.pages)}];",
        *_puts(process, "b", lambda place: value_of(bounds, place)),
        f"    b += {_bytes(process)};",
        "  }",
        *each_file(bounds, lambda s: _put_object(bounds, s, "b")),
        *(line for n in layout.heap for line in _place_of_pool(layout, structs[n])),
        "  for (int again = 0;; again = 1) {",
        *(line for n in layout.heap for line in _put_pool(bounds, structs[n])),
    ]
    met = [n for n in layout.heap if n not in layout.named]
    done = " && ".join(f"q_{n}.at == q_{n}.n" for n in met)
    out.append(f"    if (!({done or 1})) continue;")
    out += [
        f"    if (q_{n}.n < st->{n}.alive) {{ adopt_{n}(st, &q_{n}); continue; }}" for n in met
    ]
    return "\n".join([*out, "    break;", "  }", "  return b - to;", "}"])


def _put_object(bounds: Bounds, struct: StructInfo, to: str, *, flag: bool = False) -> list[str]:
    """Return the statements that store object `o` at `to`, and move `to` to the byte after it."""
    parts = object_words(struct, flag=flag)
    return [
        *_puts(parts, to, lambda place: value_of(bounds, place)),
        f"{to} += {_bytes(parts)};",
    ]


def _place_of_pool(layout: Layout, struct: StructInfo) -> list[str]:
    """Return the statements that reserve room for all live objects of a pool."""
    n, alive = struct.name, f"st->{struct.name}.alive"
    if n in layout.named:
        size = f"{alive} * {_bytes(object_words(struct, flag=True))} + {struct.size} - {alive}"
        return [f"  unsigned char *b_{n} = b; b += {size};"]
    if not struct.size:
        return []
    size = f"{alive} * {_bytes(object_words(struct, flag=False))}"
    return [f"  *b++ = {alive};", f"  unsigned char *b_{n} = b; b += {size};"]


def _put_pool(bounds: Bounds, struct: StructInfo) -> list[str]:
    """Return the statements that store the objects of a pool that are numbered but not stored."""
    n, flag = struct.name, struct.name in bounds.layout.named
    if not struct.size:
        return []
    if flag:
        head = [
            f"    if (!again) for (int i = 1; i <= {struct.size}; i++) {{",
            f"      if (st->{n}.state[i] != 1) {{ *b_{n}++ = 0; continue; }}",
            f"      struct {n} *o = &st->{n}.o[i]; (void)o;",
        ]
    else:
        head = [
            f"    while (q_{n}.at < q_{n}.n) {{",
            f"      struct {n} *o = &st->{n}.o[q_{n}.queue[q_{n}.at++]]; (void)o;",
        ]
    return [*head, *_put_object(bounds, struct, f"b_{n}", flag=flag), "    }"]


def load(bounds: Bounds) -> str:
    """Return load(), the opposite of encode()."""
    layout = bounds.layout
    scope, structs = layout.scope, layout.structs
    out = [
        "static void load(S *st, const unsigned char *b)",
        "{",
        f"  st->mm.alive = 0; st->mm.high = {scope.mms};",
        f"  for (int m = 1; m <= {scope.mms}; m++) {{",
        "    struct mm *o = &st->mm.o[m]; (void)o;",
        f"    struct pte *ptes = &st->pte.o[{pte_offset('m', '0', scope.pages)}];",
        "    if (!(st->mm.state[m] = *b >> 7)) {",
        f"      b++; memset(ptes, 0, {scope.pages} * sizeof *ptes); continue;",
        "    }",
        "    st->mm.alive++;",
        *load_words(process_words(layout), "    "),
        "  }",
        *each_file(bounds, lambda s: load_words(object_words(s, flag=False), "    ")),
        *always_live(bounds),
    ]
    for n in layout.heap:
        if n in layout.named:
            out += _load_named(structs[n])
            continue
        out += [
            f"  st->{n}.alive = st->{n}.high = {'*b++' if structs[n].size else 0};",
            f"  memset(st->{n}.state, 0, sizeof st->{n}.state);",
            f"  memset(st->{n}.state + 1, 1, st->{n}.alive);",
            f"  for (int i = 1; i <= st->{n}.alive; i++) {{",
            f"    struct {n} *o = &st->{n}.o[i]; (void)o;",
            *load_words(object_words(structs[n], flag=False), "    "),
            "  }",
        ]
    return "\n".join([*out, "}"])


def well_formed(layout: Layout, *, renamed_form: bool) -> str:
    """Return well_formed(): whether `n` bytes have the length that their content requires."""
    structs = layout.structs
    out = ["static int well_formed(const S *st, const unsigned char *b, int n)", "{"]
    out += ["  const unsigned char *end = b + n;"]

    def present(count: int, parts: list[Word]) -> None:
        out.append(f"  for (int i = 0; i < {count}; i++)")
        out.append(f"    if (b >= end) return 0; else b += *b >> 7 ? {_bytes(parts)} : 1;")

    if renamed_form:
        present(layout.scope.mms, process_words(layout))
        if "address_space" in structs:
            files = structs["address_space"]
            out.append(f"  b += {files.size * _bytes(object_words(files, flag=False))};")
        for n in layout.heap:
            size = structs[n].size
            if n in layout.named:
                present(size, object_words(structs[n], flag=True))
            elif size:
                out.append(f"  if (b >= end || *b > {size}) return 0;")
                out.append(f"  b += 1 + *b * {_bytes(object_words(structs[n], flag=False))};")
    else:
        for s in structs.values():
            present(s.size, object_words(s, flag=True))
    return "\n".join([*out, "  return b == end;", "}"])


def always_live(bounds: Bounds) -> list[str]:
    """Return the statements that mark all entries and files as live."""
    lines = []
    for name in ("pte", "address_space"):
        if name in bounds.layout.structs:
            size = bounds.size(name)
            lines += [
                f"  memset(st->{name}.state + 1, 1, {size});",
                f"  st->{name}.alive = st->{name}.high = {size};",
            ]
    return lines


def _load_named(s: StructInfo) -> list[str]:
    """Return the statements that load a pool of which every slot is stored."""
    n = s.name
    return [
        f"  st->{n}.alive = 0; st->{n}.high = {s.size};",
        f"  for (int i = 1; i <= {s.size}; i++) {{",
        f"    struct {n} *o = &st->{n}.o[i]; (void)o;",
        f"    if (!(st->{n}.state[i] = *b >> 7)) {{ b++; continue; }}",
        f"    st->{n}.alive++;",
        *load_words(object_words(s, flag=True), "    "),
        "  }",
    ]


def raw(bounds: Bounds) -> str:
    """Return encode() and load() of the raw form, in which every object is in its own place."""
    layout = bounds.layout
    out = ["static int encode(S *st, const int *order, unsigned char *to)", "{"]
    out += ["  unsigned char *b = to;"]
    for s in layout.structs.values():
        parts = object_words(s, flag=True)
        out += [
            f"  for (int i = 1; i <= {s.size}; i++) {{",
            f"    struct {s.name} *o = &st->{s.name}.o[i]; (void)o;",
            f"    if (st->{s.name}.state[i] != 1) {{ *b++ = 0; continue; }}",
            *_puts(parts, "b", lambda place: _number(bounds, place)),
            f"    b += {_bytes(parts)};",
            "  }",
        ]
    out += ["  return b - to;", "}", "static void load(S *st, const unsigned char *b)", "{"]
    for s in layout.structs.values():
        out += _load_named(s)
    return "\n".join([*out, "}"])
