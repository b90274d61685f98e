"""The JSON Schema of case files, generated from the operation classes and from Scope.

`python -m rmapcheck.cases.schema` regenerates counterexamples/schema.json.
"""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from rmapcheck.cases.reader import CaseError, place, value_text
from rmapcheck.cases.results import ERRNOS
from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import EXTRAS, GROUPS, LARGEST_FIELD, PARTS, Scope
from rmapcheck.model.operations import ADVICE_NAMES, OPERATIONS, PROTECTIONS, Operation

FORMAT = 1
"""Version of the case format; files with a higher version are refused."""

MAX_STEPS = 2_000

MAX_SEED = 2**63 - 1

SCHEMA_FILE = Path(__file__).parents[1] / "counterexamples" / "schema.json"

Json = dict[str, Any]

CHOICES = {"prot": list(PROTECTIONS), "advice": list(ADVICE_NAMES)}
"""Possible values of the string fields of operations, simplest first."""


def _text(longest: int, **more: object) -> Json:
    return {"type": "string", "maxLength": longest, **more}


def _sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def _object(properties: Json, required: list[str], **more: object) -> Json:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
        **more,
    }


def _field(attribute: Any) -> Json:  # noqa: ANN401 - attrs.Attribute of any type
    """Return the schema of one field of an operation."""
    if attribute.type is bool:
        return {"type": "boolean"}
    if attribute.type is int:
        lowest = -1 if attribute.default == -1 else 0
        return {"type": "integer", "minimum": lowest, "maximum": LARGEST_FIELD}
    if attribute.name in CHOICES:
        return {"enum": CHOICES[attribute.name]}
    raise ModelError(
        f"the field {attribute.name!r} of an operation is not a number, not a flag and not in "
        "CHOICES of rmapcheck/cases/schema.py; add it there"
    )


def operation_schema(cls: type[Operation]) -> Json:
    """Return the schema of one operation as it is written in a case."""
    fields = sorted(attrs.fields(cls), key=lambda a: a.name == "fail")
    required = ["op", *(a.name for a in fields if a.default is attrs.NOTHING)]
    properties = {"op": {"const": cls.name}, **{a.name: _field(a) for a in fields}}
    return _object(properties, required, description=_sentence(cls.__doc__ or ""))


def _scope_schema() -> Json:
    properties: Json = {}
    for attribute in attrs.fields(Scope):
        if attribute.name == "ops":
            names: Json = {"enum": [*GROUPS, *EXTRAS, *PARTS]}
            properties["ops"] = {"type": "array", "uniqueItems": True, "items": names}
        elif attribute.type is bool:
            properties[attribute.name] = {"type": "boolean"}
        else:
            low, high = attribute.metadata["range"]
            properties[attribute.name] = {"type": "integer", "minimum": low, "maximum": high}
    return _object(
        properties, [], description="How large the machine is; see model/machine/scope.py."
    )


def _step_schema() -> Json:
    chosen = [
        {
            "if": {"properties": {"op": {"const": cls.name}}},
            "then": {"$ref": f"#/$defs/{cls.name}"},
        }
        for cls in OPERATIONS
    ]
    return {
        "type": "object",
        "required": ["op"],
        "properties": {"op": {"enum": [cls.name for cls in OPERATIONS]}},
        "allOf": chosen,
    }


def _expect_schema() -> Json:
    properties = {
        "verdict": {"enum": ["VIOLATED", "HOLDS"]},
        "invariant": _text(100),
        "step": {"type": "integer", "minimum": 0, "maximum": MAX_STEPS},
    }
    return _object(
        properties,
        ["verdict"],
        description="With VIOLATED, the invariant and the step (from 1); with HOLDS, neither.",
    )


def _history_schema() -> Json:
    properties = {
        "introduced": _text(200),
        "fixed": _text(200),
        "cve": _text(40),
        "links": {"type": "array", "maxItems": 20, "items": _text(300)},
    }
    return _object(properties, [], description="The history of the bug, if it is a known one.")


def _found_schema() -> Json:
    seed = {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_SEED}
    properties = {
        "engine": _text(100),
        "seed": seed,
        "version": _text(100),
        "minimized": {"type": "boolean"},
    }
    return _object(properties, [], description="How rmapcheck found the run.")


