"""The stored form of a state in a general library: that of model/machine/layout.py, as it is.

How many processes, pages and fields there are is known only when the library runs. So a field is a
byte, and not some bits of a word (packed.py)::

    +---+----+-----+-----+---+-- --+---------------+---+-------+-------+---+---------+-- - -
    | 1 | mm | pte | pte | 0 | 0 … | address_space | 2 | vma 1 | vma 2 | 1 | folio 1 | 0 …
    +---+----+-----+-----+---+-- --+---------------+---+-------+-------+---+---------+-- - -
     process 1, with all  process 2   every file    |   VMAs in the order in which  |
     of its page table    is missing                how many there are              no swap slot

A key takes half as much memory again as one of bits. Python reads and writes it as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import attrs

from rmapcheck.model.machine.fields import FieldInfo, StructInfo
from rmapcheck.model.machine.layout_source import pte_offset
from rmapcheck.search.native.bounds import Bounds
from rmapcheck.search.native.layout.heap import each_file
from rmapcheck.search.native.layout.numbering import adopt, start_numbering
from rmapcheck.search.native.layout.stored import always_live, value_of

Each = Callable[[FieldInfo], str]
"""Returns the statement that writes or reads one field."""


class Plain:
    """Stands for the Packing of this form: there is nothing to pack."""

    def pack(self, data: bytes) -> bytes:
        """Return a stored form of model/machine/layout.py in the format of the search in C."""
        return data

    def unpack(self, data: bytes) -> bytes:
        """Return the stored form of model/machine/layout.py."""
        return data


def encode(bounds: Bounds) -> str:
    """Return encode(), which writes the form for one order of the processes."""
    heap, structs = bounds.layout.heap, bounds.layout.structs
    mms, process = bounds.number("mms"), _process(bounds)
    met = " && ".join(f"q_{n}.at == q_{n}.n" for n in heap)
    return "\n".join(
        [
            *(adopt(structs[n]) for n in heap),
            "static int encode(S *st, const int *order, unsigned char *to)",
            "{",
            "  unsigned char *b = to;",
            "  int label_mm[MOST_MMS + 2];",
            f"  label_mm[0] = 0, label_mm[{mms} + 1] = {mms} + 1;",
            f"  for (int k = 0; k < {mms}; k++) label_mm[order[k]] = k + 1;",
            *(start_numbering(bounds, n) for n in heap),
            f"  for (int k = 0; k < {mms}; k++) {{",
            "    int m = order[k], none = st->mm.state[m] != 1;",
            f"    if (none) {{ memset(b, 0, {process}); b += {process}; continue; }}",
            "    *b++ = 1;",
            *_each_of_process(bounds, _put(bounds, "b")),
            "  }",
            *each_file(bounds, lambda s: _each_field(bounds, s, _put(bounds, "b"))),
            *(line for n in heap for line in _place_of_pool(bounds, structs[n])),
            "  for (;;) {",
            *(line for n in heap for line in _put_pool(bounds, structs[n])),
            f"    if (!({met})) continue;",
            *(
                f"    if (q_{n}.n < st->{n}.alive) {{ adopt_{n}(st, &q_{n}); continue; }}"
                for n in heap
            ),
            "    break;",
            "  }",
            "  return b - to;",
            "}",
        ]
    )


def load(bounds: Bounds) -> str:
    """Return load(), the opposite of encode()."""
    heap, structs, mms = bounds.layout.heap, bounds.layout.structs, bounds.number("mms")
    return "\n".join(
        [
            "static void load(S *st, const unsigned char *b)",
            "{",
            f"  st->mm.alive = 0; st->mm.high = {mms};",
            f"  for (int m = 1; m <= {mms}; m++) {{",
            "    st->mm.alive += st->mm.state[m] = *b++;",
            *_each_of_process(bounds, _get),
            "  }",
            *each_file(bounds, lambda s: _each_field(bounds, s, _get)),
            *always_live(bounds),
            *(line for n in heap for line in _load_pool(bounds, structs[n])),
            "}",
        ]
    )


def well_formed(bounds: Bounds) -> str:
    """Return well_formed(): whether `n` bytes have the length that their content requires."""
    files, counts = _files(bounds), []
    for n in bounds.layout.heap:
        counts.append(f"  if (b >= end || *b > {bounds.size(n)}) return 0;")
        counts.append(f"  b += 1 + *b * ({_width(bounds, bounds.layout.structs[n])});")
    return "\n".join(
        [
            "static int well_formed(const S *st, const unsigned char *b, int n)",
            "{",
            "  const unsigned char *end = b + n;",
            f"  for (int m = 1; m <= {bounds.number('mms')}; m++, b += {_process(bounds)})",
            "    if (b >= end || *b > 1) return 0;",
            *(
                [f"  b += {bounds.size('address_space')} * ({_width(bounds, files)});"]
                if files
                else []
            ),
            *counts,
            "  return b == end;",
            "}",
        ]
    )


def _files(bounds: Bounds) -> StructInfo | None:
    return bounds.layout.structs.get("address_space")


# How many bytes.


def _width(bounds: Bounds, struct: StructInfo) -> str:
    """Return the C code for the number of bytes of an object."""
    terms = []
    for when, fields in groupby(struct.fields, lambda f: f.when):
        for length, some in groupby(fields, lambda f: f.length):
            count = bounds.number(length) if length else str(len(list(some)))
            terms.append(f"({bounds.number(when)} ? {count} : 0)" if when else count)
    return " + ".join(terms) or "0"


def _process(bounds: Bounds) -> str:
    """Return the C code for the number of bytes of a process."""
    mm, pte = (_width(bounds, bounds.layout.structs[n]) for n in ("mm", "pte"))
    return f"(1 + {mm} + {bounds.number('pages')} * ({pte}))"


# Fields.


def _put(bounds: Bounds, to: str) -> Each:
    return lambda field: f"*{to}++ = {value_of(bounds, ('o', field))};"


def _get(field: FieldInfo) -> str:
    return f"o->{field.name} = *b++;"


def _each_field(bounds: Bounds, struct: StructInfo, each: Each) -> list[str]:
    """Return the statements for all fields of object `o`, without those that the scope lacks."""
    lines = []
    for when, fields in groupby(struct.fields, lambda f: f.when):
        inner = list(_each_of(bounds, list(fields), each))
        lines += [f"if ({bounds.number(when)}) {{", *inner, "}"] if when else inner
    return lines


def _each_of(bounds: Bounds, fields: Sequence[FieldInfo], each: Each) -> Iterator[str]:
    for length, some in groupby(fields, lambda f: f.length):
        if not length:
            yield from map(each, some)
            continue
        first = next(some)
        element = attrs.evolve(first, name=first.name.replace("[0]", "[i]"))
        yield f"for (int i = 0; i < {bounds.number(length)}; i++) {each(element)}"


def _each_of_process(bounds: Bounds, each: Each) -> list[str]:
    """Return the statements for process `m` and its page table."""
    structs, pages = bounds.layout.structs, bounds.number("pages")
    return [
        "    { struct mm *o = &st->mm.o[m]; (void)o;",
        *_each_field(bounds, structs["mm"], each),
        f"    }} for (int i = 0; i < {pages}; i++) {{",
        f"    struct pte *o = &st->pte.o[{pte_offset('m', 'i', pages)}];",
        *_each_field(bounds, structs["pte"], each),
        "    }",
    ]


# Pools.


def _place_of_pool(bounds: Bounds, struct: StructInfo) -> list[str]:
    """Return the statements that reserve room for all live objects of a pool."""
    n = struct.name
    return [
        f"  *b++ = st->{n}.alive;",
        f"  unsigned char *b_{n} = b; b += st->{n}.alive * ({_width(bounds, struct)});",
    ]


def _put_pool(bounds: Bounds, struct: StructInfo) -> list[str]:
    """Return the statements that store the objects of a pool that are numbered but not stored."""
    n = struct.name
    return [
        f"    while (q_{n}.at < q_{n}.n) {{",
        f"      struct {n} *o = &st->{n}.o[q_{n}.queue[q_{n}.at++]]; (void)o;",
        *_each_field(bounds, struct, _put(bounds, f"b_{n}")),
        "    }",
    ]


def _load_pool(bounds: Bounds, struct: StructInfo) -> list[str]:
    n = struct.name
    return [
        f"  st->{n}.alive = st->{n}.high = *b++;",
        f"  memset(st->{n}.state, 0, 16 * {bounds.sixteens(n)});",
        f"  memset(st->{n}.state + 1, 1, st->{n}.alive);",
        f"  for (int i = 1; i <= st->{n}.alive; i++) {{",
        f"    struct {n} *o = &st->{n}.o[i]; (void)o;",
        *_each_field(bounds, struct, _get),
        "  }",
    ]
