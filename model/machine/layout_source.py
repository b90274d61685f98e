"""Generates the Python source of a layout's functions, which layout.py compiles.

There is one function for each task: `encode` and `load` (renamed form), `encode_raw` and
`load_raw`, `signature` (the sort key of processes), `dangling` and `leaked` (for two invariants).
Loops over fields are unrolled.
"""

from rmapcheck.model.machine.fields import FIXED, FieldInfo, Shape, StructInfo


def named(field: FieldInfo) -> bool:
    """Return whether a field is a number, or refers to an object that always exists."""
    return field.target in ("", "pte", "address_space")


def renamed(field: FieldInfo) -> bool:
    """Return whether a field's value depends on the names of objects or processes."""
    return field.target not in ("", "address_space")


def pte_offset(mm: str, address: str, pages: int | str) -> str:
    """Return source text for pte_offset(), valid in both Python and C."""
    return f"({mm} - 1) * {pages} + {address} + 1"


def ptes_of(mm: str, pages: int) -> str:
    """Return source text for the slice of st.pte that holds the entries of a process."""
    return f"{pte_offset(mm, '0', pages)}:{pte_offset(mm, str(pages), pages)}"


def _emit(struct: StructInfo, indent: str) -> list[str]:
    lines = []
    for field in struct.fields:
        if field.target in ("", *FIXED):
            value = f"o.{field.name}"
            text = {
                "": f"a({value})",
                "address_space": f"a({value})",
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


def source_of(shape: Shape) -> str:
    """Return the source of all functions of `shape`."""
    return "\n".join(
        _encode_source(shape)
        + _load_source(shape)
        + _raw_source(shape)
        + _signature_source(shape)
        + _dangling_source(shape)
        + _leaked_source(shape)
    )


def _encode_source(shape: Shape) -> list[str]:
    """Return encode(), which writes the renamed form; objects are numbered as it meets them."""
    return [
        "def encode(st, order):",
        *_number_processes(shape),
        *(line for name in shape.heap for line in _start_pool(name, shape)),
        *_encode_processes(shape),
        *_files_source(shape),
        *_encode_pools(shape),
        *(_numbers_function(shape.structs[name]) for name in shape.heap),
    ]


def _number_processes(shape: Shape) -> list[str]:
    """Return the lines that number the processes in `order`, and so the entries."""
    scope = shape.scope
    return [
        f"    L_mm = [0] * {scope.mms + 2}",
        f"    L_mm[{scope.mms + 1}] = {scope.mms + 1}",
        "    k = 0",
        "    for m in order:",
        "        k += 1",
        "        L_mm[m] = k",
        "    def L_pte(p):",
        f"        if p == 0 or p > {shape.structs['pte'].size}: return p",
        f"        mm, address = divmod(p - 1, {scope.pages})",
        f"        return {pte_offset('L_mm[mm + 1]', 'address', scope.pages)}",
    ]


def _start_pool(name: str, shape: Shape) -> list[str]:
    """Return the lines that prepare a pool, and the function that numbers one of its objects."""
    size = shape.structs[name].size
    return [
        f"    {name} = st.{name}; O_{name} = {name}.objects; Q_{name} = []; out_{name} = []",
        f"    L_{name} = [0] * {size + 2}; L_{name}[{size + 1}] = {size + 1}",
        *_named_start(name, size, shape),
        f"    def push_{name}(x):",
        f"        if {name}[x] is not O_{name}[x]:",
        f"            L_{name}[x] = {size + 1}",
        f"            return {size + 1}",
        f"        Q_{name}.append(x)",
        f"        L_{name}[x] = x = len(Q_{name})",
        "        return x",
    ]


def _encode_processes(shape: Shape) -> list[str]:
    """Return the lines that write each process with its entries, or zeros if it has exited."""
    scope, structs = shape.scope, shape.structs
    width = 1 + len(structs["mm"].fields) + scope.pages * len(structs["pte"].fields)
    return [
        "    mm = st.mm; O_mm = mm.objects; pte = st.pte; out = []; a = out.append",
        "    for m in order:",
        "        o = mm[m]",
        "        if o is not O_mm[m]:",
        f"            out.extend({[0] * width!r})",
        "            continue",
        "        a(1)",
        *_emit(structs["mm"], " " * 8),
        f"        for o in pte[{ptes_of('m', scope.pages)}]:",
        *_emit(structs["pte"], " " * 12),
    ]


def _encode_pools(shape: Shape) -> list[str]:
    """Return the lines that write the pools, while writing an object numbers further objects."""
    out = [f"    {' = '.join('i_' + n for n in shape.heap)} = 0", "    while True:"]
    for name in shape.heap:
        out += [
            f"        a = out_{name}.append",
            f"        while i_{name} < len(Q_{name}):",
            f"            o = {name}[Q_{name}[i_{name}]]",
            f"            i_{name} += 1",
            *_named_live(shape.structs[name], shape),
            *_emit(shape.structs[name], " " * 12),
        ]
    done = " and ".join(f"i_{n} == len(Q_{n})" for n in shape.heap)
    joined = " + ".join(
        f"out_{n}" if n in shape.named else f"[len(Q_{n})] + out_{n}" for n in shape.heap
    )
    return [
        *out,
        f"        if {done}:",
        *(line for name in _numbered(shape) for line in _number_unreachable(name)),
        "            break",
        f"    return bytes(out + {joined})",
    ]


def _number_unreachable(name: str) -> list[str]:
    """Return the lines that number the smallest live object to which no reference leads."""
    return [
        f"            if len(Q_{name}) < {name}.live:",
        f"                rest = [x for x in {name}.indices() if not L_{name}[x]]",
        f"                push_{name}(min(rest, key=lambda x: nums_{name}({name}[x])))",
        "                continue",
    ]


def _numbers_function(struct: StructInfo) -> str:
    """Return the function that returns those fields of an object that are numbers."""
    numbers = "".join(f"o.{f.name}, " for f in struct.fields if not f.target)
    return f"def nums_{struct.name}(o): return ({numbers})"


def _files_source(shape: Shape) -> list[str]:
    if "address_space" not in shape.structs:
        return []
    files = shape.structs["address_space"]
    return ["    for o in st.address_space[1:-1]:", *_emit(files, " " * 8)]


def _numbered(shape: Shape) -> list[str]:
    return [n for n in shape.heap if n not in shape.named]


def _named_start(name: str, size: int, shape: Shape) -> list[str]:
    """Return the lines that number the objects of a named pool: each keeps its own number."""
    if name not in shape.named:
        return []
    return [
        f"    Q_{name} = list(range(1, {size + 1}))",
        f"    for x in Q_{name}: L_{name}[x] = x if {name}[x] is O_{name}[x] else {size + 1}",
    ]


def _named_live(struct: StructInfo, shape: Shape) -> list[str]:
    """Return the lines that write, before each object of a named pool, whether it is allocated."""
    if struct.name not in shape.named:
        return []
    return [
        f"            if o is not O_{struct.name}[i_{struct.name}]:",
        f"                out_{struct.name}.extend({[0] * (1 + len(struct.fields))!r})",
        "                continue",
        "            a(1)",
    ]


def _load_source(shape: Shape) -> list[str]:
    scope, structs = shape.scope, shape.structs
    mm, pte = structs["mm"], structs["pte"]
    out = ["def load(st, b):", "    mm = st.mm; pte = st.pte; live = 0"]
    i, ptep = 0, 1
    for m in range(1, scope.mms + 1):
        w = len(mm.fields)
        out += [
            f"    if b[{i}]:",
            f"        mm[{m}] = o = mm.objects[{m}]; live += 1",
            f"        {_targets(mm)} = b[{i + 1}:{i + 1 + w}]",
            f"    else: mm[{m}] = mm.poison[{m}]",
        ]
        i += 1 + w
        for _ in range(scope.pages):
            w = len(pte.fields)
            out.append(f"    o = pte[{ptep}]; {_targets(pte)} = b[{i}:{i + w}]")
            ptep += 1
            i += w
    for f in range(1, scope.files + 1):
        files = structs["address_space"]
        w = len(files.fields)
        out.append(f"    o = st.address_space[{f}]; {_targets(files)} = b[{i}:{i + w}]")
        i += w
    out += ["    mm.live = live", f"    i = {i}"]
    for name in shape.heap:
        struct = structs[name]
        w = len(struct.fields)
        if name in shape.named:
            out += _load_named(struct)
            continue
        out += [
            f"    p = st.{name}; O = p.objects; n = b[i]; i += 1",
            "    for t in range(1, n + 1):",
            "        p[t] = o = O[t]",
            f"        {_targets(struct)} = b[i:i + {w}]; i += {w}",
            f"    p[n + 1:{struct.size + 1}] = p.poison[n + 1:{struct.size + 1}]",
            "    p.live = p.high = n",
        ]
    return out


def _load_named(struct: StructInfo) -> list[str]:
    """Return the lines that load a pool of which every slot is stored."""
    w = len(struct.fields)
    return [
        f"    p = st.{struct.name}; O = p.objects; live = 0",
        f"    for t in range(1, {struct.size + 1}):",
        "        if b[i]:",
        "            p[t] = o = O[t]; live += 1",
        f"            {_targets(struct)} = b[i + 1:i + {w + 1}]",
        "        else: p[t] = p.poison[t]",
        f"        i += {w + 1}",
        "    p.live = live; p.high = p.size",
    ]


def _raw_source(shape: Shape) -> list[str]:
    structs = shape.structs
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
        out += _load_named(struct)
    return out


def _signature_source(shape: Shape) -> list[str]:
    scope, structs = shape.scope, shape.structs
    vma = [f"o.{f.name}" + (" != 0" if renamed(f) else "") for f in structs["vma"].fields]
    folio = [f"f.{f.name}" for f in structs["folio"].fields if not f.target]
    return [
        "def signature(st, m):",
        "    out = []; vma = st.vma; folio = st.folio; v = st.mm[m].mmap; n = 0",
        f"    while v and n <= {scope.pages} and vma[v] is vma.objects[v]:",
        "        o = vma[v]; n += 1",
        f"        out += ({', '.join(vma)},)",
        "        v = o.vm_next",
        f"    for o in st.pte[{ptes_of('m', scope.pages)}]:",
        "        out.append(o.flags)",
        "        x = o.folio",
        "        if x and folio[x] is folio.objects[x]:",
        f"            f = folio[x]; out += ({', '.join(folio)},)",
        "        else: out.append((o.swap != 0) * -1 - 1)",
        "    return tuple(out)",
    ]


def _dangling_source(shape: Shape) -> list[str]:
    """Return a function that finds a strong reference, in a live object, to a freed object."""
    out = ["def dangling(st):"]
    for struct in shape.structs.values():
        strong = [f for f in struct.fields if not named(f) and not f.weak]
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


def _leaked_source(shape: Shape) -> list[str]:
    """Return a function that finds a live object that cannot be reached from any process."""
    scope, structs = shape.scope, shape.structs
    out = ["def leaked(st):"]
    for name in shape.heap:
        out.append(
            f"    {name} = st.{name}; O_{name} = {name}.objects; Q_{name} = []; S_{name} = set()"
        )
    visits = {
        name: [f for f in struct.fields if f.target not in ("", *FIXED)]
        for name, struct in structs.items()
    }

    if "address_space" in visits:  # a VMA that is reached only from its file is leaked too
        visits["address_space"] = [f for f in visits["address_space"] if f.target != "vma"]

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
        f"        for o in st.pte[{ptes_of('m', scope.pages)}]:",
        *follow("pte", " " * 12),
        *_from_files(follow("address_space", " " * 8) if "address_space" in structs else []),
        f"    while {' or '.join('Q_' + n for n in shape.heap)}:",
    ]
    for name in shape.heap:
        body = follow(name, " " * 12) or [" " * 12 + "pass"]
        out += [f"        while Q_{name}:", f"            o = {name}[Q_{name}.pop()]", *body]
    for name in shape.heap:
        out += [
            f"    if len(S_{name}) < {name}.live:",
            f"        return ({name!r}, min(set({name}.indices()) - S_{name}))",
        ]
    return [*out, "    return None"]


def _from_files(lines: list[str]) -> list[str]:
    return ["    for o in st.address_space[1:-1]:", *lines] if lines else []
