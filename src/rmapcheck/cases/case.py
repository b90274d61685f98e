"""Cases: saved runs, each with its expected verdict.

A case file holds operations, not states. It is data: nothing in it is evaluated, imported or
unpickled, not even the name of its scheme (see `replay.scheme_of`). Reading a case file either
gives a valid Case or raises CaseError, whose one sentence says what to change.
"""

import difflib
import json
import re
import stat
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from cattrs import Converter

import rmapcheck
from rmapcheck.cases.reader import CaseError, read_json, value_text
from rmapcheck.cases.results import NAME, Maps, Result, Vma
from rmapcheck.cases.schema import FORMAT, check_schema
from rmapcheck.host.files import written_beside
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import BY_NAME, Operation
from rmapcheck.verdict import Status, Verdict

__all__ = [
    "Case",
    "CaseError",
    "Expect",
    "Found",
    "History",
    "case_from",
    "case_text",
    "file_name",
    "load_case",
    "operation_json",
    "parse_case",
    "save_case",
    "version",
]

MAX_BYTES = 1_000_000

OOPSES = ("use_after_free", "null_dereference", "double_free", "kernel_bug", "out_of_range")
"""What a case may expect to be violated besides the invariants: crashes of the kernel itself."""


@attrs.frozen(kw_only=True)
class Expect:
    """The expected verdict of a case."""

    verdict: str
    """VIOLATED or HOLDS."""
    invariant: str = ""
    """The invariant that is violated; "" with HOLDS."""
    step: int = 0
    """Number of the step that violates it, from 1; 0 with HOLDS."""

    def __str__(self) -> str:
        if self.verdict == Status.VIOLATED.value:
            return f"VIOLATED({self.invariant}, step {self.step})"
        return self.verdict


@attrs.frozen(kw_only=True)
class History:
    """The history of the bug that a case shows, if it is a known one."""

    introduced: str = ""
    """The commit or the version that introduced it."""
    fixed: str = ""
    """The commit that fixed it."""
    cve: str = ""
    links: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Found:
    """How rmapcheck found the run of a case."""

    engine: str = ""
    seed: int | None = None
    version: str = ""
    minimized: bool = False


@attrs.frozen(kw_only=True)
class Case:
    """A saved run and its expected verdict."""

    format: int = FORMAT
    title: str
    scheme: str
    """Name of a built-in scheme, or a plug-in such as FILE.py:Class."""
    scope: Scope
    expect: Expect
    history: History = History()
    found: Found = Found()
    steps: tuple[Operation, ...]
    results: tuple[Result, ...] = ()
    """What some steps must return, and the VMAs after them."""


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    converter.register_unstructure_hook(Scope, _scope_to_json)
    for cls in (Result, Maps, Vma):
        converter.register_unstructure_hook(cls, partial(_given, converter))
    converter.register_unstructure_hook_func(_is_operation, operation_json)
    converter.register_structure_hook_func(_is_operation, _operation_from_json)
    return converter


def _is_operation(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, Operation)


def _scope_to_json(scope: Scope) -> dict[str, Any]:
    """Leave out files and limits that the scope does not have, as older cases do."""
    values = attrs.asdict(scope)
    if not scope.files:
        del values["files"], values["file_pages"]
    if not scope.rss_limit:
        del values["rss_limit"]
    if not scope.anon_vmas:
        del values["anon_vmas"]
    return values


def _given(converter: Converter, value: "Result | Maps | Vma") -> dict[str, Any]:
    """Leave out what is not expected."""
    shown = {a.name: getattr(value, a.name) for a in attrs.fields(type(value))}
    return {n: converter.unstructure(v) for n, v in shown.items() if v is not None and v != ()}


def operation_json(op: Operation) -> dict[str, Any]:
    """Return an operation as a case file has it: its name, and the fields without defaults."""
    values: dict[str, Any] = {"op": op.name}
    for a in sorted(attrs.fields(type(op)), key=lambda a: a.name == "fail"):
        value = getattr(op, a.name)
        if a.default is attrs.NOTHING or value != a.default:
            values[a.name] = value
    return values


def _operation_from_json(value: dict[str, Any], _cls: type) -> Operation:
    fields = {name: v for name, v in value.items() if name != "op"}
    return BY_NAME[value["op"]](**fields)


_CONVERTER = _converter()


def parse_case(data: bytes) -> Case:
    """Return the case in `data`, the content of a file. Raise CaseError if it is not valid."""
    if len(data) > MAX_BYTES:
        raise CaseError(f"the file is larger than {MAX_BYTES} bytes, so it is not a case")
    value = read_json(data)
    check_schema(value)
    try:
        case = _CONVERTER.structure(value, Case)
    except (ModelError, ValueError) as error:
        raise CaseError(f"{error}; change it") from None
    _check(case)
    return case


