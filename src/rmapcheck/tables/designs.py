"""The generated pages of the designs: docs/schemes/DESIGN.md, and README.md, their index.

A page has the essays from the design's modules, a table of its eras (the schemes), and facts from
the model: structs, states, bugs, costs. Rows that are equal for several eras are merged.
Everything is generated from the code that the checker runs, so a page cannot contradict the code.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator

import attrs

from rmapcheck.cases.case import load_case
from rmapcheck.cost.tables import HEAD, rows
from rmapcheck.cost.workloads import WORKLOADS
from rmapcheck.invariants.registry import applicable
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import CORE
from rmapcheck.model.operations import Fork, Mmap, Mremap, Operation, Read, SwapOut, Write
from rmapcheck.model.operations.file import MmapFile
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.report import state_text
from rmapcheck.report.markdown import Row, Rows, joined, spans, table
from rmapcheck.report.precision import precision
from rmapcheck.report.recording import record
from rmapcheck.tables.prose import ROOT, fenced, linked, prose

SCALE = 12
"""Scale of the workloads; docs/reference/cost.md has a larger one."""

PICTURED = Scope(mms=2, pages=5, folios=5, objects=20, swaps=2, files=1)
STEPS: tuple[Operation, ...] = (
    Mmap(mm=1, start=0, length=2),
    Write(mm=1, address=0),
    Write(mm=1, address=1),
    MmapFile(mm=1, start=4, length=1, file=1, pgoff=0, shared=True),
    Read(mm=1, address=4),
    Fork(mm=1, child=2),
    Read(mm=2, address=4),
    Write(mm=2, address=0),
    Mremap(mm=2, start=0, length=2, new_length=2, to=2),
    SwapOut(mm=1, address=0),
)
"""At the end, the child has one page of its own and one that it shares with its parent. Both were
moved. A page of the parent is swapped out."""

DESIGNS = {
    "pte_chain_list": "pte_chain",
    "objrmap_nonlinear": "objrmap",
    "anonmm_chains": "anonmm",
    "anon_vma_eras": "anon_vma",
    "anon_vma_chain": "avc",
    "anon_vma_chain_list": "avc",
    "anon_vma_root": "avc",
    "anon_vma_reuse": "avc",
}
"""Modules of model/schemes that are not named after their design, and that design."""

SPECIFIED = {"rmap_speedup": "pte_chain", "rmap15": "pte_chain", "anon_vma_rfc": "anon_vma"}
"""Designs without their own page in docs/reference/spec, and the page that has their rules."""

Eras = list[type[Scheme]]


def design_of(cls: type[Scheme]) -> str:
    """Return the design of a scheme, which is also the name of its page."""
    module = cls.__module__.rpartition(".")[2]
    return DESIGNS.get(module, module)


def designs() -> dict[str, Eras]:
    """Return the schemes of each design, oldest first."""
    found: dict[str, Eras] = {}
    for cls in catalogue.every_scheme().values():
        found.setdefault(design_of(cls), []).append(cls)
    return found


def container_of(cls: type[Scheme]) -> str:
    """Return the module name of the scheme's i_mmap; "–" if it maps no files."""
    return type(cls.i_mmap).__module__.rpartition(".")[2] if cls.maps_files else "–"


# The parts of a page.


def page(design: str, eras: Eras) -> str:
    """Return the page of one design."""
    (title, first), *more = [essay(module) for module in modules(eras)]
    parts = [
        f"# {title}",
        f"<!-- made by `make docs` from model/schemes, design {design} -->",
        first,
        *(f"## {head}\n\n{text}" for head, text in more),
        f"## Eras\n\n{era_table(eras)}\n\n{lacking(eras)}",
        f"## What each decides\n\n{decisions(eras)}",
        f"## Structs\n\n{structs(eras)}",
        f"## A state\n\n{pictures(eras)}",
        f"## Invariants\n\n{invariants(eras)}",
        f"## Bugs\n\n{bugs(eras)}",
        f"## Cost\n\n{cost(eras)}",
    ]
    return "\n\n".join(parts) + "\n"


