"""How the structs of one scheme in one scope are stored, compared and renamed.

Made once for each (scope, scheme) from the declared fields, as source text that is then compiled:
the loops over fields are unrolled, which makes a state ten times cheaper to save and restore.

Two stored forms, both `bytes`, one byte a field:

raw
    every object in place, whatever its number. For brute force.
renamed
    processes in a given order; every other object numbered in the order in which a walk from
    the processes first meets it. Equal bytes mean equal states up to the names of objects; the
    smallest over all process orders is the canonical form of the state's orbit.
"""

import re
from collections.abc import Callable
from functools import cache
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import attrs

from model.errors import SchemeError
from model.heap import Pool

if TYPE_CHECKING:
    from model.scheme import Scheme
    from model.scope import Scope
    from model.state import State

CORE = ("mm", "vma", "pte", "folio", "swap")


@attrs.frozen
class FieldInfo:
    """One stored byte: `name` as written after the object (an array element as ``ptes[0]``)."""

    name: str
    high: int
    target: str = ""
    weak: bool = False


@attrs.frozen
class StructInfo:
    """One struct as this layout stores it."""

    name: str
    cls: type
    size: int
    fields: tuple[FieldInfo, ...]


def pool_name(cls: type) -> str:
    """Return the name of a struct's pool: ``AnonVma`` lives in ``st.anon_vma``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def _infos(name: str, attribute: Any, sizes: dict[str, int], scope: "Scope") -> list[FieldInfo]:  # noqa: ANN401
    meta = attribute.metadata
    target = meta.get("ref", "")
    if target and target not in sizes:
        msg = f"field {name!r} refers to {target!r}, a struct that the scheme does not list"
        raise SchemeError(msg)
    if not target and "high" not in meta:
        msg = f"field {name!r} must be declared with num(), ref() or their array forms"
        raise SchemeError(msg)
    high = meta.get("high", 0)
    if isinstance(high, str):
        high = getattr(scope, high)
    if target:
        high = sizes[target] + 1
    count = meta.get("length", 0)
    names = [f"{name}[{i}]" for i in range(count)] if count else [name]
    return [FieldInfo(n, high, target, meta.get("weak", False)) for n in names]


def _core_structs() -> dict[str, type]:
    from model import state  # noqa: PLC0415 - state needs this module first

    return {
        "mm": state.Mm,
        "vma": state.Vma,
        "pte": state.Pte,
        "folio": state.Folio,
        "swap": state.Swap,
    }


class Layout:
    """The stored form of all states of `scheme` in `scope`."""

    def __init__(self, scope: "Scope", scheme: "type[Scheme]") -> None:
        self.scope = scope
        self.scheme = scheme
        classes = _core_structs()
        for cls in scheme.structs:
            classes[pool_name(cls)] = cls
        sizes = dict.fromkeys(classes, scope.objects)
        sizes |= {"mm": scope.mms, "vma": scope.vmas, "pte": scope.mms * scope.pages}
        sizes |= {"folio": scope.folios, "swap": scope.swaps}
        self.structs = {n: self._struct(n, c, sizes) for n, c in classes.items()}
        self.heap = tuple(n for n in self.structs if n not in ("mm", "pte"))
        self._compile()

    def _struct(self, name: str, cls: type, sizes: dict[str, int]) -> StructInfo:
        extra = self.scheme.extra_fields.get(name, {})
        chosen = self.scheme.fields.get(name)
        if extra:
            cls = _with_fields(cls, extra)
        infos: list[FieldInfo] = []
        for attribute in attrs.fields(cls):
            if name in CORE:
                active = not attribute.metadata["scheme"] or attribute.name in (chosen or ())
            else:
                active = chosen is None or attribute.name in chosen
            if active or attribute.name in extra:
                source = extra.get(attribute.name, attribute)
                infos += _infos(attribute.name, source, sizes, self.scope)
        return StructInfo(name, cls, sizes[name], tuple(infos))

    def make_pools(self, *, checked: bool) -> dict[str, Pool[Any]]:
        """Return fresh empty pools, by name."""
        pools: dict[str, Pool[Any]] = {
            s.name: Pool(s.name, _checked(s) if checked else s.cls, s.size)
            for s in self.structs.values()
        }
        for struct in self.structs.values():
            for field in struct.fields:
                if field.weak:
                    pools[field.target].referrers.append((pools[struct.name], field.name))
        for name in self.structs:
            pools[name].recycle = self.scope.recycle and name not in CORE
        return pools

    def _compile(self) -> None:
        source = _source(self)
        namespace: dict[str, Any] = {}
        exec(compile(source, f"<layout of {self.scheme.name}>", "exec"), namespace)  # noqa: S102
        self.encode: Callable[[State, tuple[int, ...]], bytes] = namespace["encode"]
        self.load: Callable[[State, bytes], None] = namespace["load"]
        self.encode_raw: Callable[[State], bytes] = namespace["encode_raw"]
        self.load_raw: Callable[[State, bytes], None] = namespace["load_raw"]
        self.dangling: Callable[[State], tuple[str, int, str, int] | None] = namespace["dangling"]
        self.leaked: Callable[[State], tuple[str, int] | None] = namespace["leaked"]
        self.signature: Callable[[State, int], tuple[Any, ...]] = namespace["signature"]

    def orders(self, st: "State") -> list[tuple[int, ...]]:
        """Return the process orders among which the canonical one is to be found.

        Processes are sorted by a signature that does not depend on names; only those that tie
        are permuted. Dead processes come last: nothing tells them apart.
        """
        mm = st.mm
        alive = mm.indices()
        dead = tuple(m for m in range(1, mm.size + 1) if m not in alive)
        if len(alive) == 1:
            return [(alive[0], *dead)]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for m in alive:
            groups.setdefault(self.signature(st, m), []).append(m)
        ties = [list(permutations(groups[key])) for key in sorted(groups)]
        return [(*(m for part in choice for m in part), *dead) for choice in product(*ties)]

    def canonical(self, st: "State") -> tuple[bytes, tuple[int, ...]]:
        """Return the canonical form of `st` and the process order that gives it."""
        orders = self.orders(st)
        order = orders[0]
        best = self.encode(st, order)
        for other in orders[1:]:
            data = self.encode(st, other)
            if data < best:
                best, order = data, other
        return best, order

    def symmetries(self, st: "State") -> int:
        """Return how many renamings of the processes leave `st` as it is."""
        data = [self.encode(st, order) for order in self.orders(st)]
        dead = st.mm.size - st.mm.live
        same = data.count(min(data))
        for i in range(2, dead + 1):
            same *= i
        return same


def _with_fields(cls: type, extra: dict[str, Any]) -> type:
    new = {n: a for n, a in extra.items() if n not in attrs.fields_dict(cls)}
    if not new:
        return cls
    made: type = attrs.make_class(cls.__name__, new, bases=(cls,), slots=True, eq=False)
    return made


def _checked(struct: StructInfo) -> type:
    """Return the struct's class with a range test on every write."""
    highs = {f.name: f.high for f in struct.fields if "[" not in f.name}
    lists = {f.name.partition("[")[0] for f in struct.fields if "[" in f.name}

    def setattr_(self: object, name: str, value: Any) -> None:  # noqa: ANN401
        high = highs.get(name)
        if high is None:
            if name not in lists and value != 0 and type(value) is not list:
                msg = (
                    f"{struct.name}.{name} is no field of this scheme's state: "
                    "list it in the scheme's `fields` or `extra_fields`"
                )
                raise SchemeError(msg)
        elif type(value) not in (int, bool) or not 0 <= value <= high:
            msg = f"{struct.name}.{name} = {value!r} is outside 0 … {high}"
            raise SchemeError(msg)
        object.__setattr__(self, name, value)

    return type(struct.cls.__name__, (struct.cls,), {"__slots__": (), "__setattr__": setattr_})