def _check(case: Case) -> None:
    """Raise CaseError if the parts of the case contradict each other."""
    for i, op in enumerate(case.steps):
        why = op.beyond(case.scope)
        if why:
            field = why.split()[0]
            where = f"steps[{i}].{field}" if hasattr(op, field) else f"steps[{i}]"
            raise CaseError(f"{where} does not fit into the scope ({why}); change either")
    for i, result in enumerate(case.results):
        if result.step > len(case.steps):
            raise CaseError(
                f"results[{i}].step is {result.step}, but the case has {len(case.steps)} steps; "
                "change it"
            )
    expect = case.expect
    if expect.verdict == Status.HOLDS.value:
        if expect.invariant or expect.step:
            raise CaseError("expect has an invariant or a step, but HOLDS has neither; remove it")
    elif not expect.invariant:
        raise CaseError("expect.invariant is empty; name the invariant that is VIOLATED")
    elif not 1 <= expect.step <= len(case.steps):
        raise CaseError(
            f"expect.step must be the number of a step, from 1 to {len(case.steps)}, "
            f"not {expect.step}"
        )
    elif expect.invariant not in (known := (*INVARIANTS, *OOPSES, NAME)):
        near = difflib.get_close_matches(expect.invariant, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`rmapcheck invariants` lists them"
        raise CaseError(
            f"expect.invariant: no invariant is called {value_text(expect.invariant)}; {hint}"
        )


def load_case(path: str | Path) -> Case:
    """Return the case in the file `path`. Raise CaseError if it cannot be read or is not valid."""
    try:
        return parse_case(_read(path))
    except CaseError as error:
        raise CaseError(f"{_shown(path)}: {error}") from None


def _shown(path: str | Path) -> str:
    text = str(path)
    return text if text.isprintable() else ascii(text)


def _read(path: str | Path) -> bytes:
    """Return the content of the file, but at most MAX_BYTES + 1 bytes."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise CaseError("this is not a regular file; name a case file such as NAME.json")
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CaseError(f"the file cannot be read ({error.strerror}); name a case file") from None
    except ValueError:
        raise CaseError("this is not a file name; name a case file such as NAME.json") from None


def case_text(case: Case) -> str:
    """Return the text of the case's file: JSON with sorted keys and one step on each line."""
    value: dict[str, Any] = _CONVERTER.unstructure(case)
    steps = [json.dumps(step, ensure_ascii=False) for step in value["steps"]]
    if not case.results:
        del value["results"]
    lines = []
    for key in sorted(value):
        if key == "steps":
            body = "".join(f"\n    {step}," for step in steps).rstrip(",")
            lines.append(f'  "steps": [{body}\n  ]')
        elif key == "results":
            rows = [json.dumps(result, ensure_ascii=False) for result in value["results"]]
            body = ",".join(f"\n    {row}" for row in rows)
            lines.append(f'  "results": [{body}\n  ]')
        else:
            text = json.dumps(value[key], ensure_ascii=False, sort_keys=True)
            lines.append(f'  "{key}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def file_name(case: Case) -> str:
    """Return a file name for the case, without .json, made from its scheme and its title."""
    words = re.findall(r"[A-Za-z0-9]+", case.title)
    scheme = re.sub(r"[^A-Za-z0-9.]+", "-", Path(case.scheme).name).strip("-.")
    return "-".join([scheme or "case", *words]).lower()[:80].rstrip("-.")


def save_case(case: Case, folder: str | Path, *, name: str = "", overwrite: bool = False) -> Path:
    """Write the case to `folder`/`name`.json and return that path.

    If another case already has that name, the next free one is used (NAME-2, …), unless
    `overwrite` is true. The file is written atomically. Raise CaseError if it cannot be written.
    """
    data = case_text(case).encode()
    parse_case(data)
    base = name or file_name(case)
    if Path(base).name != base:
        raise CaseError(f"{base!r} is not a name for a case; write it without a folder")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with written_beside(Path(folder) / f"{base}.json", data) as new:
            return _publish(new, Path(folder), base, data, overwrite=overwrite)
    except OSError as error:
        raise CaseError(
            f"{_shown(folder)}: the case cannot be written there ({error.strerror}); "
            "choose another folder"
        ) from None


def _publish(new: Path, folder: Path, base: str, data: bytes, *, overwrite: bool) -> Path:
    if overwrite:
        return new.replace(folder / f"{base}.json")
    number = 1
    while True:
        target = folder / (f"{base}.json" if number == 1 else f"{base}-{number}.json")
        if _take(new, target) or target.read_bytes() == data:
            return target
        number += 1


def _take(new: Path, target: Path) -> bool:
    """Give the new file the name `target`. Return False if another file has that name."""
    try:
        target.hardlink_to(new)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if target.exists():
            return False
        new.replace(target)
    return True


def version() -> str:
    """Return the version of the installed rmapcheck; "unknown" if it is not installed."""
    return rmapcheck.__version__


def case_from(
    verdict: Verdict,
    *,
    title: str = "",
    history: History | None = None,
    scheme: str = "",
    invariant: str = "",
    minimized: bool = False,
) -> Case:
    """Return a case made from a verdict that is VIOLATED. Raise CaseError for any other verdict.

    `scheme`: what to call the scheme in the file, such as FILE.py:Class; by default, its name.
    `invariant`: which of the violated invariants the case is about; by default, the first.
    """
    if verdict.status is not Status.VIOLATED:
        raise CaseError(f"{verdict} is not a violation; only violations can be saved as cases")
    names = [v.invariant for v in verdict.violations]
    first = invariant or names[0]
    if first not in names:
        raise CaseError(f"{first} is not violated; choose one of {', '.join(names)}")
    expect = Expect(verdict="VIOLATED", invariant=first, step=len(verdict.trace))
    found = Found(engine=verdict.engine, seed=verdict.seed, version=version(), minimized=minimized)
    return Case(
        title=title or f"{first} violated in {len(verdict.trace)} operations",
        scheme=scheme or verdict.scheme,
        scope=verdict.scope,
        expect=expect,
        history=history or History(),
        found=found,
        steps=verdict.trace,
    )
