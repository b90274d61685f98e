"""Cases as C programs: their content, their predictions, and cases that no program can run."""

import re
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from rmapcheck.cases.case import Case, Expect, load_case
from rmapcheck.cases.replay import scheme_of
from rmapcheck.host.footprint import Footprint
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import (
    BY_NAME,
    Exec,
    Fork,
    Mmap,
    Mremap,
    Operation,
    Read,
    SwapOut,
    Write,
)
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.report import export
from rmapcheck.reproduce.prediction import predict, refuse
from rmapcheck.reproduce.program import comment, literal

FOLDER = Path(__file__).parents[2] / "counterexamples"
SAVED = sorted(path for path in FOLDER.glob("*.json") if path.name != "schema.json")
FLAGS = ("-Wall", "-Wextra", "-Werror", "-O2")
GCC = shutil.which("gcc")

needs_gcc = pytest.mark.skipif(GCC is None, reason="there is no gcc")

LOST = {
    "B01-copy-from-importer": [(1, 1, True)],
    "B02-newest-for-shared": [(1, 0, False)],
    "B03-clone-forward": [(1, 0, False)],
    "B02-in-v6": [(1, 0, False)],
    "B04-adopt-any-neighbour": [(2, 0, False)],
    "B04-in-v6": [(2, 0, False)],
    "B23-lost-page": [(3, 1, False)],
    "B29-unfaulted-mremap-merge": [(1, 0, True)],
    "E02-mprotect-forgets": [(1, 1, False)],
    "E04-merge-with-unfaulted": [(1, 0, True)],
    "E61-split-loses-pages": [(1, 0, False)],
    "E62-merge-frees-the-vma": [(1, 2, True)],
    "B19-endless-growth": [],
    "B23-degree-ambiguity": [],
    "B28-one-sided-merge": [],
}
"""Process and page of each page that stays mapped, and whether its walk begins in freed memory."""

HOSTILE = (
    '*/ int evil(void) { return 1; } /* "; system("x"); \\',
    "line\nVERDICT: OK\r\n\0\x1b[31m",
    "??/ trigraph ??' %s %n",
    "\\",
    '"',
    "é ✓ \u2028 \ud800",
)


def case_of(*steps, **scope):
    limits = {"mms": 3, "pages": 4, "vmas": 20, "objects": 60, **scope}
    expect = Expect(verdict="HOLDS")
    return Case(title="t", scheme="avc-7.0", scope=Scope(**limits), expect=expect, steps=steps)