# What follows writes the source of the five functions.


def _emit(layout: Layout, struct: StructInfo, indent: str) -> list[str]:
    lines = []
    for field in struct.fields:
        if field.target in ("", "mm", "pte"):
            value = f"o.{field.name}"
            text = {
                "": f"a({value})",
                "mm": f"a(L_mm[{value}])",
                "pte": f"a(L_pte({value}))",
            }[field.target]
            lines.append(indent + text)
        else:
            t = field.target
            lines.append(f"{indent}x = o.{field.name}")
            lines.append(f"{indent}a(L_{t}[x] or (x and push_{t}(x)))")
    return lines


def _targets(struct: StructInfo) -> str:
    return "".join(f"o.{f.name}, " for f in struct.fields)


def _source(layout: Layout) -> str:
    return "\n".join(
        _encode_source(layout)
        + _load_source(layout)
        + _raw_source(layout)
        + _signature_source(layout)
        + _dangling_source(layout)
        + _leaked_source(layout)
    )


def _encode_source(layout: Layout) -> list[str]:
    scope, structs = layout.scope, layout.structs
    width = 1 + len(structs["mm"].fields) + scope.pages * len(structs["pte"].fields)
    out = ["def encode(st, order):"]
    out += [
        f"    L_mm = [0] * {scope.mms + 2}",
        f"    L_mm[{scope.mms + 1}] = {scope.mms + 1}",
        "    k = 0",
        "    for m in order:",
        "        k += 1",
        "        L_mm[m] = k",
        "    def L_pte(p):",
        f"        if p == 0 or p > {structs['pte'].size}: return p",
        f"        mm, address = divmod(p - 1, {scope.pages})",
        f"        return (L_mm[mm + 1] - 1) * {scope.pages} + address + 1",
    ]
    for name in layout.heap:
        size = structs[name].size
        out += [
            f"    {name} = st.{name}; O_{name} = {name}.objects; Q_{name} = []; out_{name} = []",
            f"    L_{name} = [0] * {size + 2}; L_{name}[{size + 1}] = {size + 1}",
            f"    def push_{name}(x):",
            f"        if {name}[x] is not O_{name}[x]:",
            f"            L_{name}[x] = {size + 1}",
            f"            return {size + 1}",
            f"        Q_{name}.append(x)",
            f"        L_{name}[x] = x = len(Q_{name})",
            "        return x",
        ]
    out += [
        "    mm = st.mm; O_mm = mm.objects; pte = st.pte; out = []; a = out.append",
        "    for m in order:",
        "        o = mm[m]",
        "        if o is not O_mm[m]:",
        f"            out.extend({[0] * width!r})",
        "            continue",
        "        a(1)",
        *_emit(layout, structs["mm"], " " * 8),
        f"        for o in pte[(m - 1) * {scope.pages} + 1:m * {scope.pages} + 1]:",
        *_emit(layout, structs["pte"], " " * 12),
        f"    {' = '.join('i_' + n for n in layout.heap)} = 0",
        "    while True:",
    ]
    for name in layout.heap:
        out += [
            f"        a = out_{name}.append",
            f"        while i_{name} < len(Q_{name}):",
            f"            o = {name}[Q_{name}[i_{name}]]",
            f"            i_{name} += 1",
            *_emit(layout, structs[name], " " * 12),
        ]
    done = " and ".join(f"i_{n} == len(Q_{n})" for n in layout.heap)
    out.append(f"        if {done}:")
    for name in layout.heap:
        out += [
            f"            if len(Q_{name}) < {name}.live:",
            f"                rest = [x for x in {name}.indices() if not L_{name}[x]]",
            f"                push_{name}(min(rest, key=lambda x: nums_{name}({name}[x])))",
            "                continue",
        ]
    joined = " + ".join(f"[len(Q_{n})] + out_{n}" for n in layout.heap)
    out += ["            break", f"    return bytes(out + {joined})"]
    for name in layout.heap:
        numbers = [f.name for f in structs[name].fields if not f.target]
        out.append(f"def nums_{name}(o): return ({''.join(f'o.{n}, ' for n in numbers)})")
    return out