def modules(eras: Eras) -> list[str]:
    """Return the modules of a design; a module comes after those with the bases of its classes."""
    design = design_of(eras[0])
    every = [base for cls in eras for base in reversed(cls.__mro__) if issubclass(base, Scheme)]
    return list(dict.fromkeys(b.__module__ for b in every if design_of(b) == design))


def essay(module: str) -> tuple[str, str]:
    """Return the first line of a module's docstring, and the rest after a link to its file."""
    head, _, text = (inspect.getdoc(sys.modules[module]) or "").partition("\n\n")
    source = linked(f"model/schemes/{module.rpartition('.')[2]}.py")
    return " ".join(head.split()).rstrip("."), f"Source: {source}\n\n{prose(text)}"


def names(eras: Eras) -> list[str]:
    """Return the names of schemes."""
    return [cls.name for cls in eras]


def which(some: list[str], eras: Eras) -> str:
    """Return the names of some of a page's schemes; "all" if it is all of two or more."""
    return "all" if eras[1:] and len(some) == len(eras) else spans(some, names(eras))


def merged(rows_of: Iterable[Row], eras: Eras) -> Iterator[Row]:
    """Yield the rows of a page's schemes, with equal rows merged into one."""
    every = names(eras)
    all_names = spans(every, every)
    for first, *rest in joined(rows_of, every):
        yield "all" if eras[1:] and first == all_names else first, *rest


def first_paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def era_table(eras: Eras) -> str:
    """Return a row for each era."""
    made: Rows = [
        (f"`{c.name}`", c.era.kernels, container_of(c), what_differs(c), listed(c.era.flaws))
        for c in eras
    ]
    return table(("scheme", "kernels", "i_mmap", "what differs", "bugs it had"), made)


def what_differs(cls: type[Scheme]) -> str:
    """Return the docstring of a scheme without its kernels, which have their own column."""
    text = " ".join(inspect.cleandoc(cls.__doc__ or "").split())
    kernels = text.partition(": ")[0]
    if re.fullmatch(r"v[\d.]+\S*(?: (?:…|and)(?: \S+)?)?", kernels):
        text = text.partition(": ")[2]
    return linked(text)


def listed(things: tuple[str, ...]) -> str:
    """Return the things as text for a cell of a table."""
    return ", ".join(things) or "–"


def lacking(eras: Eras) -> str:
    """Return the features of the model that these kernels did not have, as a list."""
    made = merged([(c.name, listed(c.era.lacks)) for c in eras], eras)
    lines = [f"- {who}: {what}" for who, what in made if what != "–"]
    return (
        "\n".join(["Features of the model that these kernels did not have:", "", *lines])
        if lines
        else ""
    )


def decisions(eras: Eras) -> str:
    """Return the methods and switches in which each era differs from the scheme it extends."""
    made: Rows = []
    for cls in eras:
        own = own_classes(cls)
        if own == [cls] and is_whole(own):
            made.append((cls.name, "all hooks", f"`{cls.__name__}` defines all of them"))
            continue
        shown = [cls] if is_whole(own) else own
        made += [(cls.name, f"`{n}()`", text) for n, text in sorted(_methods(cls, shown))]
        made += [
            (cls.name, f"`{n}`", f"`{now}`, not `{was}`") for n, now, was in _switches(cls, own)
        ]
    return table(("scheme", "decision or hook", "here"), merged(made, eras))


def own_classes(cls: type[Scheme]) -> list[type[Scheme]]:
    """Return the class and those of its bases that are not schemes by themselves."""
    own = [cls]
    for base in cls.__mro__[1:]:
        if base is Scheme or (issubclass(base, Scheme) and base.name):
            break
        if issubclass(base, Scheme):
            own.append(base)
    return own


def is_whole(own: list[type[Scheme]]) -> bool:
    """Return whether the classes extend no other scheme."""
    return all(
        b in own or b is Scheme or not issubclass(b, Scheme) for c in own for b in c.__bases__
    )


