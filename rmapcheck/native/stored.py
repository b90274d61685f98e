"""The stored forms of a state in C, byte for byte those of model/layout.py."""

from collections.abc import Callable

from model.layout import Layout, StructInfo
from model.layout_source import FIXED, named, renamed

PUT = """
static inline void put(S *st, unsigned char **out, int value, int high)
{
  if (__builtin_expect((unsigned)value > (unsigned)high, 0)) stop(st, MODEL_FIELD, 0, value);
  *(*out)++ = value;
}
"""

NUMBERING = """
struct numbering_{name} {{ unsigned char label[{size} + 2], queue[{size} + 2]; int n, at; }};
static inline int label_{name}(S *st, struct numbering_{name} *q, int x)
{{
  if (x == 0) return 0;
  int alive = {name}_is_live(st, x);
  if (q->label[x]) return q->label[x];
  if (!alive) return q->label[x] = {size} + 1;
  q->queue[q->n++] = x;
  return q->label[x] = q->n;
}}
"""


def _puts(layout: Layout, struct: StructInfo, out: str, indent: str) -> list[str]:
    """Return the statements that store the fields of object `o`."""
    lines = []
    pages, entries = layout.scope.pages, layout.structs["pte"].size
    for field in struct.fields:
        value = f"o->{field.name}"
        if field.target == "mm":
            lines.append(f"{indent}(void)mm_is_live(st, {value});")
            value = f"label_mm[{value}]"
        elif field.target == "pte":
            lines.append(f"{indent}(void)pte_is_live(st, {value});")
            value = (
                f"({value} == 0 || {value} > {entries} ? {value} : "
                f"(label_mm[({value} - 1) / {pages} + 1] - 1) * {pages}"
                f" + ({value} - 1) % {pages} + 1)"
            )
        elif renamed(field):
            value = f"label_{field.target}(st, &q_{field.target}, {value})"
        lines.append(f"{indent}put(st, &{out}, {value}, {min(field.high, 255)});")
    return lines


def numbering(layout: Layout) -> str:
    """Return what numbers the objects of each pool in the order in which they are met."""
    return "\n".join(NUMBERING.format(name=n, size=layout.structs[n].size) for n in layout.heap)


def encode(layout: Layout) -> str:
    """Return encode(): the renamed form for one order of the processes; see Layout.encode."""
    scope, structs = layout.scope, layout.structs
    width = 1 + len(structs["mm"].fields) + scope.pages * len(structs["pte"].fields)
    out = [
        PUT,
        *(_adopt(structs[n]) for n in layout.heap),
        "static int encode(S *st, const int *order, unsigned char *to)",
        "{",
        f"  int label_mm[{scope.mms} + 2] = {{0}};",
        "  unsigned char *out = to;",
        f"  label_mm[{scope.mms} + 1] = {scope.mms} + 1;",
        f"  for (int k = 0; k < {scope.mms}; k++) label_mm[order[k]] = k + 1;",
    ]
    for n in layout.heap:
        size = structs[n].size
        out += [
            f"  struct numbering_{n} q_{n};",
            f"  memset(q_{n}.label, 0, sizeof q_{n}.label);",
            f"  q_{n}.n = q_{n}.at = 0; q_{n}.label[{size} + 1] = {size} + 1;",
            f"  unsigned char bytes_{n}[{size * (len(structs[n].fields) + 1) + 1}];",
            f"  unsigned char *out_{n} = bytes_{n};",
            *_named_start(n, layout),
        ]
    out += [
        f"  for (int k = 0; k < {scope.mms}; k++) {{",
        "    int m = order[k];",
        f"    if (st->mm.state[m] != 1) {{ memset(out, 0, {width}); out += {width}; continue; }}",
        "    *out++ = 1;",
        "    { struct mm *o = &st->mm.o[m];",
        *_puts(layout, structs["mm"], "out", "      "),
        "    }",
        f"    for (int i = 1; i <= {scope.pages}; i++) {{",
        f"      struct pte *o = &st->pte.o[(m - 1) * {scope.pages} + i];",
        *_puts(layout, structs["pte"], "out", "      "),
        "    }",
        "  }",
        *_each_file(layout, lambda s: _puts(layout, s, "out", "    ")),
        "  for (;;) {",
    ]
    for n in layout.heap:
        out += [
            f"    while (q_{n}.at < q_{n}.n) {{",
            f"      struct {n} *o = &st->{n}.o[q_{n}.queue[q_{n}.at++]];",
            *_named_live(structs[n], layout),
            *_puts(layout, structs[n], f"out_{n}", "      "),
            "    }",
        ]
    done = " && ".join(f"q_{n}.at == q_{n}.n" for n in layout.heap)
    out.append(f"    if (!({done})) continue;")
    out += [
        f"    if (q_{n}.n < st->{n}.alive) {{ adopt_{n}(st, &q_{n}); continue; }}"
        for n in layout.heap
        if n not in layout.named
    ]
    out += ["    break;", "  }"]
    for n in layout.heap:
        out += [] if n in layout.named else [f"  *out++ = q_{n}.n;"]
        out += [
            f"  memcpy(out, bytes_{n}, out_{n} - bytes_{n}); out += out_{n} - bytes_{n};",
        ]
    out += ["  return out - to;", "}"]
    return "\n".join(out)


