"""The numbers that objects get in a stored form: the order in which a walk meets them.

Objects have no names: two states that differ only in the slots that their objects use count as
one. So encode() (stored.py) does not store the slot of an object. It stores the object's number in
its pool, on a walk over references that starts at the processes. leaked() (reachable.py) does the
same walk: an object that it does not meet cannot be reached. For a pool of four objects, of which
4 and then 3 were met::

              NULL    1    2    3    4   dangling
    state[]      0    1    0    1    1    0        0 free, 1 live, 2 freed by this operation
    label[]      0   255   5    2    1    5        255: live, not met yet (NEW); 5: not live
    queue[]      4  3                              objects that were met; `n`: how many; `at`: of
                                                   how many of them the references were followed
"""

from rmapcheck.model.machine.fields import StructInfo
from rmapcheck.search.native.bounds import Bounds

NUMBERING = """
struct numbering_{name} {{
  unsigned char label[{room}], queue[{most} + 2];
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
  labels(q->label, st->{name}.state, {sixteens}, {size} + 1);
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
"""An object of a named pool keeps the number of its slot, and is stored at that place."""


def numbering(bounds: Bounds) -> str:
    """Return the C code that numbers the objects of each pool in the order of the walk."""
    out, layout = [], bounds.layout
    for n in layout.heap:
        values = {"name": n, "size": bounds.size(n), "most": bounds.most(n)}
        values |= {"room": bounds.room(n), "sixteens": bounds.sixteens(n)}
        out.append(NUMBERING.format(**values))
        if n in layout.named:
            out.append(NAMING.format(**values))
    return "\n".join(out)


def start_numbering(bounds: Bounds, n: str) -> str:
    """Return the statement that starts the numbering of pool `n`."""
    if n in bounds.layout.named:
        return f"  unsigned char name_of_{n}[{bounds.most(n)} + 2]; name_{n}(st, name_of_{n});"
    return f"  struct numbering_{n} q_{n}; start_{n}(st, &q_{n});"


def adopt(struct: StructInfo) -> str:
    """Return the function that numbers the smallest live object that no reference leads to."""
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