def _load_source(layout: Layout) -> list[str]:
    scope, structs = layout.scope, layout.structs
    mm, pte = structs["mm"], structs["pte"]
    out = ["def load(st, b):", "    mm = st.mm; pte = st.pte; live = 0"]
    i = 0
    for m in range(1, scope.mms + 1):
        w = len(mm.fields)
        out += [
            f"    if b[{i}]:",
            f"        mm[{m}] = o = mm.objects[{m}]; live += 1",
            f"        {_targets(mm)} = b[{i + 1}:{i + 1 + w}]",
            f"    else: mm[{m}] = mm.poison[{m}]",
        ]
        i += 1 + w
        for a in range(scope.pages):
            w = len(pte.fields)
            out.append(
                f"    o = pte[{(m - 1) * scope.pages + a + 1}]; {_targets(pte)} = b[{i}:{i + w}]"
            )
            i += w
    out += ["    mm.live = live", f"    i = {i}"]
    for name in layout.heap:
        struct = structs[name]
        w = len(struct.fields)
        out += [
            f"    p = st.{name}; O = p.objects; n = b[i]; i += 1",
            "    for t in range(1, n + 1):",
            "        p[t] = o = O[t]",
            f"        {_targets(struct)} = b[i:i + {w}]; i += {w}",
            f"    p[n + 1:{struct.size + 1}] = p.poison[n + 1:{struct.size + 1}]",
            "    p.live = p.high = n",
        ]
    return out


