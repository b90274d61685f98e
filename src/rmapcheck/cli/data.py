"""What `--json` prints: docs/reference/json.md describes it."""

import errno
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.cases.case import Case, Expect, case_text, operation_json
from rmapcheck.invariants.registry import Violation
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation
from rmapcheck.report.recording import Frame, Recording
from rmapcheck.report.state_text import pool_of, value_of
from rmapcheck.verdict import Verdict

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def scope_json(scope: Scope) -> dict[str, Any]:
    """Return the scope as JSON, with all its limits."""
    return {**attrs.asdict(scope), "ops": list(scope.ops)}


def case_json(case: Case) -> Any:  # noqa: ANN401 - JSON
    """Return the case as JSON, as its file has it."""
    return json.loads(case_text(case))


def violations_json(violations: Iterable[Violation]) -> list[dict[str, str]]:
    """Return violations as JSON: the name of each invariant, and its three sentences."""
    return [
        {"invariant": v.invariant, "let": v.let, "then": v.then, "but": v.but} for v in violations
    ]


def expect_json(expect: Expect) -> dict[str, Any]:
    """Return what a case expects as JSON."""
    return {
        "verdict": expect.verdict,
        "invariant": expect.invariant or None,
        "step": expect.step or None,
    }


def steps_json(steps: Iterable[Operation]) -> list[dict[str, Any]]:
    """Return operations as JSON, as a case file has them."""
    return [operation_json(op) for op in steps]


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return the whole verdict as JSON."""
    return {
        "verdict": verdict.status.value,
        "text": str(verdict),
        "scheme": verdict.scheme,
        "engine": verdict.engine,
        "scope": scope_json(verdict.scope),
        "how": verdict.how or None,
        "why": verdict.why or None,
        "seed": verdict.seed,
        "violations": violations_json(verdict.violations),
        "trace": steps_json(verdict.trace),
    }


def recording_json(recording: Recording) -> dict[str, Any]:
    """Return a run as JSON: the state at boot, then each step and the state after it."""
    return {
        "boot": state_json(recording.state(recording.first)),
        "steps": [_frame_json(recording, frame) for frame in recording.frames],
        "stopped": recording.stopped or None,
    }


def _frame_json(recording: Recording, frame: Frame) -> dict[str, Any]:
    error = -frame.outcome.error
    return {
        "step": frame.number,
        "operation": operation_json(frame.op),
        "error": errno.errorcode.get(error, str(error)) if error else None,
        "oops": str(frame.outcome.oops) if frame.outcome.oops else None,
        "violations": violations_json(frame.violations),
        "state": state_json(recording.state(frame.after)),
    }


def state_json(st: "Kernel") -> dict[str, Any]:
    """Return a state as JSON: for each struct, its objects by number, with all fields."""
    return {
        name: {
            str(i): {f.name: value_of(pool_of(st, name)[i], f.name) for f in struct.fields}
            for i in pool_of(st, name).indices()
        }
        for name, struct in st.layout.structs.items()
    }
