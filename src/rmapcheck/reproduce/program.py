"""A case as one C program for a real kernel.

The program does the operations in hundreds of arenas, has everything reclaimed, and tells which
pages stay mapped: those to which the kernel's rmap does not lead. This file writes the tables that
are the case, with what the model predicts; all else is in the folder `c`, and is the same for
every case. What people wrote (the title) goes into comments and string literals that it cannot
leave.
"""

import re
import textwrap
from importlib.resources import files

from rmapcheck.cases.case import Case, version
from rmapcheck.model.operations import Operation, SwapOut
from rmapcheck.model.scheme import Scheme
from rmapcheck.reproduce.prediction import Page, Prediction, predict

UNSEEN = (
    "What is wrong with this run is nothing that the program can see: it says OK of a kernel with "
    "the bug too."
)


def to_c(case: Case, scheme: type[Scheme] | None = None) -> str:
    """Return the program; its last line of output is a verdict."""
    return _program(case, predict(case, scheme), tap=False)


def to_kselftest(case: Case, scheme: type[Scheme] | None = None) -> str:
    """Return the program as a kernel selftest: TAP, and the exit codes of kselftest."""
    return _program(case, predict(case, scheme), tap=True)


def literal(text: str) -> str:
    """Return a string literal of C, on one line, that prints as one line."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    done = ""
    for byte in plain.encode("utf-8", "replace"):
        c = chr(byte)
        done += c if c.isascii() and c.isprintable() and c not in '"\\?' else f"\\{byte:03o}"
    return f'"{done}"'


def comment(text: str) -> str:
    """Return what may stand in a comment of C, of which `text` cannot make anything else."""
    kept = re.sub(r"[^ -~]", "?", text).replace("\\", "|")
    return kept.replace("*/", "* /").replace("/*", "/ *")


def _program(case: Case, made: Prediction, *, tap: bool) -> str:
    head = f"/*\n{_comment_lines(case, made)}\n */\n"
    tables = "\n".join((*_defines(case, tap=tap), "", *_ops(made), "", *_after(case, made)))
    return head + _expanded("program.c", tables)


def _expanded(name: str, tables: str) -> str:
    """Return a file of the folder `c` with what it includes from there in its place."""
    text = (files("rmapcheck.reproduce") / "c" / name).read_text(encoding="utf-8")

    def content(match: re.Match[str]) -> str:
        return tables if match[1] == "case.c" else _expanded(match[1], tables).rstrip()

    return re.sub(r'^#include "([a-z]+\.c)"$', content, text, flags=re.MULTILINE)


def _comment_lines(case: Case, made: Prediction) -> str:
    paragraphs = [
        "SPDX-License-Identifier: MIT",
        f"{case.title} - written by rmapcheck {version()} from a case of {made.scheme.name}.",
        *_history(case),
        *prediction_sentences(made),
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


def prediction_sentences(made: Prediction) -> list[str]:
    """Return what the model predicts, for people."""
    if not made.stays:
        return ["The model predicts that reclaim unmaps every page.", UNSEEN]
    said = [f"The model predicts, for a kernel that does as {made.scheme.name} does:"]
    for page in made.stays:
        how = "which begins at freed memory" if page.freed else "which does not lead there"
        said.append(
            f"  page {page.address} of process {page.mm} stays mapped, by its walk, {how}."
        )
    return [*said, "On a kernel without the bug nothing stays mapped."]


def _defines(case: Case, *, tap: bool) -> list[str]:
    return [
        f"#define TAP {int(tap)}",
        f"#define TITLE {literal(case.title)}",
        f"#define SCHEME {literal(case.scheme)}",
        f"#define SLOTS {case.scope.mms}",
        f"#define PAGES {case.scope.pages}",
    ]


def _ops(made: Prediction) -> list[str]:
    rows = [_op(op, result) for op, result in zip(made.steps, made.results, strict=True)]
    return ["static const struct op ops[] = {", *rows, "};"]


def _op(op: Operation, result: int) -> str:
    fields = {"what": op.syscall.program, "mm": str(op.mm), **op.syscall.in_program(op)}
    if result:
        fields["result"] = str(result)
    shown = ", ".join(f".{name} = {value}" for name, value in fields.items())
    text = "reclaim everything" if isinstance(op, SwapOut) else str(op)
    return f"\t{{ {shown},\n\t  .text = {literal(text)} }},"


def _after(case: Case, made: Prediction) -> list[str]:
    alive = sorted({page.mm for page in made.pages})
    return [
        "/* Which processes there are at the end, and what the model says of their pages. */",
        f"static const int alive[SLOTS + 1] = {{ {', '.join(f'[{mm}] = 1' for mm in alive)} }};",
        "static const struct cell after[SLOTS + 1][PAGES] = {",
        *(_cell(page) for page in made.pages if page.holds != "NOTHING"),
        "};",
    ]


def _cell(page: Page) -> str:
    stays = ", .stays = 1" if page.stays else ""
    return (
        f"\t[{page.mm}][{page.address}] = "
        f"{{ .holds = {page.holds}, .value = {page.value}{stays} }},"
    )
