"""Exports of cases: a pytest function, a Mermaid diagram, an ITF trace, a C program.

Text from a case is put into a program only as a quoted literal, so that a title cannot become
code.
"""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.cases.case import Case, CaseError
from rmapcheck.cases.replay import replay_case, scheme_of
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork, Operation
from rmapcheck.report.recording import Recording, record_case
from rmapcheck.report.state_text import pool_of, value_of
from rmapcheck.reproduce.program import to_c, to_kselftest

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.scheme import Scheme

Exporter = Callable[[Case, "type[Scheme] | None"], str]


def export(case: Case, format_: str, scheme: "type[Scheme] | None" = None) -> str:
    """Return the text of a case in one of the EXPORTS.

    `scheme` is needed if the case is about a plug-in. Raise ModelError for another format, or for
    a run that the format cannot express.
    """
    if format_ not in EXPORTS:
        raise ModelError(f"there is no format {format_!r}; choose one of {', '.join(EXPORTS)}")
    return EXPORTS[format_](case, scheme)


def quoted(text: str) -> str:
    """Return `text` as a Python string literal, in double quotes on one line."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _call(op: Operation) -> str:
    """Return the Python expression that makes the operation."""
    values = []
    for a in attrs.fields(type(op)):
        value = getattr(op, a.name)
        if a.default is attrs.NOTHING or value != a.default:
            text = quoted(value) if isinstance(value, str) else repr(value)
            values.append(f"{a.name}={text}")
    return f"{type(op).__name__}({', '.join(values)})"


def _scope_call(scope: Scope) -> str:
    lines = []
    for a in attrs.fields(Scope):
        value = getattr(scope, a.name)
        if value != a.default:
            text = _tuple(value) if a.name == "ops" else repr(value)
            lines.append(f"        {a.name}={text},\n")
    return f"Scope(\n{''.join(lines)}    )" if lines else "Scope()"


def _tuple(names: tuple[str, ...]) -> str:
    comma = "," if len(names) == 1 else ""
    return f"({', '.join(map(quoted, names))}{comma})"


def to_pytest(case: Case, scheme: "type[Scheme] | None" = None) -> str:
    """Return a Python file with one test, which needs only rmapcheck.

    It tests the scheme that the case names; `replay.case_on` makes the case of another.
    """
    words = re.findall(r"[a-z0-9]+", f"{case.scheme} {case.title}".lower())
    operations = sorted({type(op).__name__ for op in case.steps})
    imports = (
        [f"from rmapcheck.model.operations import {', '.join(operations)}"] if operations else []
    )
    imports += [
        "from rmapcheck.model.machine.scope import Scope",
        "from rmapcheck.plugins.find import find_scheme",
        "from rmapcheck.run import replay",
    ]
    steps = "".join(f"        {_call(op)},\n" for op in case.steps)
    body = [
        f"def test_{'_'.join(words)[:70]}():",
        f"    {quoted(case.title)}",
        f"    scheme = find_scheme({quoted(case.scheme)})",
        f"    scope = {_scope_call(case.scope)}",
        f"    steps = (\n{steps}    )" if steps else "    steps = ()",
        *_expectation(case),
    ]
    return "\n".join([*imports, "", "", *body]) + "\n"


def _expectation(case: Case) -> list[str]:
    expect = case.expect
    if not expect.invariant:
        return ["    assert not replay(scheme, scope, steps).violations"]
    name = quoted(expect.invariant)
    return [
        f"    done = replay(scheme, scope, steps, target={name})",
        f"    assert {name} in [v.invariant for v in done.violations]",
        f"    assert done.step == {expect.step}",
    ]


def to_mermaid(case: Case, scheme: "type[Scheme] | None" = None) -> str:
    """Return a Mermaid sequence diagram: processes as columns, operations as arrows.

    A note says what is violated, on `scheme` if it is given. Raise CaseError if that scheme cannot
    run the case.
    """
    done = replay_case(case, scheme)
    if done.replayed is None:
        raise CaseError(str(done).rstrip("."))
    names = [v.invariant for v in done.replayed.violations]
    violated = [case.expect.invariant] if case.expect.invariant in names else names
    forked = {op.child for op in case.steps if isinstance(op, Fork)}
    numbers = sorted({op.mm for op in case.steps} | forked)
    lines = ["sequenceDiagram", *(f"    participant P{n} as process {n}" for n in numbers)]
    for number, op in enumerate(case.steps, 1):
        to = op.child if isinstance(op, Fork) else op.mm
        lines.append(f"    P{op.mm}->>P{to}: {number}. {_label(op)}")
        if violated and number == done.replayed.step:
            lines.append(f"    Note over P{op.mm}: VIOLATED {_plain(', '.join(violated))}")
    return "\n".join(lines) + "\n"


def _label(op: Operation) -> str:
    hidden = ("mm", "child")
    values = [
        f"{a.name} {getattr(op, a.name)}"
        for a in attrs.fields(type(op))
        if a.name not in hidden
        and (a.default is attrs.NOTHING or getattr(op, a.name) != a.default)
    ]
    return _plain(" ".join([op.name, ", ".join(values)]).strip())


def _plain(text: str) -> str:
    """Return the text without characters that mean something to Mermaid."""
    return re.sub(r"[^\w .,'-]", "", text)


def to_itf(case: Case, scheme: "type[Scheme] | None" = None) -> str:
    """Return the states of the run as an ITF trace, which Apalache and Quint read.

    Each pool is a map from numbers to records, and each reference is a number (0: NULL). The
    format is that of Apalache's ADR-015: integers are {"#bigint": …}, maps {"#map": [[key,
    value]]}.
    """
    recording = record_case(case, scheme or scheme_of(case))
    states = [_itf_state(recording, 0, recording.first, "boot")]
    for frame in recording.frames:
        states.append(_itf_state(recording, frame.number, frame.after, str(frame.op)))
    pools = list(recording.state(recording.first).layout.structs)
    head = {
        "format": "ITF",
        "format-description": "https://apalache-mc.org/docs/adr/015adr-trace.html",
        "source": case.scheme,
        "description": case.title,
    }
    trace = {"#meta": head, "vars": ["action_taken", *pools], "states": states}
    return json.dumps(trace, indent=1, ensure_ascii=False) + "\n"


def _itf_state(recording: Recording, index: int, raw: bytes, action: str) -> dict[str, Any]:
    st = recording.state(raw)
    pools = {name: _itf_pool(st, name) for name in st.layout.structs}
    return {"#meta": {"index": index}, "action_taken": action, **pools}


def _itf_pool(st: "Kernel", name: str) -> dict[str, Any]:
    struct = st.layout.structs[name]
    pool = pool_of(st, name)
    pairs = []
    for i in pool.indices():
        record = {f.name: _itf_number(value_of(pool[i], f.name)) for f in struct.fields}
        pairs.append([_itf_number(i), record])
    return {"#map": pairs}


def _itf_number(value: int) -> dict[str, str]:
    return {"#bigint": str(value)}


EXPORTS: dict[str, Exporter] = {
    "pytest": to_pytest,
    "mermaid": to_mermaid,
    "itf": to_itf,
    "c": to_c,
    "kselftest": to_kselftest,
}