def _named_start(n: str, layout: Layout) -> list[str]:
    """All objects of a named pool are there from the start, each under its own number."""
    if n not in layout.named:
        return []
    size = layout.structs[n].size
    return [
        f"  for (int x = 1; x <= {size}; x++) {{",
        f"    q_{n}.queue[q_{n}.n++] = x;",
        f"    q_{n}.label[x] = st->{n}.state[x] == 1 ? x : {size} + 1;",
        "  }",
    ]


def _named_live(struct: StructInfo, layout: Layout) -> list[str]:
    """Each object of a named pool is preceded by whether it is there."""
    n, width = struct.name, len(struct.fields) + 1
    if n not in layout.named:
        return []
    return [
        f"      if (st->{n}.state[q_{n}.at] != 1) {{",
        f"        memset(out_{n}, 0, {width}); out_{n} += {width}; continue;",
        "      }",
        f"      *out_{n}++ = 1;",
    ]


def _adopt(struct: StructInfo) -> str:
    """Return the function that numbers the least live object that nothing leads to."""
    n = struct.name
    tests = [
        f"    if (a->{f.name} < b->{f.name}) best = x;\n"
        f"    if (a->{f.name} != b->{f.name}) continue;"
        for f in struct.fields
        if not f.target
    ]
    return "\n".join(
        [
            f"static void adopt_{n}(S *st, struct numbering_{n} *q)",
            "{",
            "  int best = 0;",
            f"  for (int x = 1; x <= st->{n}.high; x++) {{",
            f"    if (st->{n}.state[x] != 1 || q->label[x]) continue;",
            "    if (!best) { best = x; continue; }",
            f"    struct {n} *a = &st->{n}.o[x], *b = &st->{n}.o[best];",
            "    (void)a; (void)b;",
            *tests,
            "  }",
            f"  if (best) label_{n}(st, q, best);",
            "}",
        ]
    )


def load(layout: Layout) -> str:
    """Return load(): the opposite of encode()."""
    scope, structs = layout.scope, layout.structs
    out = [
        "static void load(S *st, const unsigned char *b)",
        "{",
        f"  st->mm.alive = 0; st->mm.high = {scope.mms};",
        f"  for (int m = 1; m <= {scope.mms}; m++) {{",
        "    struct mm *o = &st->mm.o[m];",
        "    st->mm.state[m] = *b; st->mm.alive += *b++;",
        *(f"    o->{f.name} = *b++;" for f in structs["mm"].fields),
        f"    for (int i = 1; i <= {scope.pages}; i++) {{",
        f"      struct pte *o = &st->pte.o[(m - 1) * {scope.pages} + i];",
        *(f"      o->{f.name} = *b++;" for f in structs["pte"].fields),
        "    }",
        "  }",
        *_each_file(layout, lambda s: [f"    o->{f.name} = *b++;" for f in s.fields]),
        *_always_live(layout),
    ]
    for n in layout.heap:
        if n in layout.named:
            out += _load_named(structs[n])
            continue
        out += [
            f"  st->{n}.alive = st->{n}.high = *b++;",
            f"  memset(st->{n}.state, 0, sizeof st->{n}.state);",
            f"  memset(st->{n}.state + 1, 1, st->{n}.alive);",
            f"  for (int i = 1; i <= st->{n}.alive; i++) {{",
            f"    struct {n} *o = &st->{n}.o[i]; (void)o;",
            *(f"    o->{f.name} = *b++;" for f in structs[n].fields),
            "  }",
        ]
    return "\n".join([*out, "}"])


def _each_file(layout: Layout, body: Callable[[StructInfo], list[str]]) -> list[str]:
    """Return a loop over all files, where the scope has files."""
    files = layout.structs.get("address_space")
    if files is None:
        return []
    return [
        f"  for (int i = 1; i <= {files.size}; i++) {{",
        "    struct address_space *o = &st->address_space.o[i];",
        *body(files),
        "  }",
    ]


