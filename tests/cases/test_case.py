"""Case files: what is saved can be loaded, and every fault gives a one-sentence error."""

import json
import random
from pathlib import Path

import attrs
import pytest

from rmapcheck.cases.case import (
    MAX_BYTES,
    Case,
    CaseError,
    Expect,
    History,
    case_from,
    case_text,
    file_name,
    load_case,
    parse_case,
    save_case,
)
from rmapcheck.cases.replay import replay_case
from rmapcheck.cases.schema import SCHEMA_FILE, schema_text
from rmapcheck.explore import explore
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import OPERATIONS, Fork, Mmap, Mremap, Write
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.verdict import Status, Verdict

FOLDER = Path(__file__).parents[2] / "counterexamples"
SAVED = sorted(path for path in FOLDER.glob("*.json") if path.name != "schema.json")

CASE = Case(
    title="a page moves",
    scheme="avc-6.16",
    scope=Scope(mms=2, pages=4),
    expect=Expect(verdict="VIOLATED", invariant="coverage", step=3),
    history=History(introduced="v6.16", cve="CVE-0000-0001"),
    steps=(
        Mmap(mm=1, start=0, length=2, prot="r"),
        Write(mm=1, address=0, fail=1),
        Mremap(mm=1, start=0, length=1, new_length=1, to=3, dontunmap=True),
    ),
)


def sentence(data: object) -> str:
    """Return the error for a case that cannot be read."""
    with pytest.raises(CaseError) as caught:
        parse_case(data if isinstance(data, bytes) else json.dumps(data).encode())
    text = str(caught.value)
    assert text.isprintable(), "one line, and no control characters for a terminal"
    return text


def value() -> dict:
    return json.loads(case_text(CASE))


def changed(path: str, new: object) -> dict:
    """Return the case as JSON with one value changed, as in changed("steps.0.mm", True)."""
    data = value()
    *outer, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    at = data
    for part in outer:
        at = at[part]
    at[last] = new
    return data


def test_the_schema_file_is_up_to_date_with_the_operation_classes():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "an operation changed; run: python -m rmapcheck.cases.schema"
    )


def test_what_is_saved_is_loaded_again(tmp_path):
    path = save_case(CASE, tmp_path)
    assert load_case(path) == CASE
    assert path.name == "avc-6.16-a-page-moves.json"


def test_one_step_a_line_keys_sorted_and_defaults_left_out():
    lines = case_text(CASE).splitlines()
    keys = [line.split('"')[1] for line in lines if line.startswith('  "')]
    assert keys == sorted(keys)
    assert '    {"op": "mmap", "mm": 1, "start": 0, "length": 2, "prot": "r"},' in lines
    assert '    {"op": "write", "mm": 1, "address": 0, "fail": 1},' in lines


def test_every_operation_can_be_saved():
    values = {"prot": "r", "advice": "dontneed", "child": 2, "start": 1, "address": 1}
    values |= {"shared": True}
    for cls in OPERATIONS:
        needed = [a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING]
        op = cls(**{name: values.get(name, 1) for name in needed})
        scope = Scope(mms=2, pages=4, files=1, file_pages=4)
        case = attrs.evolve(CASE, steps=(op,), expect=Expect(verdict="HOLDS"), scope=scope)
        assert parse_case(case_text(case).encode()) == case


def test_another_case_is_overwritten_only_on_request(tmp_path):
    other = attrs.evolve(CASE, scheme="avc-7.0")
    first = save_case(CASE, tmp_path, name="x")
    assert save_case(CASE, tmp_path, name="x") == first, "the same case needs no second file"
    assert save_case(other, tmp_path, name="x").name == "x-2.json"
    assert load_case(first) == CASE
    assert save_case(other, tmp_path, name="x", overwrite=True) == first
    assert load_case(first) == other
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x-2.json", "x.json"]


