"""Writes the C code for two invariants on references: see Layout.dangling and Layout.leaked."""

from rmapcheck.model.machine.fields import FIXED, StructInfo
from rmapcheck.model.machine.layout import Layout
from rmapcheck.model.machine.layout_source import named, pte_offset
from rmapcheck.search.native.bounds import Bounds
from rmapcheck.search.native.layout.heap import each_file


def dangling(layout: Layout) -> str:
    """Return dangling(): whether a live object refers to one that is not live."""
    out = ["static int dangling(S *st)", "{"]
    for s in layout.structs.values():
        strong = [f for f in s.fields if not named(f) and not f.weak]
        if strong:
            out += [
                f"  for (int i = 1; i <= st->{s.name}.high; i++) {{",
                f"    struct {s.name} *o = &st->{s.name}.o[i];",
                f"    if (st->{s.name}.state[i] != 1) continue;",
                *(
                    f"    if (o->{f.name} && !{f.target}_is_live(st, o->{f.name})) return 1;"
                    for f in strong
                ),
                "  }",
            ]
    return "\n".join([*out, "  return 0;", "}"])


def leaked(bounds: Bounds) -> str:
    """Return leaked(): whether a live object cannot be reached by references."""
    layout = bounds.layout
    return "\n".join(
        [
            "static int leaked(S *st)",
            "{",
            *(f"  struct numbering_{n} q_{n}; start_{n}(st, &q_{n});" for n in layout.heap),
            *_meet_first(bounds),
            *_meet_rest(layout),
            *(f"  if (q_{n}.n < st->{n}.alive) return 1;" for n in layout.heap),
            "  return 0;",
            "}",
        ]
    )


def _meet_first(bounds: Bounds) -> list[str]:
    """Return the statements that number the objects to which processes and files refer."""
    structs, pages = bounds.layout.structs, bounds.number("pages")
    return [
        f"  for (int m = 1; m <= {bounds.number('mms')}; m++) {{",
        "    if (st->mm.state[m] != 1) continue;",
        "    { struct mm *o = &st->mm.o[m];",
        *_meet(structs["mm"]),
        f"    }} for (int i = 0; i < {pages}; i++) {{",
        f"    struct pte *o = &st->pte.o[{pte_offset('m', 'i', pages)}];",
        *_meet(structs["pte"]),
        "    }",
        "  }",
        *each_file(bounds, _meet),
    ]


def _meet_rest(layout: Layout) -> list[str]:
    """Return the loop that follows the references of numbered objects until all are followed."""
    lines = ["  for (int more = 1; more;) {", "    more = 0;"]
    for n in layout.heap:
        lines += [
            f"    while (q_{n}.at < q_{n}.n) {{",
            "    more = 1;",
            f"    struct {n} *o = &st->{n}.o[q_{n}.queue[q_{n}.at++]]; (void)o;",
            *_meet(layout.structs[n]),
            "    }",
        ]
    return [*lines, "  }"]


def _meet(s: StructInfo) -> list[str]:
    """Return the statements that number the objects to which object `o` refers."""
    # A reference from the file's container does not count: a VMA needs a process.
    skipped = ("", *FIXED, *(("vma",) if s.name == "address_space" else ()))
    return [
        f"    if (o->{f.name} && {f.target}_is_live(st, o->{f.name}))"
        f" (void)label_{f.target}(st, &q_{f.target}, o->{f.name});"
        for f in s.fields
        if f.target not in skipped
    ]