def _always_live(layout: Layout) -> list[str]:
    """Return what says that all entries and files are there."""
    lines = []
    for name in ("pte", "address_space"):
        if name in layout.structs:
            size = layout.structs[name].size
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
        f"    st->{n}.state[i] = *b; st->{n}.alive += *b++;",
        *(f"    o->{f.name} = *b++;" for f in s.fields),
        "  }",
    ]


def raw(layout: Layout) -> str:
    """Return encode() and load() of the raw form: every object in its place."""
    out = [PUT, "static int encode(S *st, const int *order, unsigned char *to)", "{"]
    out += ["  unsigned char *out = to;"]
    for s in layout.structs.values():
        out += [
            f"  for (int i = 1; i <= {s.size}; i++) {{",
            f"    struct {s.name} *o = &st->{s.name}.o[i]; (void)o;",
            f"    memset(out, 0, {len(s.fields) + 1});",
            f"    if (st->{s.name}.state[i] != 1) {{ out += {len(s.fields) + 1}; continue; }}",
            "    *out++ = 1;",
            *(f"    put(st, &out, o->{f.name}, {min(f.high, 255)});" for f in s.fields),
            "  }",
        ]
    out += ["  return out - to;", "}", "static void load(S *st, const unsigned char *b)", "{"]
    for s in layout.structs.values():
        out += _load_named(s)
    return "\n".join([*out, "}"])


def signature(layout: Layout) -> str:
    """Return signature(): what of a process does not depend on names; see Layout.orders."""
    scope, structs = layout.scope, layout.structs
    vma = [f"o->{f.name}" + (" != 0" if renamed(f) else "") for f in structs["vma"].fields]
    folio = [f"f->{f.name}" for f in structs["folio"].fields if not f.target]
    size = (scope.pages + 1) * (len(vma) + 1) + scope.pages * (len(folio) + 2)
    lines = [
        f"enum {{ SIGNATURE = {size} }};",
        "static int signature(S *st, int m, int *out)",
        "{",
        "  int *a = out, v = st->mm.o[m].mmap;",
        f"  for (int n = 0; v && n <= {scope.pages} && vma_is_live(st, v); n++) {{",
        "    struct vma *o = &st->vma.o[v];",
        *(f"    *a++ = {code};" for code in vma),
        "    v = o->vm_next;",
        "  }",
        f"  for (int i = 1; i <= {scope.pages}; i++) {{",
        f"    struct pte *o = &st->pte.o[(m - 1) * {scope.pages} + i];",
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


def dangling(layout: Layout) -> str:
    """Return dangling(): does a live object refer to one that is not; see Layout.dangling."""
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


def leaked(layout: Layout) -> str:
    """Return leaked(): does a live object hang on nothing; see Layout.leaked."""
    scope, structs = layout.scope, layout.structs

    def follow(s: StructInfo) -> list[str]:
        # A VMA that only its file knows is lost all the same.
        skipped = ("", *FIXED, *(("vma",) if s.name == "address_space" else ()))
        return [
            f"    if (o->{f.name} && {f.target}_is_live(st, o->{f.name}))"
            f" (void)label_{f.target}(st, &q_{f.target}, o->{f.name});"
            for f in s.fields
            if f.target not in skipped
        ]

    out = ["static int leaked(S *st)", "{"]
    for n in layout.heap:
        out.append(f"  struct numbering_{n} q_{n}; memset(q_{n}.label, 0, sizeof q_{n}.label);")
        out.append(f"  q_{n}.n = q_{n}.at = 0;")
    out += [
        f"  for (int m = 1; m <= {scope.mms}; m++) {{",
        "    if (st->mm.state[m] != 1) continue;",
        "    { struct mm *o = &st->mm.o[m];",
        *follow(structs["mm"]),
        f"    }} for (int i = 1; i <= {scope.pages}; i++) {{",
        f"    struct pte *o = &st->pte.o[(m - 1) * {scope.pages} + i];",
        *follow(structs["pte"]),
        "    }",
        "  }",
        *_each_file(layout, follow),
        "  for (int more = 1; more;) {",
        "    more = 0;",
    ]
    for n in layout.heap:
        out += [
            f"    while (q_{n}.at < q_{n}.n) {{",
            "    more = 1;",
            f"    struct {n} *o = &st->{n}.o[q_{n}.queue[q_{n}.at++]]; (void)o;",
            *follow(structs[n]),
            "    }",
        ]
    out.append("  }")
    out += [f"  if (q_{n}.n < st->{n}.alive) return 1;" for n in layout.heap]
    return "\n".join([*out, "  return 0;", "}"])
