"""Pictures, explained runs and exports."""

import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

from rmapcheck.cases.case import Case, Expect, load_case
from rmapcheck.cases.replay import scheme_of
from rmapcheck.explore import explore
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork, Mmap, Mprotect, Munmap, SwapOut, Write
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.plugins.find import find_scheme
from rmapcheck.report import EXPORTS, export, render, state_text
from rmapcheck.report.explain import effect
from rmapcheck.report.recording import record
from rmapcheck.run import Run

FOLDER = Path(__file__).parents[2] / "counterexamples"
SAVED = sorted(path for path in FOLDER.glob("*.json") if path.name != "schema.json")

HOSTILE = '"""; import os; [red]x[/red] <script>&</script> \\'


def b29():
    return load_case(FOLDER / "B29-unfaulted-mremap-merge.json")


def test_the_picture_shows_spaces_pages_and_chains():
    machine = Run(schemes()["avc-3.0"], Scope(mms=2, pages=4, folios=4))
    for op in (
        Mmap(mm=1, start=0, length=2),
        Mmap(mm=1, start=3, length=1, prot="r"),
        Write(mm=1, address=0),
        Fork(mm=1, child=2),
        Write(mm=2, address=0),
        SwapOut(mm=1, address=0),
    ):
        assert machine.apply(op) == []
    assert state_text(machine.st).splitlines() == [
        "process 1   [AA.B]",
        "   PTEs     [~...]",
        "   A: vma 1, pages 0-1, pgoff 0, rw- ACCOUNT, anon_vma 1, anon_vma_chain 1",
        "   B: vma 2, page 3, pgoff 3, r--",
        "process 2   [AA.B]",
        "   PTEs     [2...]",
        "   A: vma 3, pages 0-1, pgoff 0, rw- ACCOUNT, anon_vma 2, anon_vma_chain 3 → 2",
        "   B: vma 4, page 3, pgoff 3, r--",
        "folio 2: page 0 of process 2 (writable), refcount 1, mapcount 1, mapping anon_vma 2",
        "swap 1: page 0 of process 1, count 1",
        "anon_vma 1: head anon_vma_chain 1 → 2, root anon_vma 1, refcount 2",
        "anon_vma 2: head anon_vma_chain 3, root anon_vma 1, refcount 1",
        "anon_vma_chain 1: vma 1, anon_vma 1",
        "anon_vma_chain 2: vma 3, anon_vma 1",
        "anon_vma_chain 3: vma 3, anon_vma 2",
    ]


@pytest.mark.parametrize("name", schemes())
def test_every_scheme_has_pictures_of_all_its_states(name):
    rng = random.Random(1)
    machine = Run(schemes()[name], Scope(mms=3, pages=3, vmas=12, objects=60, swaps=2))
    for _ in range(80):
        machine.apply(rng.choice(machine.possible()))
        text = state_text(machine.st)
        for mm in machine.st.mm.indices():
            assert f"process {mm}   [" in text
        for pool in machine.st.layout.heap:
            for index in getattr(machine.st, pool).indices():
                assert f"{pool} {index}" in text


def test_the_explanation_shows_the_run_and_the_reason():
    text = render(b29())
    assert "mm/vma: fix anon_vma UAF on mremap() faulted, unfaulted merge" in text
    assert "expects  VIOLATED(coverage, step 5)" in text
    assert "page 0 of process 1 maps folio 1; new:" in text
    assert "before step 5 ─" in text
    assert "after step 5 ─" in text
    assert "mapping anon_vma (freed)" in " ".join(text.split())
    assert "VIOLATED coverage in step 5" in text
    assert "  Then f's anon_vma (freed) must be one of the VMA's." in text
    assert "\x1b" not in text


def test_a_failed_call_shows_what_it_returns():
    text = render(load_case(FOLDER / "B21-degree-underflow.json"))
    assert "returns -ENOMEM" in text


def test_a_verdict_is_explained_as_a_case_is():
    scope = Scope(mms=1, pages=2, ops=("mmap", "mprotect", "fault"))
    text = render(explore(bugs()["B28"], scope).verdict)
    assert text.startswith("merge_symmetric violated in 3 operations\n")


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_every_saved_case_can_be_shown_and_exported(path):
    case = load_case(path)
    for format_ in ("text", "html", "svg"):
        assert render(case, format_) == render(case, format_)
    for format_ in sorted(EXPORTS.keys() - {"c", "kselftest"}):  # tests/reproduce/test_program.py
        assert export(case, format_) == export(case, format_)


