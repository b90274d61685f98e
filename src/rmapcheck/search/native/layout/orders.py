"""Writes the C functions that sort the processes of a state; see Layout.orders."""

from rmapcheck.model.machine.layout import Layout
from rmapcheck.model.machine.layout_source import pte_offset, renamed
from rmapcheck.search.native.bounds import Bounds


def _vma_values(layout: Layout, o: str) -> list[str]:
    """Return the values of a VMA that do not depend on names."""
    fields = layout.structs["vma"].fields
    return [f"{o}->{f.name}" + (" != 0" if renamed(f) else "") for f in fields]


def _folio_values(layout: Layout, o: str) -> list[str]:
    return [f"{o}->{f.name}" for f in layout.structs["folio"].fields if not f.target]


def signature(bounds: Bounds) -> str:
    """Return signature(): the values of a process that do not depend on names."""
    scope, pages = bounds.layout.scope, bounds.number("pages")
    vma, folio = _vma_values(bounds.layout, "o"), _folio_values(bounds.layout, "f")
    size = (scope.pages + 1) * (len(vma) + 1) + scope.pages * (len(folio) + 2)
    lines = [
        f"enum {{ SIGNATURE = {size} }};",
        "static int signature(S *st, int m, int *out)",
        "{",
        "  int *a = out, v = st->mm.o[m].mmap;",
        f"  for (int n = 0; v && n <= {pages} && vma_is_live(st, v); n++) {{",
        "    struct vma *o = &st->vma.o[v];",
        *(f"    *a++ = {code};" for code in vma),
        "    v = o->vm_next;",
        "  }",
        f"  for (int i = 0; i < {pages}; i++) {{",
        f"    struct pte *o = &st->pte.o[{pte_offset('m', 'i', pages)}];",
        "    *a++ = o->flags;",
        "    if (o->folio && folio_is_live(st, o->folio)) {",
        "      struct folio *f = &st->folio.o[o->folio]; (void)f;",
        *(f"      *a++ = {code};" for code in folio),
        "    } else *a++ = o->swap ? -2 : -1;",
        "  }",
        "  return a - out;",
        "}",
    ]
    return "\n".join(lines)


WHOLE = """
static int compare_whole(S *st, int m, int n)
{
  int a[SIGNATURE], b[SIGNATURE];
  int x = signature(st, m, a), y = signature(st, n, b);
  for (int i = 0; i < x && i < y; i++)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return x - y;
}
"""


def compare(bounds: Bounds) -> str:
    """Return compare_mms(), which compares two signatures up to their first difference.

    If one of two processes has more VMAs, or a page where the other has none, their values no
    longer correspond. Then the whole signatures are compared.
    """
    layout, pages = bounds.layout, bounds.number("pages")

    def differ(a: list[str], b: list[str]) -> list[str]:
        lines = zip(a, b, strict=True)
        return [f"    if (({x}) != ({y})) return ({x}) < ({y}) ? -1 : 1;" for x, y in lines]

    return "\n".join(
        [
            WHOLE,
            "static int compare_mms(S *st, int m, int n)",
            "{",
            "  int v = st->mm.o[m].mmap, w = st->mm.o[n].mmap;",
            f"  for (int k = 0; k <= {pages}; k++) {{",
            "    int more = v && vma_is_live(st, v);",
            "    if (more != (w && vma_is_live(st, w))) return compare_whole(st, m, n);",
            "    if (!more) break;",
            "    struct vma *o = &st->vma.o[v], *p = &st->vma.o[w];",
            *differ(_vma_values(layout, "o"), _vma_values(layout, "p")),
            "    v = o->vm_next, w = p->vm_next;",
            "  }",
            f"  for (int i = 0; i < {pages}; i++) {{",
            f"    struct pte *o = &st->pte.o[{pte_offset('m', 'i', pages)}];",
            f"    struct pte *p = &st->pte.o[{pte_offset('n', 'i', pages)}];",
            *differ(["o->flags"], ["p->flags"]),
            "    int there = o->folio && folio_is_live(st, o->folio);",
            "    if (there != (p->folio && folio_is_live(st, p->folio)))",
            "      return compare_whole(st, m, n);",
            "    if (there) {",
            "      struct folio *f = &st->folio.o[o->folio], *g = &st->folio.o[p->folio];",
            "      (void)f; (void)g;",
            *differ(_folio_values(layout, "f"), _folio_values(layout, "g")),
            "    } else {",
            *differ(["!o->swap"], ["!p->swap"]),
            "    }",
            "  }",
            "  return 0;",
            "}",
        ]
    )