def test_a_case_that_could_not_be_read_again_is_not_saved(tmp_path):
    with pytest.raises(CaseError, match=r"title"):
        save_case(attrs.evolve(CASE, title="two\nlines"), tmp_path)
    with pytest.raises(CaseError, match="without a folder"):
        save_case(CASE, tmp_path, name="../x")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CaseError, match="cannot be written"):
        save_case(CASE, tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    ("path", "new", "words"),
    [
        ("steps.0.prot", "wr", 'steps[0].prot must be one of "rw", "r", "none", "rwx", not "wr"'),
        ("steps.0.mm", True, "steps[0].mm must be a whole number, not true"),
        ("steps.0.mm", "1", 'steps[0].mm must be a whole number, not "1"'),
        ("steps.0.mm", 1.0, "steps[0].mm must be a whole number, not 1.0"),
        ("steps.0.mm", None, "steps[0].mm must be a whole number, not null"),
        ("steps.0.mm", float("nan"), "steps[0].mm must be a whole number, not NaN"),
        ("steps.0.mm", 10**30, "steps[0].mm must be a number of at most 19 digits"),
        ("steps.0.mm", 300, "steps[0].mm must be 250 or less, not 300"),
        ("steps.0.mm", -1, "steps[0].mm must be 0 or more, not -1"),
        ("steps.0.mm", 3, "steps[0].mm does not fit into the scope (mm must be from 1 to 2"),
        ("steps.1.address", 4, "steps[1] does not fit into the scope (page 4 is outside 0 … 3)"),
        ("steps.1.adress", 0, "steps[1].adress is not known; remove it (did you mean 'address'?)"),
        ("steps.0.op", "mmmap", 'steps[0].op must be one of "mmap", "brk"'),
        ("steps.0", [], "steps[0] must be an object, not a list"),
        ("steps.2.dontunmap", 1, "steps[2].dontunmap must be true or false, not 1"),
        ("scope.pages", 33, "scope.pages must be 32 or less, not 33"),
        ("scope.ops", ["mmap", "mmap"], "scope.ops has the same entry twice"),
        ("scope.alloc_fail", 0, "scope.alloc_fail must be true or false, not 0"),
        ("scope.premapped", 5, "scope: premapped must be at most pages, 4, not 5"),
        ("expect.verdict", "PROVED", 'expect.verdict must be one of "VIOLATED", "HOLDS"'),
        ("expect.step", 4, "expect.step must be the number of a step, from 1 to 3, not 4"),
        ("expect.invariant", "", "expect.invariant is empty"),
        ("format", 2, "format 2 is newer than this rmapcheck reads"),
        ("format", 0, "format must be 1 or more"),
        ("title", "\x1b[2J", "title has a character that cannot be printed"),
        ("title", "\ud800", "title has a character that cannot be printed"),
        ("title", "", "title must not be empty"),
        ("title", "x" * 301, "title must be at most 300 characters long"),
        ("found.seed", "5", "found.seed must be a whole number or null"),
        ("history.links", [[[[[[[[[[]]]]]]]]]], "is nested more than 8 levels deep"),
        ("nonsense", 1, "nonsense is not known; remove it"),
    ],
)
def test_an_error_names_its_place(path, new, words):
    assert words in sentence(changed(path, new))


def test_a_missing_key_is_named():
    data = value()
    del data["steps"][2]["start"]
    assert sentence(data) == "steps[2] lacks 'start'; add it"
    del data["scheme"]
    assert sentence(data) == "the case lacks 'scheme'; add it"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[]", "the case must be an object, not a list"),
        (b"null", "the case must be an object, not null"),
        (b'{"a": 1, }', "line 1, column"),
        (b'{"title": "\xff"}', "byte 11 is not UTF-8"),
        (b'{"title": "a", "title": "b"}', "title occurs twice"),
        (b'{"scope": {"mms": 1, "mms": 2}}', "scope.mms occurs twice"),
        (b"[" * 100_000, "nested more than"),
        (b"9" * 100_000, "the case must be a number of at most 19 digits"),
        (b" " * (MAX_BYTES + 1), "larger than 1000000 bytes"),
    ],
)
def test_json_that_is_not_a_case_is_refused(data, words):
    assert words in sentence(data)


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(changed("steps.0.prot", "wr")))
    with pytest.raises(CaseError) as caught:
        load_case(path)
    assert str(caught.value).startswith(f"{path}: steps[0].prot must be one of ")


@pytest.mark.parametrize("name", ["nothing.json", "", "with\nnewline", "nul\0"])
def test_an_error_about_a_strange_file_name_is_one_printable_line(tmp_path, name):
    path = f"{tmp_path}/{name}"
    with pytest.raises(CaseError) as caught:
        load_case(path)
    assert str(caught.value).isprintable()


