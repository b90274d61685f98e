"""What the commands print: the same verdict everywhere, data for programs, safe text."""

import json
import re
from pathlib import Path

import pytest

from rmapcheck.cli import app
from rmapcheck.cli.printable import printable, printable_json
from rmapcheck.plugins.catalogue import every_scheme
from rmapcheck.tables.lists import releases
from rmapcheck.verdict import Exit

CASE = next(Path(__file__).parents[2].glob("counterexamples/B29-*.json"))
VIOLATION = {"invariant", "let", "then", "but"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def data(rmapcheck, *args):
    return json.loads(rmapcheck(*args, "--json")[1])


# The same verdict everywhere.


def test_a_case_on_another_scheme_says_what_replay_says(rmapcheck):
    other = (CASE, "--scheme", "avc-7.0")
    assert rmapcheck("replay", *other)[1].endswith("avc-7.0: HOLDS in every step.\n")
    shown = rmapcheck("show", *other)[1]
    assert shown.endswith("\nHOLDS in every step\n")
    assert "\nexpects  VIOLATED(coverage, step 5), on B29\n" in shown
    assert "VIOLATED" not in rmapcheck("export", *other, "--format", "mermaid")[1]
    assert 'find_scheme("avc-7.0")' in (test := rmapcheck("export", *other)[1])
    assert "assert not replay(scheme, scope, steps).violations" in test
    assert 'SCHEME "avc-7.0"' in rmapcheck("export", *other, "--format", "c")[1]
    assert data(rmapcheck, "show", *other)["verdict"] == "HOLDS"


def test_a_case_that_no_longer_fails_is_drawn_as_it_runs(rmapcheck):
    value = json.loads(CASE.read_text())
    value["scheme"] = "avc-7.0"
    value["steps"].append({"op": "munmap", "mm": 1, "start": 0, "length": 1})
    Path("old.json").write_text(json.dumps(value))
    shown = rmapcheck("show", "old.json")[1]
    assert "after step 6" in shown
    assert shown.endswith("\nHOLDS in every step\n")
    assert "VIOLATED" not in rmapcheck("export", "old.json", "--format", "mermaid")[1]


def test_a_case_that_another_scheme_cannot_run(rmapcheck):
    value = json.loads(CASE.read_text())
    value["scope"]["vmas"] = 1
    Path("small.json").write_text(json.dumps(value))
    assert "The run ends there: step " in rmapcheck("show", "small.json")[1]
    for format_ in ("mermaid", "pytest"):
        words = ("export", "small.json", "--scheme", "avc-7.0", "--format", format_)
        code, _out, err = rmapcheck(*words)
        assert (code, err.count("\n")) == (Exit.USAGE, 1)
        assert "avc-7.0 cannot run this case: step " in err


def test_a_case_that_is_minimized_on_another_scheme_names_that_one(rmapcheck):
    assert rmapcheck("minimize", CASE, "--scheme", "avc-2.6.34", "--save", "here")[0] == 0
    (path,) = Path("here").glob("*.json")
    assert json.loads(path.read_text())["scheme"] == "avc-2.6.34"
    assert rmapcheck("replay", path)[0] == Exit.EXPECTED


def test_show_quiet_prints_only_the_verdict(rmapcheck):
    sentence = f"{CASE}: B29: VIOLATED("
    out = rmapcheck("show", CASE, "--quiet")[1]
    assert out.startswith(sentence)
    assert out.count("\n") == 1
    assert out == rmapcheck("replay", CASE, "--quiet")[1]


def test_demo_says_where_the_case_is(rmapcheck):
    assert "saved      nowhere; `rmapcheck demo FOLDER` keeps the case\n" in rmapcheck("demo")[1]


def test_new_leaves_the_users_files_alone(rmapcheck):
    for name in ("README.md", "pyproject.toml", "conftest.py"):
        Path(name).write_text("mine\n")
    before = {path.name for path in Path().iterdir()}
    assert rmapcheck("new", "foo")[0] == Exit.EXPECTED
    assert {path.name for path in Path().iterdir()} - before == {"foo.py", "test_foo.py"}
    assert all(Path(name).read_text() == "mine\n" for name in before)


# Escape sequences.

NAMES = ("\x1b[31mred\x1b[0m", "bell\x07", "c1\x9b2J", "back\x08", "\u202eright", "\x7fdel")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "command",
    [
        ("replay", "{}.json"),
        ("show", "{}.json", "-q"),
        ("show", "{}.json", "-o", "{}.txt"),
        ("minimize", "{}.json"),
        ("replay", "no{}.json"),
        ("explore", "{}"),
        ("explore", "{}.py"),
        ("explore", "plug.py", "--mms", "1", "--pages", "1", "--ops", "mmap"),
        ("replay", "{}.json", "--scheme", "plug.py"),
        ("explore", "avc-7.0", "--ops", "{}"),
        ("{}",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_escape_sequences_in_names_do_not_reach_the_terminal(name, command, more, rmapcheck):
    Path(f"{name}.json").write_bytes(CASE.read_bytes())
    Path("plug.py").write_text(
        "from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish\n\n\n"
        f"class Mine(AvcPublish):\n    name = title = {name!r}\n"
    )
    _code, out, err = rmapcheck(*(word.format(name) for word in command), *more)
    assert (out + err).replace("\n", "").isprintable()


def test_printable_keeps_lines_and_letters():
    assert printable("é 漢 →\n\tx") == "é 漢 →\n\tx"
    assert printable("\x1b[0m") == "\\x1b[0m"
    assert json.loads(printable_json(json.dumps(["\x9b", "é"], ensure_ascii=False))) == [
        "\x9b",
        "é",
    ]


# JSON.


PROSE = ("what", "title", "note", "source", "text")
LABELS = ("sources", "introduced", "fixed", "first", "last")
"""Keys of commits and versions, which may look like numbers."""


def strings(value, key=""):
    """Yield each string with the key under which it stands."""
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            yield from strings(inner, inner_key)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)
    elif isinstance(value, str):
        yield key, value


def violations(value):
    """Yield whatever stands under the key "violations"."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "violations":
            yield from inner
        if isinstance(inner, dict | list):
            yield from violations(inner)


@pytest.mark.parametrize(
    "command",
    [
        ("schemes",),
        ("bugs",),
        ("invariants",),
        ("cost", "avc-7.0"),
        ("cost", "--workload", "children", "--scale", "4"),
        ("replay", CASE),
        ("show", CASE),
        ("explore", "B28"),
        ("scopes", "avc-7.0", "--mms", "1", "--pages", "1"),
    ],
    ids=lambda command: command[0],
)
def test_json_has_no_text_for_people(command, rmapcheck):
    for key, text in strings(data(rmapcheck, *command)):
        assert text not in ("", "–", "-", "none", "no scheme"), key
        assert key in (*PROSE, *LABELS) or not re.fullmatch(r"[\d,.]+( \w+)?", text), key
        assert key in PROSE or " … " not in text, key


@pytest.mark.parametrize(
    "command",
    [
        ("replay", CASE),
        ("show", CASE),
        ("explore", "B28"),
        ("fuzz", "B28", "--engine", "walk"),
        ("verify", "B28", "--budget", "5"),
        ("replay", CASE, "--scheme", "avc-2.6.34"),
    ],
    ids=lambda command: f"{command[0]} {len(command)}",
)
def test_violations_have_one_shape(command, rmapcheck):
    found = list(violations(data(rmapcheck, *command)))
    assert found
    assert all(set(v) == VIOLATION for v in found)


def test_a_trace_has_the_steps_of_the_case(rmapcheck):
    case = json.loads(CASE.read_text())
    assert data(rmapcheck, "explore", "B29")["trace"] == case["steps"]


def test_show_has_steps_and_states(rmapcheck):
    shown = data(rmapcheck, "show", CASE)
    case = json.loads(CASE.read_text())
    assert [step["operation"] for step in shown["steps"]] == case["steps"]
    assert [step["step"] for step in shown["steps"]] == [1, 2, 3, 4, 5]
    assert shown["boot"]["vma"] == {}
    second = shown["steps"][1]
    assert second["error"] is None
    assert second["state"]["folio"]["1"]["refcount"] == 1
    assert second["state"]["vma"]["1"]["anon_vma"] == 1
    names = [v["invariant"] for v in shown["steps"][4]["violations"]]
    assert names[0] == case["expect"]["invariant"]
    assert shown["expected"] == case["expect"]


def test_an_error_of_a_step_has_its_name(rmapcheck):
    value = json.loads(CASE.read_text())
    value["scope"]["alloc_fail"] = True
    value["steps"] = [{**value["steps"][0], "fail": 1}]
    value["expect"] = {"verdict": "HOLDS", "invariant": "", "step": 0}
    Path("fails.json").write_text(json.dumps(value))
    assert [s["error"] for s in data(rmapcheck, "show", "fails.json")["steps"]] == ["ENOMEM"]


def test_releases_of_every_scheme():
    found = {cls.era.kernels: releases(cls.era.kernels) for cls in every_scheme().values()}
    assert found["v7.0 …"] == [{"first": "v7.0", "last": None}]
    assert found["v2.6.7"] == [{"first": "v2.6.7", "last": "v2.6.7"}]
    assert found["v2.4.16 … v2.4.37, v2.5.1 … v2.5.26"] == [
        {"first": "v2.4.16", "last": "v2.4.37"},
        {"first": "v2.5.1", "last": "v2.5.26"},
    ]
    assert found["patches for 2.5.65, not merged"] == []


PAGE = (Path(__file__).parents[2] / "docs/reference/json.md").read_text(encoding="utf-8")


def test_every_command_is_on_the_page():
    names = [str(command.name) for command in app.registered_commands]
    assert [name for name in names if f"| `{name}` |" not in PAGE] == []


@pytest.mark.parametrize(
    "command",
    [
        ("demo",),
        ("verify", "B28", "--budget", "4"),
        ("explore", "B28"),
        ("explore", "avc-7.0", "--stage", "mms=1,pages=1", "--ops", "mmap"),
        ("explore", "avc-7.0", "--refine", "own", "--mms", "1", "--pages", "1"),
        ("scopes", "avc-7.0", "--mms", "1", "--pages", "1"),
        ("fuzz", "B28", "--engine", "walk"),
        ("replay", CASE),
        ("minimize", CASE, "--save", "here"),
        ("diff", CASE, "--schemes", "B29,avc-7.0"),
        ("show", CASE),
        ("export", CASE),
        ("schemes",),
        ("bugs",),
        ("invariants",),
        ("new", "mine"),
        ("doctor",),
        ("cost", "avc-7.0", "--workload", "children", "--scale", "4"),
        ("explore", "nothing"),
    ],
    ids=lambda command: " ".join(map(str, command[:1])),
)
def test_every_key_is_on_the_page(command, rmapcheck):
    value = data(rmapcheck, *command)
    parts = [value] if isinstance(value, dict) else value
    keys = {key for part in parts for key in part}
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