def test_an_unknown_format_is_refused():
    for call in (render, export):
        with pytest.raises(ModelError, match="there is no format 'pdf'; choose one of "):
            call(b29(), "pdf")


def test_a_title_is_never_code_or_markup():
    case = attrs.evolve(b29(), title=HOSTILE)
    assert HOSTILE in render(case)
    assert "<script>" not in render(case, "html")
    ET.fromstring(render(case, "svg"))
    tree = compile(export(case, "pytest"), "x", "exec", dont_inherit=True)
    assert "os" not in tree.co_names


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_an_exported_test_passes_and_can_fail(path):
    case = load_case(path)
    run_exported(export(case, "pytest"))
    wrong = attrs.evolve(case, expect=Expect(verdict="HOLDS"))
    with pytest.raises(AssertionError):
        run_exported(export(wrong, "pytest"))


def run_exported(text):
    names = {}
    exec(compile(text, "exported", "exec"), names)
    (test,) = [f for name, f in names.items() if name.startswith("test_")]
    test()


def test_mermaid_draws_processes_and_forks():
    text = export(load_case(FOLDER / "B03-clone-forward.json"), "mermaid")
    assert text.splitlines() == [
        "sequenceDiagram",
        "    participant P1 as process 1",
        "    participant P2 as process 2",
        "    participant P3 as process 3",
        "    P1->>P1: 1. mmap start 0, length 1",
        "    P1->>P1: 2. write address 0",
        "    P1->>P2: 3. fork",
        "    P2->>P3: 4. fork",
        "    P1->>P1: 5. swap_out address 0",
        "    P3->>P3: 6. read address 0",
        "    P1->>P1: 7. read address 0",
        "    Note over P1: VIOLATED walk_complete",
    ]


def test_itf_has_a_state_for_boot_and_for_each_step():
    trace = json.loads(export(b29(), "itf"))
    assert trace["#meta"]["format"] == "ITF"
    assert [state["#meta"]["index"] for state in trace["states"]] == list(range(6))
    assert all(set(trace["vars"]) == set(state) - {"#meta"} for state in trace["states"])
    before = trace["states"][4]
    assert before["action_taken"] == "Mmap(mm=1, start=0, length=2)"
    ((number, folio),) = before["folio"]["#map"]
    assert number == {"#bigint": "1"}
    assert folio["mapping"] == {"#bigint": "1"}


def test_a_case_that_holds_and_has_no_steps_is_shown_too():
    case = Case(
        title="nothing", scheme="avc-7.0", scope=Scope(), expect=Expect(verdict="HOLDS"), steps=()
    )
    assert render(case).startswith("nothing\n")
    run_exported(export(case, "pytest"))
    assert export(case, "mermaid") == "sequenceDiagram\n"


def effects(scheme, *steps, **scope):
    """Return what `show` says of each step."""
    limits = Scope(**{"mms": 1, "pages": 4, "vmas": 6, "folios": 4, "protections": 2, **scope})
    done = record(find_scheme(scheme), limits, steps)
    assert not done.stopped
    return [effect(done, frame) for frame in done.frames]


def test_a_step_that_only_moves_a_border_says_so():
    assert effects(
        "avc-7.0",
        Mmap(mm=1, start=0, length=1),
        Mmap(mm=1, start=1, length=2),
        Munmap(mm=1, start=0, length=1),
        Munmap(mm=1, start=2, length=1),
        Mprotect(mm=1, start=1, length=1, prot="r"),
        Mprotect(mm=1, start=1, length=1, prot="r"),
    ) == [
        "new: vma 1",
        "vma 1 now has pages 0-2",
        "vma 1 now has pages 1-2",
        "vma 1 now has page 1",
        "vma 1 becomes r--",
        "nothing changes",
    ]


def test_a_split_says_what_is_left():
    *_, split, merged = effects(
        "avc-7.0",
        Mmap(mm=1, start=0, length=3),
        Munmap(mm=1, start=1, length=1),
        Mmap(mm=1, start=1, length=1),
    )
    assert split.startswith("vma 1 now has page ")
    assert split.endswith("; new: vma 2")
    assert merged.startswith("vma 1 now has pages 0-2; freed: vma 2")


def test_whatever_a_step_changes_is_named():
    """In all saved cases: a step of which nothing is said leaves the state as it was."""
    for path in SAVED:
        case = load_case(path)
        done = record(scheme_of(case), case.scope, case.steps)
        for frame in done.frames:
            same = frame.before == frame.after
            assert (effect(done, frame) == "nothing changes") <= same, (path.name, frame.op)