def test_a_case_holds_data_and_loads_no_scheme(tmp_path):
    marker = tmp_path / "ran"
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"open({str(marker)!r}, 'w')")
    case = attrs.evolve(CASE, scheme=f"{plugin}:Scheme")
    with pytest.raises(CaseError, match="a case must not load code"):
        replay_case(load_case(save_case(case, tmp_path)))
    assert not marker.exists()


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few bytes flipped, cut out, or put in."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(result) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            del result[i:]
        elif kind == 1:
            del result[i : i + rng.randint(1, 40)]
        elif kind == 2:
            result[i:i] = rng.choice((b"[", b"{", b"9", b"\xff", b"\x00")) * rng.choice((1, 2000))
        elif kind == 3:
            result[i : i + 1] = bytes([rng.choice(b'019-"{}[],:.eNt\\ \n\xf0')])
        elif i < len(result):
            result[i] ^= 1 << rng.randrange(8)
    return bytes(result)


def _mutated(rng: random.Random) -> bytes:
    """Return a case in which one value somewhere, or one key, has been replaced."""
    data = value()
    at, places = [data], []
    while at:
        item = at.pop()
        keys = item if isinstance(item, dict) else range(len(item))
        places += [(item, key) for key in keys]
        at += [item[key] for key in keys if isinstance(item[key], dict | list)]
    item, key = rng.choice(places)
    new = rng.choice(
        (None, True, -1, 0, 7, 2**63, 1e400, 0.5, "", "r", "\n", "é", [], {}, [1], {"op": 1})
    )
    if isinstance(item, dict) and rng.random() < 0.3:
        item[rng.choice(("mm", "op", "", "x\n", "fail", "ops"))] = item.pop(key)
    else:
        item[key] = new
    return json.dumps(data).encode()


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path, kind):
    rng = random.Random(2010)
    data = case_text(CASE).encode()
    path = tmp_path / "damaged.json"
    refused = 0
    for _ in range(1000):
        path.write_bytes(_damaged(data, rng) if kind == "bytes" else _mutated(rng))
        try:
            assert isinstance(load_case(path), Case)
        except CaseError as error:
            refused += 1
            text = str(error)
            assert text.isprintable()
            assert text.startswith(f"{path}: ")
            assert len(text) < 400 + len(str(path))
    assert refused > 800


def test_only_a_violation_becomes_a_case():
    verdict = Verdict(status=Status.HOLDS, scheme="x", scope=Scope(), engine="explore", how="all")
    with pytest.raises(CaseError, match="is not a violation"):
        case_from(verdict)


def test_a_verdict_becomes_a_case_that_replays():
    scope = Scope(mms=1, pages=2, ops=("mmap", "mprotect", "fault"))
    verdict = explore(bugs()["B28"], scope).verdict
    case = case_from(verdict, title="one-sided")
    assert case.expect == Expect(verdict="VIOLATED", invariant="merge_symmetric", step=3)
    assert case.found.engine == "explore"
    assert replay_case(case).as_expected
    assert file_name(case) == "b28-one-sided"
    with pytest.raises(CaseError, match="is not violated"):
        case_from(verdict, invariant="coverage")


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_saved_case_is_in_normal_form(path):
    assert case_text(load_case(path)) == path.read_text(encoding="utf-8")


def test_a_scheme_that_cannot_run_the_case_gives_the_reason():
    steps = (Mmap(mm=1, start=0, length=1), CASE.steps[2])
    case = attrs.evolve(CASE, steps=steps, expect=Expect(verdict="HOLDS"))
    from rmapcheck.plugins.catalogue import schemes

    result = replay_case(case, schemes()["avc-2.6.34"])
    assert result.status is Status.UNKNOWN
    assert not result.as_expected
    assert "step 2" in result.reason
    assert "MREMAP_DONTUNMAP" in result.reason


def test_a_step_that_means_nothing_is_named():
    steps = (Fork(mm=1, child=2), Fork(mm=1, child=2))
    case = attrs.evolve(CASE, steps=steps, expect=Expect(verdict="HOLDS"))
    assert replay_case(case).reason.startswith("step 2, Fork(mm=1, child=2): it means nothing")
