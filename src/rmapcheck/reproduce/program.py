"""A case as one C program for a real kernel.

The program carries out the operations in hundreds of arenas, reclaims everything, and prints which
pages stay mapped: those to which the kernel's rmap does not lead. This file writes the tables of
one case, with the model's predictions. The rest of the program is in the folder `c`, and is the
same for every case. Text from the case, such as its title, is escaped, so that it stays inside
comments and string literals.
"""

import re
import textwrap
from importlib.resources import files

from rmapcheck.cases.case import Case, version
from rmapcheck.cases.results import error_number
from rmapcheck.model.operations import PROTECTIONS, Operation, SwapOut
from rmapcheck.model.scheme import Scheme
from rmapcheck.reproduce.prediction import Page, Prediction, predict

UNSEEN = (
    "The program cannot see what is wrong with this run: it prints OK even on a kernel with the "
    "bug."
)
NO_BUG = "The case is not about a bug: on a kernel that does as the model does, it prints OK."


def to_c(case: Case, scheme: type[Scheme] | None = None) -> str:
    """Return the C program of a case; its last line of output is a verdict.

    `scheme` predicts, instead of the case's own scheme. Raise ModelError if no program can carry
    out the case.
    """
    return _program(case, predict(case, scheme), tap=False)


def to_kselftest(case: Case, scheme: type[Scheme] | None = None) -> str:
    """Return the program as a kernel selftest, with TAP output and the exit codes of kselftest."""
    return _program(case, predict(case, scheme), tap=True)


def literal(text: str) -> str:
    """Return a C string literal for `text`, on one line, that prints as one line."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    done = ""
    for byte in plain.encode("utf-8", "replace"):
        c = chr(byte)
        done += c if c.isascii() and c.isprintable() and c not in '"\\?' else f"\\{byte:03o}"
    return f'"{done}"'


def comment(text: str) -> str:
    """Return `text` so that it can stand in a C comment and cannot end it."""
    kept = re.sub(r"[^ -~]", "?", text).replace("\\", "|")
    return kept.replace("*/", "* /").replace("/*", "/ *")


def _program(case: Case, made: Prediction, *, tap: bool) -> str:
    head = f"/*\n{_comment_lines(case, made)}\n */\n"
    parts = (_defines(case, made, tap=tap), _ops(case, made), _after(case, made))
    tables = "\n\n".join("\n".join(part) for part in parts)
    return head + _expanded("program.c", tables)


def _expanded(name: str, tables: str) -> str:
    """Return a file of the folder `c` with each #include of that folder replaced by its text."""
    text = (files("rmapcheck.reproduce") / "c" / name).read_text(encoding="utf-8")

    def content(match: re.Match[str]) -> str:
        return tables if match[1] == "case.c" else _expanded(match[1], tables).rstrip()

    return re.sub(r'^#include "([a-z]+\.c)"$', content, text, flags=re.MULTILINE)


def _comment_lines(case: Case, made: Prediction) -> str:
    paragraphs = [
        "SPDX-License-Identifier: MIT",
        f"{case.title} - written by rmapcheck {version()} from a case of {made.scheme.name}.",
        *_history(case),
        *prediction_sentences(made, bug=bool(case.expect.invariant)),
    ]
    lines = []
    for paragraph in paragraphs:
        lines += [*textwrap.wrap(comment(paragraph), 92), ""]
    return "\n".join(f" * {line}".rstrip() for line in lines[:-1])


def _history(case: Case) -> list[str]:
    history = case.history
    known = (("introduced", history.introduced), ("fixed", history.fixed), ("", history.cve))
    words = [f"{word} {value}".strip() for word, value in known if value]
    return [f"History: {', '.join(words)}."] if words else []


def prediction_sentences(made: Prediction, *, bug: bool) -> list[str]:
    """Return the prediction in sentences. `bug`: the case is about a violation."""
    if not made.stays:
        unseen = UNSEEN if bug else NO_BUG
        return ["The model predicts that reclaim unmaps every page.", unseen]
    sentences = [f"The model predicts, for a kernel that does as {made.scheme.name} does:"]
    for page in made.stays:
        how = "which begins at freed memory" if page.freed else "which does not lead there"
        sentences.append(
            f"  page {page.address} of process {page.mm} stays mapped, by its walk, {how}."
        )
    return [*sentences, "On a kernel without the bug nothing stays mapped."]


def _defines(case: Case, made: Prediction, *, tap: bool) -> list[str]:
    return [
        f"#define TAP {int(tap)}",
        f"#define TITLE {literal(case.title)}",
        f"#define SCHEME {literal(made.scheme.name)}",
        f"#define SLOTS {case.scope.mms}",
        f"#define PAGES {case.scope.pages}",
        f"#define FILES {case.scope.files}",
        f"#define FILE_PAGES {case.scope.file_pages}",
    ]


def _ops(case: Case, made: Prediction) -> list[str]:
    """Return the steps; what the case expects of one replaces what the model predicts."""
    added = int(case.scope.premapped > 0)
    wanted = {r.step + added: r.errno for r in case.results if r.errno is not None}
    rows = []
    for number, (op, result) in enumerate(zip(made.steps, made.results, strict=True), 1):
        value = error_number(wanted[number]) if number in wanted else result
        rows.append(_op(op, value, expected=number in wanted))
    return ["static const struct op ops[] = {", *rows, "};"]


def _op(op: Operation, result: int, *, expected: bool) -> str:
    fields = {"what": op.syscall.program, "mm": str(op.mm), **op.syscall.in_program(op)}
    if result:
        fields["result"] = str(result)
    if expected:
        fields["expected"] = "1"
    shown = ", ".join(f".{name} = {value}" for name, value in fields.items())
    text = "reclaim everything" if isinstance(op, SwapOut) else str(op)
    return f"\t{{ {shown},\n\t  .text = {literal(text)} }},"


def _after(case: Case, made: Prediction) -> list[str]:
    alive = sorted({page.mm for page in made.pages})
    return [
        "/* The processes that are alive at the end, and their pages in the model. */",
        f"static const int alive[SLOTS + 1] = {{ {', '.join(f'[{mm}] = 1' for mm in alive)} }};",
        "static const struct cell after[SLOTS + 1][PAGES] = {",
        *(_cell(page) for page in made.pages if page.holds != "NOTHING"),
        "};",
        *_vmas(case),
    ]


def _vmas(case: Case) -> list[str]:
    """Return the VMAs that the case expects after its last step, process by process."""
    last = [r for r in case.results if r.step == len(case.steps)]
    listed = [maps for result in last for maps in result.maps]
    rows = [
        f"\t{{ .mm = {maps.mm}, .start = {vma.start}, .end = {vma.end}, "
        f".prot = {-1 if vma.prot is None else PROTECTIONS[vma.prot]} }},"
        for maps in listed
        for vma in maps.vmas
    ]
    asked = ", ".join(f"[{maps.mm}] = 1" for maps in listed) or "0"
    return [
        "/* The processes whose VMAs the case gives, and these VMAs. */",
        f"static const int with_vmas[SLOTS + 1] = {{ {asked} }};",
        "static const struct vma vmas[] = {",
        *rows,
        "\t{ 0 }",
        "};",
    ]


def _cell(page: Page) -> str:
    stays = ", .stays = 1" if page.stays else ""
    return (
        f"\t[{page.mm}][{page.address}] = "
        f"{{ .holds = {page.holds}, .value = {page.value}{stays} }},"
    )
