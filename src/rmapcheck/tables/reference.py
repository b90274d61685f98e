"""The generated reference pages: docs/reference/schemes.md, bugs.md and invariants.md."""

from functools import cache

from rmapcheck.cases.case import load_case
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.plugins import catalogue
from rmapcheck.report.markdown import Row, Rows, table
from rmapcheck.tables.designs import design_of
from rmapcheck.tables.lists import HEADS, ROWS
from rmapcheck.tables.prose import ROOT, cited

MADE = "<!-- made by `make docs` -->"


@cache
def cases() -> dict[str, list[str]]:
    """Return the file names of the saved cases, by scheme or bug without its @SCHEME."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "counterexamples").glob("*.json")):
        if path.name != "schema.json":
            found.setdefault(load_case(path).scheme.partition("@")[0], []).append(path.name)
    return found


def schemes() -> str:
    """Return docs/reference/schemes.md."""
    every = catalogue.every_scheme()

    def row(name: str, *rest: str) -> Row:
        return f"[`{name}`](../schemes/{design_of(every[name])}.md)", *rest

    rows: Rows = [row(*cells) for cells in ROWS["schemes"]()]
    return page(
        "Schemes, oldest first",
        "The last column lists bugs that these kernels had and that the model shows: `verify` of "
        "such a scheme ends with VIOLATED. `rmapcheck schemes` prints this list.",
        table(HEADS["schemes"], rows),
    )


def bugs() -> str:
    """Return docs/reference/bugs.md."""
    rows: Rows = []
    for name, scheme, wrong, invariant, fix in ROWS["bugs"]():
        links = [f"[case](../../counterexamples/{c})" for c in cases().get(name, [])]
        rows.append((f"`{name}`", scheme, wrong, f"`{invariant}`", fix, ", ".join(links) or "–"))
    return page(
        "Seeded bugs",
        "Each bug is a subclass in `model/bugs` that overrides one decision of its scheme. Tests "
        "check that the invariant named here catches it. Numbers with B are bugs of v2.6.28 and "
        "later ([all of them, seeded or not](spec/bugs.md)), numbers with E earlier ones.",
        table((*HEADS["bugs"], "saved run"), rows),
    )


def invariants() -> str:
    """Return docs/reference/invariants.md."""
    rows: Rows = [
        (f"`{name}`", cited(source, "spec"), who, says, INVARIANTS[name].relies or "all code")
        for name, source, who, says in ROWS["invariants"]()
    ]
    return page(
        "Invariants",
        "These are checked in every state, or after every operation. *source* names the rule of "
        "the [specification](spec/README.md), the commit, or the kernel function it comes from. "
        "A scheme must satisfy an invariant only if its kernels had the code that relies on it.",
        table((*HEADS["invariants"], "what relies on it"), rows),
    )


def page(title: str, *parts: str) -> str:
    """Return the text of a generated page."""
    return "\n\n".join([f"# {title}", MADE, *parts]) + "\n"


def pages() -> dict[str, str]:
    """Return the text of the pages, by path below docs."""
    return {
        "reference/schemes.md": schemes(),
        "reference/bugs.md": bugs(),
        "reference/invariants.md": invariants(),
    }
