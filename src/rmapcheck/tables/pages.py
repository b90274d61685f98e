"""A page of documentation for each scheme, docs/schemes/NAME.md, made from the code.

`python -m rmapcheck.tables.pages docs/schemes` writes them, and README.md, their index. What is on
a page is what the checker itself goes by: docstrings, declarations, and a state that the model
really reached, so that a page cannot say what the code does not.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rmapcheck.cases.case import load_case
from rmapcheck.cost.tables import HEAD, Rows, markdown, rows
from rmapcheck.cost.workloads import WORKLOADS
from rmapcheck.invariants.registry import applicable
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import State
from rmapcheck.model.machine.structs import CORE
from rmapcheck.model.operations import Fork, Mmap, Mremap, Operation, Read, SwapOut, Write
from rmapcheck.model.operations.file import MmapFile
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.catalogue import mended
from rmapcheck.report import state_text
from rmapcheck.report.precision import precision, report
from rmapcheck.report.recording import film
from rmapcheck.tables.tables import bug_of, summary

ROOT = Path(__file__).parents[3]
SCALE = 12
"""Of the workloads; docs/cost.md has them larger."""

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
"""The child has a page of its own and one in common with its parent, moved both, and a page of the
parent is swapped out."""


# The parts of a page.


def page(cls: type[Scheme]) -> str:
    """Return the page of one scheme."""
    parts = [
        f"# {cls.name}: {cls.title}",
        "<!-- made by `make docs` from model/schemes and invariants -->",
        f"Kernels: {cls.kernels}. {built_on(cls)}",
        *([f"What these kernels lacked: {', '.join(cls.lacks)}."] if cls.lacks else []),
        "## What is its own",
        *(prose(c.__doc__) for c in own_classes(cls)),
        f"## The design\n\n{prose(essay(cls))}",
        f"## A state of the model\n\n{picture(cls)}",
        f"## Structs\n\n{structs(cls)}",
        f"## What it decides\n\n{decisions(cls)}",
        f"## Invariants\n\n{invariants(cls)}",
        f"## Bugs\n\n{bugs(cls)}",
        f"## Cost\n\n{cost(cls)}",
    ]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """Return docs/schemes/README.md."""
    table: Rows = [
        (f"[{c.name}]({c.name}.md)", c.kernels, c.title, ", ".join(c.flaws) or "–")
        for c in catalogue.every_scheme().values()
    ]
    return "\n\n".join(
        [
            "# The schemes, oldest first",
            "<!-- made by `make docs` from model/schemes -->",
            markdown(("scheme", "kernels", "what it is", "bugs it had"), table),
            "What they cost side by side is in [cost.md](../cost.md).",
            f"## One run on all of them\n\n{one_run()}\n",
        ]
    )


def one_run() -> str:
    """Return what the walks visit in the saved run that every scheme can carry out."""
    path = ROOT / "docs" / "examples" / "twelve-operations.json"
    case = load_case(path)
    costs = {
        name: precision(cls, case.scope, case.steps)
        for name, cls in catalogue.every_scheme().items()
    }
    text = f"""[{path.name}](../examples/{path.name}) has a fork, copies on write, a VMA
split and one cut off, mremap of a shared page, its swap-out and swap-in, and an exit. After
each step every mapped page is walked for (without rmap: scanned for). Two versions of anonmm
copy the page that mremap moves; a scan unmaps other pages on its way, so that fewer are left to
be asked about. Otherwise the same pages are mapped and shared; `rmapcheck diff` says where the
books part."""
    return "\n\n".join([text, "\n".join(fenced(report(costs).splitlines()))])


def essay(cls: type[Scheme]) -> str:
    """Return the head of the scheme's module."""
    return inspect.getdoc(sys.modules[cls.__module__]) or ""


def prose(text: str | None) -> str:
    """Return a docstring as Markdown: drawings fenced, names of modules linked."""
    found: list[str] = []
    drawing: list[str] | None = None
    for line in inspect.cleandoc(text or "").splitlines():
        if drawing is not None and line and line[0] != " ":
            found += [*fenced(drawing), ""]
            drawing = None
        if drawing is not None:
            drawing.append(line)
        elif line.endswith("::"):
            found += [linked(line[:-1]), ""]
            drawing = []
        else:
            found.append(linked(line))
    return "\n".join([*found, *(fenced(drawing) if drawing else [])])


def fenced(lines: list[str]) -> list[str]:
    """Return a drawing as a block of Markdown."""
    return ["```text", *textwrap.dedent("\n".join(lines)).strip("\n").splitlines(), "```"]


def linked(line: str) -> str:
    """Return a line with each file of the model that it names as a link."""

    def link(match: "re.Match[str]") -> str:
        name = match[0] if "/" in match[0] else f"model/schemes/{match[0]}"
        return f"[{match[0]}](../../{name})" if (ROOT / name).is_file() else match[0]

    return re.sub(r"\b(model/(\w+/)?)?\w+\.py\b", link, line)


def own_classes(cls: type[Scheme]) -> list[type[Scheme]]:
    """Return the class and those of its bases that are no scheme by themselves."""
    own = [cls]
    for base in cls.__mro__[1:]:
        if base is Scheme or (issubclass(base, Scheme) and base.name):
            break
        if issubclass(base, Scheme):
            own.append(base)
    return own


def parents(cls: type[Scheme]) -> list[type]:
    """Return what the own classes of a scheme are derived from, but for `Scheme` itself."""
    own = own_classes(cls)
    bases = dict.fromkeys(b for c in own for b in c.__bases__ if b not in own)
    return [b for b in bases if b is not Scheme]