def _raw_source(layout: Layout) -> list[str]:
    structs = layout.structs
    out = ["def encode_raw(st):", "    out = []"]
    for struct in structs.values():
        fields = ", ".join(f"o.{f.name}" for f in struct.fields)
        zeros = ", ".join("0" for _ in struct.fields)
        out += [
            f"    p = st.{struct.name}; O = p.objects",
            f"    for t in range(1, {struct.size + 1}):",
            "        o = p[t]",
            f"        out += (1, {fields}) if o is O[t] else (0, {zeros})",
        ]
    out += ["    return bytes(out)", "def load_raw(st, b):", "    i = 0"]
    for struct in structs.values():
        w = len(struct.fields)
        out += [
            f"    p = st.{struct.name}; O = p.objects; live = 0",
            f"    for t in range(1, {struct.size + 1}):",
            "        if b[i]:",
            "            p[t] = o = O[t]; live += 1",
            f"            {_targets(struct)} = b[i + 1:i + {w + 1}]",
            "        else: p[t] = p.poison[t]",
            f"        i += {w + 1}",
            "    p.live = live; p.high = p.size",
        ]
    return out


def _signature_source(layout: Layout) -> list[str]:
    scope, structs = layout.scope, layout.structs
    vma = [f"o.{f.name}" + (" != 0" if f.target else "") for f in structs["vma"].fields]
    folio = [f"f.{f.name}" for f in structs["folio"].fields if not f.target]
    return [
        "def signature(st, m):",
        "    out = []; vma = st.vma; folio = st.folio; v = st.mm[m].mmap; n = 0",
        f"    while v and n <= {scope.pages} and vma[v] is vma.objects[v]:",
        "        o = vma[v]; n += 1",
        f"        out += ({', '.join(vma)},)",
        "        v = o.vm_next",
        f"    for o in st.pte[(m - 1) * {scope.pages} + 1:m * {scope.pages} + 1]:",
        "        out.append(o.flags)",
        "        x = o.folio",
        "        if x and folio[x] is folio.objects[x]:",
        f"            f = folio[x]; out += ({', '.join(folio)},)",
        "        else: out.append((o.swap != 0) * -1 - 1)",
        "    return tuple(out)",
    ]


def _dangling_source(layout: Layout) -> list[str]:
    """Find a strong reference, in a live object, to an object that is not live."""
    out = ["def dangling(st):"]
    for struct in layout.structs.values():
        strong = [f for f in struct.fields if f.target and not f.weak and f.target != "pte"]
        if not strong:
            continue
        out += [
            f"    p = st.{struct.name}; O = p.objects",
            "    for i in range(1, p.high + 1):",
            "        o = p[i]",
            "        if o is O[i]:",
        ]
        for field in strong:
            t = field.target
            out += [
                f"            x = o.{field.name}",
                f"            if x and st.{t}[x] is not st.{t}.objects[x]:",
                f"                return ({struct.name!r}, i, {field.name!r}, x)",
            ]
    return [*out, "    return None"]


def _leaked_source(layout: Layout) -> list[str]:
    """Find a live object that no process leads to."""
    scope, structs = layout.scope, layout.structs
    out = ["def leaked(st):"]
    for name in layout.heap:
        out.append(
            f"    {name} = st.{name}; O_{name} = {name}.objects; Q_{name} = []; S_{name} = set()"
        )
    visits = {
        name: [f for f in struct.fields if f.target not in ("", "mm", "pte")]
        for name, struct in structs.items()
    }

    def follow(name: str, indent: str) -> list[str]:
        lines = []
        for field in visits[name]:
            t = field.target
            lines += [
                f"{indent}x = o.{field.name}",
                f"{indent}if x and x not in S_{t} and {t}[x] is O_{t}[x]:",
                f"{indent}    S_{t}.add(x); Q_{t}.append(x)",
            ]
        return lines

    out += [
        "    for m in st.mm.indices():",
        "        o = st.mm[m]",
        *follow("mm", " " * 8),
        f"        for o in st.pte[(m - 1) * {scope.pages} + 1:m * {scope.pages} + 1]:",
        *follow("pte", " " * 12),
        f"    while {' or '.join('Q_' + n for n in layout.heap)}:",
    ]
    for name in layout.heap:
        body = follow(name, " " * 12) or [" " * 12 + "pass"]
        out += [f"        while Q_{name}:", f"            o = {name}[Q_{name}.pop()]", *body]
    for name in layout.heap:
        out += [
            f"    if len(S_{name}) < {name}.live:",
            f"        return ({name!r}, min(set({name}.indices()) - S_{name}))",
        ]
    return [*out, "    return None"]


@cache
def layout_of(scope: "Scope", scheme: "type[Scheme]") -> Layout:
    """Return the layout of `scheme` in `scope`, made at the first call."""
    return Layout(scope, scheme)