def _methods(cls: type[Scheme], own: list[type[Scheme]]) -> Iterator[tuple[str, str]]:
    for name in {n for c in own for n, value in vars(c).items() if inspect.isroutine(value)}:
        yield name, first_paragraph(inspect.getdoc(getattr(cls, name))) or "–"  # or a base's


def _switches(cls: type[Scheme], own: list[type[Scheme]]) -> Iterator[tuple[str, object, object]]:
    base = next(c for c in cls.__mro__ if c not in own and issubclass(c, Scheme))
    for name in sorted(n for n, value in vars(Scheme).items() if isinstance(value, (bool, int))):
        now, was = getattr(cls, name), getattr(base, name)
        if now != was:
            yield name, now, was
    for name, now in attrs.asdict(cls.era.facts()).items():
        was = getattr(base.era.facts(), name)
        if now != was:
            yield name, now, was


def structs(eras: Eras) -> str:
    """Return the structs of the eras and the fields that they add to the core's, with sizes."""
    made = [(cls.name, *row) for cls in eras for row in _structs(cls)]
    if not made:
        return "None: it does no bookkeeping."
    head = ("schemes", "struct", "fields that rmap uses", "bytes i386", "bytes 64-bit")
    text = "Bytes are those of the whole struct, where they are known."
    return f"{table(head, merged(made, eras))}\n\n{text}"


def _structs(cls: type[Scheme]) -> Iterator[tuple[str, str, str, str]]:
    layout = Kernel(PICTURED, cls()).layout
    for name, struct in layout.structs.items():
        own = name not in CORE
        fields = [f.name for f in struct.fields] if own else list(cls.fields.get(name, ()))
        if not own:
            fields += [*cls.extra_fields.get(name, {})]
        sizes = cls.sizes.get(name)
        if own or fields or sizes:
            i386, wide = map(str, sizes) if sizes else ("–", "–")
            yield f"`{name}`", ", ".join(fields) or "–", i386, wide


def pictures(eras: Eras) -> str:
    """Return the state after the example run on the newest era, and the differences of others."""
    drawn: dict[str, list[str]] = {}
    for cls in reversed(eras):
        drawn.setdefault(picture(cls), []).append(cls.name)
    (newest, who), *others = drawn.items()
    parts = [
        f"{which(who, eras)}, after [the run of the index](README.md#the-run-of-the-pictures):",
        "\n".join(fenced(newest.splitlines())),
        *(f"Different in {which(n, eras)}:\n\n{differing(p, newest)}" for p, n in others),
        *(f"{cls.name}: {line}" for cls in eras for line in violated(cls)),
    ]
    return "\n\n".join(parts)


def differing(text: str, newest: str) -> str:
    """Return the lines of a picture that are not in the newest era's."""
    known = newest.splitlines()
    return "\n".join(fenced([line for line in text.splitlines() if line not in known]))


def picture(cls: type[Scheme]) -> str:
    """Return the final state of the run as text."""
    done = record(cls, PICTURED, STEPS)
    return state_text(done.state(done.frames[-1].after))


def violated(cls: type[Scheme]) -> list[str]:
    """Return what the run violates and where it stops; only schemes that never held have such."""
    done = record(cls, PICTURED, STEPS)
    found = [
        f"step {f.number} violates `{v.invariant}`: {v}" for f in done.frames for v in f.violations
    ]
    return [*dict.fromkeys(found), *([f"the run stops: {done.stopped}."] if done.stopped else [])]


def invariants(eras: Eras) -> str:
    """Return which invariants these schemes must satisfy, besides the universal ones."""
    held: dict[str, list[str]] = {}
    for cls in eras:
        for inv in applicable(cls):
            if not inv.universal or inv.only:
                held.setdefault(inv.name, []).append(cls.name)
    groups: dict[str, list[str]] = {}
    for name, who in held.items():
        groups.setdefault(which(who, eras), []).append(f"`{name}`")
    design = design_of(eras[0])
    text = (
        f"[The rules](../reference/spec/{SPECIFIED.get(design, design)}.md). Checked are the "
        "universal invariants, and these of [the others](../reference/invariants.md):"
    )
    return "\n".join([text, "", *(f"- {who}: {', '.join(inv)}" for who, inv in groups.items())])