def built_on(cls: type[Scheme]) -> str:
    """Return a sentence that names and links the bases, and the source."""
    names = [_base_link(b) for b in parents(cls)]
    made = f", built on {' and '.join(names)}" if names else ""
    return f"The model is `{cls.__name__}` in {source_link(cls)}{made}."


def _base_link(base: type) -> str:
    if issubclass(base, Scheme):
        return f"[{base.name}]({base.name}.md)"
    return f"`{base.__name__}` in {source_link(base)}"


def source_link(cls: type) -> str:
    """Return a link to the file that a class is in."""
    return linked(cls.__module__.removeprefix("rmapcheck.").replace(".", "/") + ".py")


def picture(cls: type[Scheme]) -> str:
    """Return a run and the state in which it ends, as the model has it."""
    done = film(cls, PICTURED, STEPS)
    run = [f"{frame.number:2}  {frame.op}" for frame in done.frames]
    last = done.state(done.frames[-1].after)
    text = [*run, "", *state_text(last).splitlines()]
    said = [f"The run stops: {done.stopped}."] if done.stopped else []
    violated = dict.fromkeys(
        f"Step {frame.number} violates `{v.invariant}`: {v}"
        for frame in done.frames
        for v in frame.violations
    )
    return "\n\n".join(["\n".join(fenced(text)), *said, *violated])


def structs(cls: type[Scheme]) -> str:
    """Return the scheme's own structs, and what it adds to those of others, with their bytes."""
    layout = State(PICTURED, cls()).layout
    table: Rows = []
    for name, struct in layout.structs.items():
        own = name not in CORE
        fields = [f.name for f in struct.fields] if own else list(cls.fields.get(name, ()))
        if not own:
            fields += [*cls.extra_fields.get(name, {})]
        sizes = cls.sizes.get(name)
        if own or fields or sizes:
            i386, wide = map(str, sizes) if sizes else ("–", "–")
            table.append((f"`{name}`", ", ".join(fields) or "–", i386, wide))
    if not table:
        return "None: it keeps no books."
    head = ("struct", "fields that rmap uses", "bytes i386", "bytes 64-bit")
    return f"{markdown(head, table)}\n\nBytes are those of the whole struct, where they are known."


def decisions(cls: type[Scheme]) -> str:
    """Return the methods and switches by which the scheme differs from what it is built on."""
    own = own_classes(cls)
    table: Rows = [(f"`{n}()`", said) for n, said in sorted(_methods(cls, own))]
    table += [(f"`{n}`", f"`{now}`, not `{was}`") for n, now, was in _switches(cls, own)]
    if not table:
        return "Nothing of its own: other kernels, with the same rmap."
    return markdown(("decision or hook", "here"), table)


def _methods(cls: type[Scheme], own: list[type[Scheme]]) -> Iterator[tuple[str, str]]:
    names = {n for c in own for n, value in vars(c).items() if inspect.isroutine(value)}
    for name in names:
        text = inspect.getdoc(getattr(cls, name)) or ""  # a base's, where it has none itself
        yield name, " ".join(text.partition("\n\n")[0].split()) or "–"


def _switches(cls: type[Scheme], own: list[type[Scheme]]) -> Iterator[tuple[str, object, object]]:
    base = next(c for c in cls.__mro__ if c not in own and issubclass(c, Scheme))
    for name in sorted(n for n, value in vars(Scheme).items() if isinstance(value, (bool, int))):
        now, was = getattr(cls, name), getattr(base, name)
        if now != was:
            yield name, now, was


def invariants(cls: type[Scheme]) -> str:
    """Return the invariants that the scheme is held to, its own first."""
    chosen = sorted(applicable(cls), key=lambda i: i.name not in cls.invariants)
    table: Rows = [(f"`{i.name}`", i.source, i.doc) for i in chosen]
    return markdown(("invariant", "source", "what it says"), table)


@cache
def cases() -> dict[str, list[str]]:
    """Return the saved cases by their scheme, without the @SCHEME."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "counterexamples").glob("*.json")):
        if path.name != "schema.json":
            found.setdefault(load_case(path).scheme.partition("@")[0], []).append(path.name)
    return found


def bugs(cls: type[Scheme]) -> str:
    """Return the bugs that are seeded on the scheme, and those that its kernels had."""
    known = catalogue.bugs().values()
    seeded = sorted(b.name for b in known if mended(b) is cls)
    had = [name for name in cls.flaws if name not in seeded]
    table: Rows = [_bug_row(name, "seeded on it") for name in seeded]
    table += [_bug_row(name, "these kernels had it") for name in had]
    if not table:
        return "None is seeded on it, and none is known that its kernels had."
    return markdown(("bug", "here", "what went wrong", "caught by", "fixed by", "case"), table)


def _bug_row(name: str, here: str) -> tuple[str, ...]:
    cls = catalogue.bugs()[name]
    bug = bug_of(cls)
    links = [f"[{c}](../../counterexamples/{c})" for c in cases().get(name, [])]
    fixed = f"{bug.fixed} {bug.cve}".strip()
    return name, here, summary(cls), f"`{bug.violates}`", fixed, ", ".join(links) or "–"


def cost(cls: type[Scheme]) -> str:
    """Return what the workloads cost, in the columns of docs/cost.md but for the scheme."""
    table: Rows = [(name, *row[1:]) for name in WORKLOADS for row in rows(name, [cls], SCALE)]
    text = f"N = {SCALE}; what the columns are, and larger N, is in [cost.md](../cost.md)."
    return f"{text}\n\n{markdown(('workload', *HEAD[1:]), table)}"


def pages() -> dict[str, str]:
    """Return all pages by the names of their files."""
    made = {f"{name}.md": page(cls) for name, cls in catalogue.every_scheme().items()}
    return {"README.md": index(), **made}


def main() -> None:
    """Write the pages into the folder named on the command line, and leave no others there."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