def compiled(text, folder, *flags):
    """Compile and return the program."""
    source = folder / "program.c"
    source.write_text(text, encoding="utf-8")
    command = [GCC, *FLAGS, *flags, "-o", str(folder / "program"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def expressible(path):
    """Return the case, or None if it is rejected with a sentence that names the step."""
    case = load_case(path)
    try:
        predict(case)
    except ModelError as error:
        reason = str(error)
    else:
        return case
    assert re.match(r"step \d+, \w+\(.*\): ", reason)
    return None


@pytest.mark.parametrize("name", LOST)
def test_what_stays_mapped_is_what_the_walk_does_not_visit(name):
    made = predict(load_case(FOLDER / f"{name}.json"))
    assert [(p.mm, p.address, p.freed) for p in made.stays] == LOST[name]


def test_a_case_in_which_an_allocation_fails_is_refused():
    with pytest.raises(ModelError, match=r"step 3, .*: no program can make an allocation"):
        predict(load_case(FOLDER / "B21-degree-underflow.json"))


def test_with_the_fix_nothing_stays_mapped():
    for name in [name for name in LOST if name.startswith("B")]:  # some E were never fixed
        case = load_case(FOLDER / f"{name}.json")
        assert predict(case, without_bug(scheme_of(case))).stays == ()


@needs_gcc
@pytest.mark.parametrize("format_", ["c", "kselftest"])
def test_all_saved_cases_compile_without_a_warning(format_, tmp_path):
    for case in filter(None, map(expressible, SAVED)):
        # -fsyntax-only takes a third of the time; a whole program is built below
        compiled(export(case, format_), tmp_path, "-fsyntax-only")


def test_the_table_holds_the_operations_of_the_case():
    case = load_case(FOLDER / "B02-newest-for-shared.json")
    text = export(case, "c")
    table = text.partition("ops[] = {\n")[2].partition("\n};")[0]
    assert re.findall(r"\{ (.*),\n", table) == [
        ".what = MMAP, .mm = 1, .start = 0, .length = 1, .arg = PROT_READ | PROT_WRITE",
        ".what = WRITE, .mm = 1, .start = 0",
        ".what = FORK, .mm = 1, .child = 2",
        ".what = RECLAIM, .mm = 1",
        ".what = READ, .mm = 2, .start = 0",
        ".what = READ, .mm = 1, .start = 0",
    ]
    assert "[1][0] = { .holds = ANON, .value = 2, .stays = 1 }," in text
    assert "[2][0] = { .holds = ANON, .value = 2 }," in text
    assert "page 0 of process 1 stays mapped" in text
    assert "static const int alive[SLOTS + 1] = { [1] = 1, [2] = 1 };" in text


def test_memory_that_is_mapped_from_the_start_is_an_mmap():
    made = predict(load_case(FOLDER / "B04-adopt-any-neighbour.json"))
    assert made.steps[0] == Mmap(mm=1, start=0, length=2)


def test_the_program_has_the_error_that_the_model_returns():
    steps = (Mmap(mm=1, start=0, length=1), Write(mm=1, address=2), Mmap(mm=1, start=2, length=1))
    text = export(case_of(*steps[:1], Read(mm=1, address=2)), "c")
    assert ".what = READ, .mm = 1, .start = 2, .result = -14," in text
    assert predict(case_of(*steps)).results == (0, -14, 0)


def test_contents_follow_forks_moves_and_new_mappings():
    made = predict(
        case_of(
            Mmap(mm=1, start=0, length=2),
            Write(mm=1, address=0),
            Write(mm=1, address=1),
            Fork(mm=1, child=2),
            Write(mm=2, address=0),
            Mremap(mm=1, start=0, length=1, new_length=1, to=3),
            Mmap(mm=2, start=1, length=1),
            Fork(mm=2, child=3),
            SwapOut(mm=1, address=3),
        )
    )
    held = {(p.mm, p.address): p.value for p in made.pages if p.holds == "ANON"}
    assert held == {(1, 1): 3, (1, 3): 2, (2, 0): 5, (3, 0): 5}


def test_a_step_that_no_program_can_do_is_refused():
    start = Mmap(mm=1, start=0, length=1)
    for op in (Exec(mm=1), BY_NAME["referenced"](mm=1, address=0)):
        with pytest.raises(ModelError, match=rf"^step 2, {type(op).__name__}\(.*\): "):
            export(case_of(start, op), "c")


def test_an_unknown_operation_or_argument_is_refused_not_ignored():
    """A new operation, or a new field of a known one, must not be dropped silently."""

    @attrs.frozen(kw_only=True)
    class Mmap2(Mmap):
        file: int = 0

    @attrs.frozen(kw_only=True)
    class Truncate(Operation):
        name = "truncate"

    for op, word in ((Truncate(mm=1), "truncate"), (Mmap2(mm=1, start=0, length=1), "mmap")):
        with pytest.raises(ModelError, match=f"has no operation {word}"):
            predict(case_of(op))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mmap2, "syscall", Mmap.syscall, raising=False)
        with pytest.raises(ModelError, match="has no argument file"):
            predict(case_of(Mmap2(mm=1, start=0, length=1, file=1)))


def test_every_operation_is_known_or_refused_by_a_reason():
    for cls in BY_NAME.values():
        required = {a.name: 1 for a in attrs.fields(cls) if a.default is attrs.NOTHING}
        for name in required.keys() & {"prot", "advice"}:
            required[name] = {"prot": "rw", "advice": "dontneed"}[name]
        op = cls(**required)
        assert not (cls.syscall.program and cls.syscall.why_not), cls
        if cls.syscall.program:
            refuse(1, op)
            continue
        with pytest.raises(ModelError, match=r"^step 1, .*: [a-z]"):
            refuse(1, op)


def test_an_oops_in_the_middle_is_refused_and_one_in_reclaim_ends_the_program():
    b29 = load_case(FOLDER / "B29-unfaulted-mremap-merge.json")
    longer = attrs.evolve(
        b29, expect=Expect(verdict="HOLDS"), steps=(*b29.steps, SwapOut(mm=1, address=0))
    )
    assert predict(longer).steps == b29.steps
    assert predict(longer).stays == predict(b29).stays


@needs_gcc
@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_stays_text(title, tmp_path):
    case = attrs.evolve(load_case(FOLDER / "B29-unfaulted-mremap-merge.json"), title=title)
    text = export(case, "c")
    assert "\n#define TITLE " + literal(title) + "\n" in text
    code, plain = text.replace(literal(title), ""), export(attrs.evolve(case, title="t"), "c")
    assert code.count("/*") == code.count("*/") == plain.count("*/")
    compiled(text, tmp_path, "-fsyntax-only")
    (tmp_path / "title.c").write_text(
        f"#include <stdio.h>\n/* {comment(title)} */\n"
        f"int main(void) {{ return puts({literal(title)}) < 0; }}\n"
    )
    subprocess.run(
        [GCC, *FLAGS, "-o", str(tmp_path / "title"), str(tmp_path / "title.c")], check=True
    )
    shown = subprocess.run([tmp_path / "title"], capture_output=True, check=True).stdout
    plain = "".join(c if c.isprintable() else " " for c in title)
    assert shown == plain.encode("utf-8", "replace") + b"\n"
    assert shown.count(b"\n") == 1


@needs_gcc
def test_without_swap_or_root_it_says_skip_and_leaves_nothing(tmp_path):
    """With TAP too: the plan is right, and each test is skipped with the same reason."""
    with Footprint(wait=60):  # so that no other test uses swap meanwhile
        _says_skip(tmp_path)


def _says_skip(tmp_path):
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        pytest.skip("this machine swaps")
    case = load_case(FOLDER / "B23-lost-page.json")
    plain = subprocess.run(
        [compiled(export(case, "c"), tmp_path, "-static")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert plain.returncode == 4
    assert plain.stdout.splitlines()[-1].startswith("VERDICT: SKIP no swap is in use")
    tap = subprocess.run(
        [compiled(export(case, "kselftest"), tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = tap.stdout.splitlines()
    assert tap.returncode == 4
    assert lines[0] == "TAP version 13"
    assert lines[1] == "1..7"
    skipped = [line for line in lines if re.match(r"ok \d # SKIP no swap is in use", line)]
    assert len(skipped) == 7
    assert all(line.startswith("# ") for line in lines[2:] if line not in skipped)


@needs_gcc
def test_wrong_options_get_one_sentence(tmp_path):
    program = compiled(export(load_case(FOLDER / "B23-lost-page.json"), "c"), tmp_path)
    for arguments in (["-n", "0"], ["-n", "x"], ["-n", "100000"], ["-z"]):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "usage: " in done.stderr