def _results_schema() -> Json:
    number = {"type": "integer", "minimum": 0, "maximum": LARGEST_FIELD}
    properties: Json = dict.fromkeys(("start", "end", "pgoff", "file"), number)
    properties |= {"prot": {"enum": list(PROTECTIONS)}, "shared": {"type": "boolean"}}
    properties["anon_vma"] = _text(10, description='A letter for an anon_vma; "" for none.')
    vmas = {"type": "array", "maxItems": 100, "items": _object(properties, ["start", "end"])}
    process = _object({"mm": number, "vmas": vmas}, ["mm", "vmas"])
    maps = {"type": "array", "maxItems": 20, "items": process}
    step = {"type": "integer", "minimum": 1, "maximum": MAX_STEPS}
    errno = {"enum": list(ERRNOS), "description": 'What the step returns; "" is success.'}
    result = _object({"step": step, "errno": errno, "maps": maps}, ["step"])
    return {"type": "array", "maxItems": MAX_STEPS, "items": result}


def schema() -> Json:
    """Return the schema of case files."""
    properties = {
        "format": {"type": "integer", "minimum": 1, "maximum": FORMAT},
        "title": _text(300, minLength=1),
        "scheme": _text(300, minLength=1, description="A built-in name, or FILE.py:Class."),
        "scope": _scope_schema(),
        "expect": _expect_schema(),
        "history": _history_schema(),
        "found": _found_schema(),
        "steps": {"type": "array", "maxItems": MAX_STEPS, "items": _step_schema()},
        "results": _results_schema(),
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rmapcheck case",
        "description": "Operations and the verdict expected of a scheme. Data only.",
    }
    required = ["format", "title", "scheme", "scope", "expect", "steps"]
    body = _object(properties, required)
    return {**head, **body, "$defs": {cls.name: operation_schema(cls) for cls in OPERATIONS}}


def schema_text() -> str:
    """Return the text of counterexamples/schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def check_schema(value: object) -> None:
    """Raise CaseError if `value` is not a valid case; it reports the error nearest to the root."""
    if isinstance(value, dict):
        number = value.get("format")
        if type(number) is int and number > FORMAT:
            raise CaseError(
                f"format {number} is newer than this rmapcheck reads (up to {FORMAT}); "
                "install a newer rmapcheck"
            )
    errors: Iterator[ValidationError] = _validator().iter_errors(value)
    worst = min(errors, key=_distance, default=None)
    if worst is not None:
        raise CaseError(_explain(worst))


def _distance(error: ValidationError) -> tuple[int, list[str]]:
    return len(error.absolute_path), [str(part).zfill(6) for part in error.absolute_path]


def _explain(error: ValidationError) -> str:
    where = list(error.absolute_path)
    wanted: Any = error.validator_value
    instance: Any = error.instance
    got = value_text(instance)
    rule = str(error.validator)
    if rule == "required":
        missing = next(name for name in wanted if name not in instance)
        return f"{place(where)} lacks {missing!r}; add it"
    if rule == "additionalProperties":
        return _unknown_key(where, error)
    if rule == "type":
        return f"{place(where)} must be {_kind(wanted)}, not {got}"
    if rule == "enum":
        return f"{place(where)} must be one of {', '.join(map(value_text, wanted))}, not {got}"
    return f"{place(where)} {_LIMITS[rule].format(wanted=wanted, got=got)}"


_LIMITS = {
    "minimum": "must be {wanted} or more, not {got}",
    "maximum": "must be {wanted} or less, not {got}",
    "minLength": "must not be empty; write something",
    "maxLength": "must be at most {wanted} characters long; shorten it",
    "maxItems": "must have at most {wanted} entries; shorten it",
    "uniqueItems": "has the same entry twice; keep one of them",
}


def _kind(wanted: object) -> str:
    names = {
        "integer": "a whole number",
        "boolean": "true or false",
        "string": "a string",
        "array": "a list",
        "object": "an object",
        "null": "null",
    }
    kinds = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(names[str(kind)] for kind in kinds)


def _unknown_key(where: list[str | int], error: ValidationError) -> str:
    known = list(error.schema["properties"])  # type: ignore[index]
    instance: Any = error.instance
    unknown = next(key for key in instance if key not in known)
    near = difflib.get_close_matches(unknown, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the known keys are {', '.join(known)}"
    return f"{place([*where, unknown])} is not known; remove it ({hint})"


if __name__ == "__main__":
    write_whole(SCHEMA_FILE, schema_text())
