"""The stored forms of a state in C: those of model/layout.py, in bits (see packed.py)."""

from collections.abc import Callable

from model.layout import FieldInfo, Layout, StructInfo
from model.layout_source import FIXED, named, renamed
from rmapcheck.native.packed import count_width, load_fields, width, words

NUMBERING = """
struct numbering_{name} {{ unsigned char label[{size} + 2], queue[{size} + 2]; int n, at; }};
static ALWAYS int label_{name}(S *st, struct numbering_{name} *q, int x)
{{
  if (x == 0) return 0;
  if (__builtin_expect((unsigned)x > {size} + 1, 0)) (void){name}_is_live(st, x);
  if (q->label[x]) return q->label[x];
  if (st->{name}.state[x] != 1) return {size} + 1;
  q->queue[q->n++] = x;
  return q->label[x] = q->n;
}}
"""


def _value(layout: Layout, field: FieldInfo) -> str:
    """Return what is stored of a field of object `o`."""
    pages, entries = layout.scope.pages, layout.structs["pte"].size
    value = f"o->{field.name}"
    if field.target == "mm":
        return f"((void)mm_is_live(st, {value}), label_mm[{value}])"
    if field.target == "pte":
        label = (
            f"(label_mm[({value} - 1) / {pages} + 1] - 1) * {pages} + ({value} - 1) % {pages} + 1"
        )
        known = f"{value} == 0 || {value} > {entries}"
        return f"((void)pte_is_live(st, {value}), {known} ? {value} : {label})"
    if field.target in layout.named:
        return f"name_{field.target}(st, {value})"
    if renamed(field):
        return f"label_{field.target}(st, &q_{field.target}, {value})"
    return f"fits(st, {value}, {min(field.high, 255)})"


def _words(layout: Layout, struct: StructInfo, to: list[str], *, flag: bool) -> list[str]:
    """Return the statements that make words of the fields of object `o`, in their order."""
    lines = []
    for group, word in zip(words(struct, flag=flag), to, strict=True):
        lines.append(f"{{ uint64_t x = {int(flag and word == to[0])};")
        lines += [f"x = x << {width(f)} | {_value(layout, f)};" for f in group]
        lines.append(f"{word} = x; }}")
    return lines


def _widths(struct: StructInfo, *, flag: bool) -> list[int]:
    """Return how wide these words are."""
    groups = words(struct, flag=flag)
    return [sum(map(width, g)) + int(flag and g is groups[0]) for g in groups]


def _puts(layout: Layout, struct: StructInfo, *, flag: bool) -> list[str]:
    """Return the statements that store object `o`."""
    widths = _widths(struct, flag=flag)
    names = [f"w{i}" for i in range(len(widths))]
    return [
        f"{{ uint64_t {', '.join(names)};",
        *_words(layout, struct, names, flag=flag),
        *(f"put(&b, {name}, {bits});" for name, bits in zip(names, widths, strict=True)),
        "}",
    ]


NAME = """
static ALWAYS int name_{name}(S *st, int x)
{{
  return x == 0 || {name}_is_live(st, x) ? x : {size} + 1;
}}
"""


def numbering(layout: Layout) -> str:
    """Return what numbers the objects of each pool in the order in which they are met."""
    sizes = [(n, layout.structs[n].size) for n in layout.heap]
    named = [NAME.format(name=n, size=size) for n, size in sizes if n in layout.named]
    return "\n".join([*(NUMBERING.format(name=n, size=size) for n, size in sizes), *named])