def bugs(eras: Eras) -> str:
    """Return the bugs that are seeded into these schemes, and those that their kernels had."""
    made: Rows = []
    for name, cls in sorted(catalogue.bugs().items()):
        had = spans([c.name for c in eras if name in c.era.flaws], names(eras))
        seeded = catalogue.without_bug(cls).name if catalogue.without_bug(cls) in eras else "–"
        if had or seeded != "–":
            made.append((f"`{name}`", seeded, had or "–"))
    if not made:
        return "None is seeded, and these kernels had none that is known."
    text = "What went wrong, what catches it, and the saved runs: [bugs](../reference/bugs.md)."
    return f"{text}\n\n{table(('bug', 'seeded into', 'these kernels had it'), made)}"


def cost(eras: Eras) -> str:
    """Return what the workloads cost, in the columns of docs/reference/cost.md."""
    made: Rows = []
    for workload in WORKLOADS:
        found = sorted(rows(workload, eras, SCALE), key=lambda row: row[1])
        made += merged([(name, workload, *row) for name, *row in found], eras)
    text = f"N = {SCALE}. [What the columns mean, and a larger N](../reference/cost.md)."
    return f"{text}\n\n{table((HEAD[0], 'workload', *HEAD[1:]), made)}"


# The index.

INDEX_LINKS = """[All schemes](../reference/schemes.md) · [what they cost](../reference/cost.md) ·
[what had to hold](../reference/spec/README.md)"""


def index() -> str:
    """Return docs/schemes/README.md."""
    made: Rows = []
    for design, eras in designs().items():
        head, _ = essay(modules(eras)[0])
        schemes = f"`{eras[0].name}` … `{eras[-1].name}`" if eras[1:] else f"`{eras[0].name}`"
        made.append((f"[{design}]({design}.md)", head, schemes))
    return "\n\n".join(
        [
            "# The designs, oldest first",
            "<!-- made by `make docs` from model/schemes -->",
            table(("design", "the idea", "schemes"), made),
            INDEX_LINKS,
            f"## The run of the pictures\n\n{run_of_the_pictures()}",
            f"## One run on all of them\n\n{one_run()}\n",
        ]
    )


def run_of_the_pictures() -> str:
    """Return the operations whose final state is drawn on each page."""
    lines = [f"{number:2}  {op}" for number, op in enumerate(STEPS, 1)]
    return "\n".join(fenced([f"scope  {PICTURED}", *lines]))


def one_run() -> str:
    """Return how many entries the walks visit in a saved run that every scheme can carry out."""
    path = ROOT / "docs" / "examples" / "twelve-operations.json"
    case = load_case(path)
    every = catalogue.every_scheme()
    made: Rows = []
    for name, cls in every.items():
        c = precision(cls, case.scope, case.steps)
        made.append((name, *map(str, (c.pages, c.mapping, c.visited, c.nodes))))
    text = f"""[{path.name}](../examples/{path.name}) has a fork, copies on write, a VMA
that is split and one that is shortened, mremap of a shared page, its swap-out and swap-in, and an
exit. After each step there is a walk for every mapped page (without rmap: a scan of page tables).
Two versions of anonmm copy the page that mremap moves, and a scan unmaps other pages on its way,
so their numbers of mappings differ. On all other schemes the same pages are mapped and shared.
`rmapcheck diff` shows where their bookkeeping differs."""
    head = ("schemes", "walks", "mappings", "visited", "nodes")
    return f"{text}\n\n{table(head, joined(made, list(every)))}"


def pages() -> dict[str, str]:
    """Return the text of the pages, by path below docs."""
    made = {f"schemes/{design}.md": page(design, eras) for design, eras in designs().items()}
    return {"schemes/README.md": index(), **made}
