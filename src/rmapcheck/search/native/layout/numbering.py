"""The numbers that objects get in a stored form: in the order in which references meet them.

A state has no names: two states that differ only in which slots of the pools are used are one. So
encode() (stored.py) does not write down in which slot an object is, but how many of its pool were
met before it, on a walk that begins at the processes. leaked() (reachable.py) takes the same walk:
an object that it does not meet hangs on nothing. A pool of four, of which 4 and then 3 were met::

              NULL    1    2    3    4   dangling
    state[]      0    1    0    1    1    0        0 free, 1 live, 2 freed by this very operation
    label[]      0   255   5    2    1    5        255: live, not met yet (NEW); 5: not there
    queue[]      4  3                              what was met; `at`: how many of them were asked
                                                   what they refer to; `n`: how many there are
"""

from rmapcheck.model.machine.fields import StructInfo
from rmapcheck.model.machine.layout import Layout
from rmapcheck.search.native.layout.heap import room

NUMBERING = """
struct numbering_{name} {{
  unsigned char label[{room}], queue[{size} + 2];
  int n, at;
}};
static ALWAYS int label_{name}(S *st, struct numbering_{name} *q, int x)
{{
  if (__builtin_expect((unsigned)x > {size} + 1, 0)) (void){name}_is_live(st, x);
  int label = q->label[x];
  if (label != NEW) return label;
  q->queue[q->n++] = x;
  return q->label[x] = q->n;
}}
static ALWAYS void start_{name}(const S *st, struct numbering_{name} *q)
{{
  labels(q->label, st->{name}.state, {room} / 16, {size} + 1);
  q->label[0] = 0;
  q->n = q->at = 0;
}}
"""

NAMING = """
static ALWAYS void name_{name}(const S *st, unsigned char *label)
{{
  label[0] = 0;
  for (int x = 1; x <= {size} + 1; x++) label[x] = st->{name}.state[x] == 1 ? x : {size} + 1;
}}
static ALWAYS int named_{name}(S *st, const unsigned char *label, int x)
{{
  if (__builtin_expect((unsigned)x > {size} + 1, 0)) (void){name}_is_live(st, x);
  return label[x];
}}
"""
"""An object of a named pool has its own number from the start, and is stored in its turn."""


def numbering(layout: Layout) -> str:
    """Return what numbers the objects of each pool in the order in which they are met."""
    out = []
    for n in layout.heap:
        labels = room(layout.structs[n])
        values = {"name": n, "size": layout.structs[n].size, "room": labels}
        out.append(NUMBERING.format(**values))
        if n in layout.named:
            out.append(NAMING.format(**values))
    return "\n".join(out)


def start_numbering(layout: Layout, struct: StructInfo) -> str:
    """Return the statement with which no object of a pool is met yet, or all are named."""
    n = struct.name
    if n in layout.named:
        return f"  unsigned char name_of_{n}[{struct.size} + 2]; name_{n}(st, name_of_{n});"
    return f"  struct numbering_{n} q_{n}; start_{n}(st, &q_{n});"


def adopt(struct: StructInfo) -> str:
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
            f"    if (st->{n}.state[x] != 1 || q->label[x] != NEW) continue;",
            "    if (!best) { best = x; continue; }",
            f"    struct {n} *a = &st->{n}.o[x], *b = &st->{n}.o[best];",
            "    (void)a; (void)b;",
            *tests,
            "  }",
            f"  if (best) label_{n}(st, q, best);",
            "}",
        ]
    )
