"""Every operation is in each place that CONTRIBUTING.md lists, and C agrees with its Syscall."""

import json
import re
from pathlib import Path

import attrs
import pytest

from rmapcheck.host.errors import OracleError
from rmapcheck.model import operations
from rmapcheck.model.machine.scope import EXTRAS, GROUPS
from rmapcheck.model.operations import (
    OPERATIONS,
    Madvise,
    MmapFile,
    Mremap,
    SwapOut,
    SwapScan,
    Truncate,
    Write,
)
from rmapcheck.oracle.puppets.perform import command_of
from rmapcheck.oracle.puppets.processes import COMMANDS
from rmapcheck.oracle.steps.generate import DRAW, KINDS

ROOT = Path(__file__).parents[2]
MOST = 12
"""Files that a new operation may touch."""


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def handled(path):
    """Return the words for which a C file has a case or a comparison."""
    pairs = re.findall(r"case (\w+):|== (\w+)\b", text(path))
    return {word for pair in pairs for word in pair if word}


def has_its_own_record(op):
    return "syscall" in vars(op)


def is_in_its_place(op):
    return op.__name__ in operations.__all__ and operations.BY_NAME[op.name] is op


def has_a_group(op):
    return op.group in (*GROUPS, *EXTRAS)


def is_a_word_of_programs(op):
    program = text("src/rmapcheck/reproduce/c/program.c")
    words = re.search(r"enum what \{(.*?)\}", program, re.DOTALL)[1]
    return not op.syscall.program or op.syscall.program in re.findall(r"\w+", words)


def is_done_by_programs(op):
    files = ("slots.c", "verdict.c", "say.c", "reclaim.c")
    done = {w for name in files for w in handled(f"src/rmapcheck/reproduce/c/{name}")}
    return not op.syscall.program or op.syscall.program in done


def is_done_by_puppets(op):
    return not op.syscall.puppet or op.syscall.puppet in handled(
        "src/rmapcheck/oracle/puppets/puppet.c"
    )


def is_drawn(op):
    return op not in KINDS or op in DRAW or op is SwapOut  # chosen by reclaim_step()


def is_in_the_schema(op):
    return op.name in json.loads(text("counterexamples/schema.json"))["$defs"]


def calls_the_kernel(op):
    functions = {*op.apply.__code__.co_names}
    modules = (path.read_text(encoding="utf-8") for path in (ROOT / "model/mm").glob("*.py"))
    defined = set(re.findall(r"^def (\w+)", "".join(modules), re.MULTILINE))
    return bool(functions & defined)


def is_run_by_a_test(op):
    return any(
        re.search(rf"\b{op.__name__}\(", path.read_text(encoding="utf-8"))
        for path in (ROOT / "tests").rglob("test_*.py")
    )


CHECKS = {
    "model/mm/": calls_the_kernel,
    "model/operations/": has_its_own_record,
    "model/operations/__init__.py": is_in_its_place,
    "model/machine/scope.py": has_a_group,
    "src/rmapcheck/reproduce/c/program.c": is_a_word_of_programs,
    "src/rmapcheck/reproduce/c/slots.c": is_done_by_programs,
    "src/rmapcheck/oracle/puppets/puppet.c": is_done_by_puppets,
    "src/rmapcheck/oracle/steps/generate.py": is_drawn,
    "counterexamples/schema.json": is_in_the_schema,
    "tests/model/": is_run_by_a_test,
    "CHANGELOG.md": None,
}


def test_the_list_in_contributing_is_the_list_of_what_is_checked():
    section = text("CONTRIBUTING.md").partition("\n## An operation\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)
    assert listed == list(CHECKS)
    assert len(listed) <= MOST
    assert all((ROOT / path).exists() for path in listed)


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.name)
@pytest.mark.parametrize("path", [path for path, check in CHECKS.items() if check])
def test_every_operation_is_where_the_list_says(op, path):
    assert CHECKS[path](op)


def test_puppets_have_a_case_for_each_command():
    assert set(COMMANDS) <= handled("src/rmapcheck/oracle/puppets/puppet.c")


def test_a_record_names_fields_of_its_operation():
    for op in OPERATIONS:
        fields = {a.name for a in attrs.fields(op)}
        arguments = (*op.syscall.arguments, *(op.syscall.puppet_arguments or ()))
        named = {a.field for a in arguments if hasattr(a, "field")}
        assert {*named, *op.syscall.ignored} <= fields, op


@pytest.mark.parametrize(
    ("op", "in_program", "to_puppet"),
    [
        (
            Mremap(mm=1, start=0, length=1, new_length=1, to=2, dontunmap=True),
            {"start": "0", "length": "1", "new_length": "1", "to": "2", "arg": "MREMAP_DONTUNMAP"},
            ("MREMAP", 0, 1, 1, 2, 1),
        ),
        (
            Mremap(mm=1, start=0, length=2, new_length=1),
            {"start": "0", "length": "2", "new_length": "1", "to": "-1"},
            ("MREMAP", 0, 2, 1, -1, 0),
        ),
        (
            Madvise(mm=1, start=0, length=1, advice="dontfork"),
            {"start": "0", "length": "1", "arg": "MADV_DONTFORK"},
            ("MADVISE", 0, 1, 10),
        ),
        (SwapOut(mm=2, address=3), {}, ("MADVISE", 3, 1, 21)),
        (Write(mm=1, address=3), {"start": "3"}, ("WRITE", 3)),
    ],
)
def test_an_operation_in_c(op, in_program, to_puppet):
    assert op.syscall.in_program(op) == in_program
    assert command_of(op) == to_puppet


def test_two_fields_may_be_one_argument():
    shared = MmapFile(mm=1, start=0, length=1, file=1, pgoff=2, shared=True, prot="r")
    assert command_of(shared) == ("MMAP_FILE", 0, 1, 256 + 1, 1, 2)
    assert command_of(Truncate(file=1, size=2)) == ("TRUNCATE", 1, 2)


def test_what_no_puppet_can_do_is_an_error():
    with pytest.raises(OracleError, match="cannot perform"):
        command_of(SwapScan(mm=1))