def encode(layout: Layout) -> str:
    """Return encode(): the renamed form for one order of the processes; see Layout.encode."""
    scope, structs = layout.scope, layout.structs
    out = [
        *(_adopt(structs[n]) for n in layout.heap),
        "static int encode(S *st, const int *order, unsigned char *to)",
        "{",
        "  Bits b = {to, 0, 64};",
        f"  int label_mm[{scope.mms} + 2] = {{0}};",
        f"  label_mm[{scope.mms} + 1] = {scope.mms} + 1;",
        f"  for (int k = 0; k < {scope.mms}; k++) label_mm[order[k]] = k + 1;",
    ]
    for n in layout.heap:
        size, count = structs[n].size, len(words(structs[n], flag=n in layout.named))
        out += [
            f"  struct numbering_{n} q_{n};",
            *([] if n in layout.named else [f"  memset(q_{n}.label, 0, sizeof q_{n}.label);"]),
            f"  q_{n}.n = q_{n}.at = 0; q_{n}.label[{size} + 1] = {size} + 1;",
            f"  uint64_t w_{n}[{size * count + 1}];",
            *_named_start(n, layout),
        ]
    out += [
        f"  for (int k = 0; k < {scope.mms}; k++) {{",
        "    int m = order[k];",
        "    if (st->mm.state[m] != 1) { put(&b, 0, 1); continue; }",
        "    { struct mm *o = &st->mm.o[m];",
        *_puts(layout, structs["mm"], flag=True),
        f"    }} for (int i = 1; i <= {scope.pages}; i++) {{",
        f"    struct pte *o = &st->pte.o[(m - 1) * {scope.pages} + i];",
        *_puts(layout, structs["pte"], flag=False),
        "    }",
        "  }",
        *_each_file(layout, lambda s: _puts(layout, s, flag=False)),
        "  for (;;) {",
    ]
    for n in layout.heap:
        count = len(words(structs[n], flag=n in layout.named))
        to = [f"w_{n}[(q_{n}.at - 1) * {count} + {i}]" for i in range(count)]
        dead = f"if (st->{n}.state[q_{n}.at] != 1) continue;" if n in layout.named else ""
        out += [
            f"    while (q_{n}.at < q_{n}.n) {{",
            f"      struct {n} *o = &st->{n}.o[q_{n}.queue[q_{n}.at++]]; {dead}",
            *_words(layout, structs[n], to, flag=n in layout.named),
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
        out += _put_pool(layout, structs[n])
    out += ["  return put_end(&b, to);", "}"]
    return "\n".join(out)


def _put_pool(layout: Layout, struct: StructInfo) -> list[str]:
    """Return the statements that store the words of a pool."""
    n, flag = struct.name, struct.name in layout.named
    widths = _widths(struct, flag=flag)
    dead = f"if (st->{n}.state[i + 1] != 1) {{ put(&b, 0, 1); continue; }}" if flag else ""
    return [
        "" if flag else f"  put(&b, q_{n}.n, {count_width(struct)});",
        f"  for (int i = 0; i < q_{n}.n; i++) {{ {dead}",
        *(f"    put(&b, w_{n}[i * {len(widths)} + {k}], {w});" for k, w in enumerate(widths)),
        "  }",
    ]


def _named_start(n: str, layout: Layout) -> list[str]:
    """All objects of a named pool are there from the start, each under its own number."""
    if n not in layout.named:
        return []
    size = layout.structs[n].size
    return [
        f"  for (int x = 1; x <= {size}; x++) q_{n}.queue[x - 1] = x;",
        f"  q_{n}.n = {size};",
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
        "  uint64_t at = 0;",
        f"  st->mm.alive = 0; st->mm.high = {scope.mms};",
        f"  for (int m = 1; m <= {scope.mms}; m++) {{",
        "    struct mm *o = &st->mm.o[m];",
        f"    struct pte *ptes = &st->pte.o[(m - 1) * {scope.pages} + 1];",
        "    if (!(st->mm.state[m] = get(b, &at, 1))) {",
        f"      memset(ptes, 0, {scope.pages} * sizeof *ptes); continue;",
        "    }",
        "    st->mm.alive++;",
        *load_fields(structs["mm"], "    ", flag=True),
        f"    for (int i = 0; i < {scope.pages}; i++) {{",
        "      struct pte *o = &ptes[i];",
        *load_fields(structs["pte"], "      "),
        "    }",
        "  }",
        *_each_file(layout, lambda s: load_fields(s, "    ")),
        *_always_live(layout),
    ]
    for n in layout.heap:
        if n in layout.named:
            out += _load_named(structs[n])
            continue
        out += [
            f"  st->{n}.alive = st->{n}.high = get(b, &at, {count_width(structs[n])});",
            f"  memset(st->{n}.state, 0, sizeof st->{n}.state);",
            f"  memset(st->{n}.state + 1, 1, st->{n}.alive);",
            f"  for (int i = 1; i <= st->{n}.alive; i++) {{",
            f"    struct {n} *o = &st->{n}.o[i]; (void)o;",
            *load_fields(structs[n], "    "),
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
        f"    if (!(st->{n}.state[i] = get(b, &at, 1))) continue;",
        f"    st->{n}.alive++;",
        *load_fields(s, "    ", flag=True),
        "  }",
    ]


def raw(layout: Layout) -> str:
    """Return encode() and load() of the raw form: every object in its place."""
    out = ["static int encode(S *st, const int *order, unsigned char *to)", "{"]
    out += ["  Bits b = {to, 0, 64};"]
    for s in layout.structs.values():
        widths = _widths(s, flag=True)
        names = [f"w{i}" for i in range(len(widths))]
        out += [
            f"  for (int i = 1; i <= {s.size}; i++) {{",
            f"    struct {s.name} *o = &st->{s.name}.o[i]; (void)o;",
            f"    if (st->{s.name}.state[i] != 1) {{ put(&b, 0, 1); continue; }}",
            f"    uint64_t {', '.join(names)};",
        ]
        for group, name in zip(words(s, flag=True), names, strict=True):
            out.append(f"    {name} = {int(name == 'w0')};")
            for f in group:
                fits = f"fits(st, o->{f.name}, {min(f.high, 255)})"
                out.append(f"    {name} = {name} << {width(f)} | {fits};")
        out += [f"    put(&b, {n}, {w});" for n, w in zip(names, widths, strict=True)]
        out.append("  }")
    out += ["  return put_end(&b, to);", "}", "static void load(S *st, const unsigned char *b)"]
    out += ["{", "  uint64_t at = 0;"]
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
