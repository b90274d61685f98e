"""The pools in C: structs, checked access, allocation and freeing, as in model/machine/heap.py."""

from collections.abc import Callable

from rmapcheck.model.machine.fields import StructInfo
from rmapcheck.model.machine.structs import CORE
from rmapcheck.search.native.bounds import Bounds
from rmapcheck.search.native.translator.program import Program

POOL = """
struct {name} {{ {fields} }};
struct pool_{name} {{
  struct {name} o[{objects}] __attribute__((aligned(64)));
  /* 0 free, 1 allocated, 2 freed by this operation */
  unsigned char state[{room}] __attribute__((aligned(16)));
  int alive, high;
}};
"""
"""Aligned, so that no 16-byte access of a copy crosses a cache line or a page."""

ACCESS = """
static ALWAYS int {name}_is_live(S *st, unsigned i)
{{
  if (__builtin_expect(i > {size} + 1, 0)) stop(st, MODEL_INDEX, {text}, i);
  return st->{name}.state[i] == 1;
}}
static ALWAYS struct {name} *{name}_at(S *st, unsigned i)
{{
  if (__builtin_expect({name}_is_live(st, i), 1)) return &st->{name}.o[i];
  return (struct {name} *)(uintptr_t)(i != 0);
}}
static ALWAYS struct {name} *{name}_ok_at(S *st, unsigned i)
{{
  if (__builtin_expect(!{name}_is_live(st, i), 0))
    stop(st, i ? OOPS_FREED : OOPS_NULL, {text}, 0);
  return &st->{name}.o[i];
}}
static inline struct {name} *{name}_ok(S *st, struct {name} *o)
{{
  if (__builtin_expect((uintptr_t)o < 2, 0)) stop(st, o ? OOPS_FREED : OOPS_NULL, {text}, 0);
  return o;
}}
static inline List *{name}_indices(S *st, List *to)
{{
  to->n = 0;
  for (int i = 1; i <= st->{name}.high; i++)
    if (st->{name}.state[i] == 1) list_add(st, to, i);
  return to;
}}
static void {name}_claim(S *st, int i)
{{
  {name}_is_live(st, i);
  st->{name}.state[i] = 1;
  memset(&st->{name}.o[i], 0, sizeof st->{name}.o[i]);
  st->{name}.alive++;
  if (st->{name}.high < i) st->{name}.high = i;
}}
static int {name}_alloc(S *st)
{{
  if (++st->nr_allocs == st->fail_at) return 0;
  for (int i = 1; i <= {size}; i++)
    if ({free}) {{
      {name}_claim(st, i);
      return i;
    }}
  st->exhausted = {text};
  return 0;
}}
static void {name}_free(S *st, int i)
{{
  if (!{name}_is_live(st, i)) stop(st, i ? OOPS_DOUBLE : OOPS_NULL, {text}, i);
  st->{name}.state[i] = 2;
  st->{name}.alive--;
{weak}}}
"""

WEAK = """  for (int k = 1; k <= st->{pool}.high; k++)
    if (st->{pool}.state[k] == 1 && st->{pool}.o[k].{field} == i) \
st->{pool}.o[k].{field} = {size} + 1;
"""


def _fields(struct: StructInfo) -> str:
    """Return the members of a C struct. The layout lists an array element by element."""
    sizes: dict[str, int] = {}
    for field in struct.fields:
        base, _, _ = field.name.partition("[")
        sizes[base] = sizes.get(base, 0) + 1 if "[" in field.name else 0
    members = [f"FIELD {n}[{c}];" if c else f"FIELD {n};" for n, c in sizes.items()]
    return " ".join(members) or "FIELD nothing;"


def structs(program: Program) -> str:
    """Return the structs, their pools, the state and an operation."""
    out = [
        POOL.format(
            name=s.name, fields=_fields(s), objects=s.size + 2, room=program.bounds.room(s.name)
        )
        for s in program.layout.structs.values()
    ]
    pools = " ".join(f"struct pool_{n} {n};" for n in program.layout.structs)
    out.append(f"typedef struct {{ RUNNING {pools} }} S;")
    arguments = " ".join(f"int {n};" for n in program.operation_fields)
    out.append(f"typedef struct {{ int type; {arguments} }} Op;")
    return "\n".join(out)


def pools(program: Program) -> str:
    """Return the functions on each pool."""
    bounds = program.bounds
    return "\n".join(
        ACCESS.format(
            name=name,
            size=bounds.size(name),
            free=_is_free(bounds, name),
            weak=_redirect(bounds, name),
            text=program.text(name),
        )
        for name in program.layout.structs
    )


def _recycles(bounds: Bounds, pool: str) -> str:
    """Return the C condition under which a pool reuses numbers that this operation freed."""
    return "0" if pool in CORE else bounds.number("recycle")


def _is_free(bounds: Bounds, pool: str) -> str:
    """Return the C condition under which object `i` may be allocated."""
    state, recycles = f"st->{pool}.state[i]", _recycles(bounds, pool)
    if recycles in ("0", "1"):
        return f"{state} {'!= 1' if recycles == '1' else '== 0'}"
    return f"{recycles} ? {state} != 1 : {state} == 0"


def _redirect(bounds: Bounds, pool: str) -> str:
    """Return the statements that redirect weak references to the freed object `i`."""
    recycles = _recycles(bounds, pool)
    weak = "".join(
        WEAK.format(pool=other.name, field=field.name, size=bounds.size(pool))
        for other in bounds.layout.structs.values()
        for field in other.fields
        if field.weak and field.target == pool
    )
    if recycles == "1" or not weak:
        return ""
    return weak if recycles == "0" else f"  if ({recycles}) return;\n{weak}"


SMALL = 48
"""Up to so many fields, an inline copy is faster than a call of memcpy()."""

COPY = """
static void copy_state(S *to, const S *st)
{{
{pools}}}
"""
COPY_POOL = """  memcpy(to->{name}.o, st->{name}.o, {bytes});
  {state}
  to->{name}.alive = st->{name}.alive;
  to->{name}.high = st->{name}.high;
"""

COPY_STATE = "memcpy(to->{name}.state, st->{name}.state, sizeof st->{name}.state);"
COPY_STATE_OF_SOME = "copy_sixteens(to->{name}.state, st->{name}.state, {n});"


def copy(program: Program) -> str:
    """Return the function that copies all pools: small ones whole, others up to `high`."""
    out = []
    general = program.bounds.general
    for struct in program.layout.structs.values():
        size = f"sizeof st->{struct.name}.o"
        used = f"(st->{struct.name}.high + 1) * {size}[0]"
        small = struct.size * len(struct.fields) <= SMALL and not general
        state = COPY_STATE_OF_SOME if general else COPY_STATE
        out.append(
            COPY_POOL.format(
                name=struct.name,
                bytes=size if small else used,
                state=state.format(name=struct.name, n=program.bounds.sixteens(struct.name)),
            )
        )
    return COPY.format(pools="".join(out))


def each_file(bounds: Bounds, body: Callable[[StructInfo], list[str]]) -> list[str]:
    """Return a loop over all files, if the scope has files."""
    files = bounds.layout.structs.get("address_space")
    if files is None:
        return []
    return [
        f"  for (int i = 1; i <= {bounds.size('address_space')}; i++) {{",
        "    struct address_space *o = &st->address_space.o[i];",
        *body(files),
        "  }",
    ]
