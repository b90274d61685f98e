"""A strict JSON reader for case files, which may come from anyone.

Python's reader accepts more than a case may contain: NaN, a key that occurs twice, integers of any
length, and nesting until the stack overflows. Here each of these is an error that names its place.
"""

import json
from typing import Any

import attrs

from rmapcheck.model.machine.errors import ModelError

DEPTH = 8
"""Deepest nesting that a case needs."""

DIGITS = 19
"""Most digits that a number in a case may have; the largest is a seed."""


class CaseError(ModelError):
    """A case that cannot be used; the text is one sentence with the place and what to do."""


@attrs.frozen
class _Odd:
    """Replaces a value that a case may not contain, until its place is known."""

    text: str
    """What is wrong with the value."""


class _Doubled(dict[str, Any]):
    """A JSON object in which `key` occurs twice."""

    key = ""


def place(path: "list[str | int] | tuple[str | int, ...]") -> str:
    """Return a path as text, as in "steps[3].prot"; the empty path is "the case"."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part.isascii() and len(part) <= 40:
            text += f".{part}" if text else part
        else:
            text += f"[{value_text(part)}]"
    return text or "the case"


def value_text(value: object) -> str:
    """Return a value as JSON on one line of at most 60 characters."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def read_json(data: bytes) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the value that the JSON text `data` has. Raise CaseError if it is not valid."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CaseError(
            f"byte {error.start} is not UTF-8; save the file in that encoding"
        ) from None
    if not text.strip():
        raise CaseError("the file is empty; a case is a JSON object")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=_whole,
            parse_float=lambda t: _Odd(f"must be a whole number, not {t[:40]}"),
            parse_constant=lambda t: _Odd(f"must be a whole number, not {t}"),
        )
    except json.JSONDecodeError as error:
        raise CaseError(
            f"line {error.lineno}, column {error.colno} is not JSON ({_reason(error.msg)}); "
            "correct it there"
        ) from None
    except RecursionError:
        raise CaseError(_too_deep("the case")) from None
    _walk(value)
    return value


def _reason(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).rstrip(".: ")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    doubled = _Doubled(result)
    seen = set()
    for key, _ in pairs:
        if key in seen:
            doubled.key = key
        seen.add(key)
    return doubled


def _whole(text: str) -> int | _Odd:
    if len(text.lstrip("-")) > DIGITS:
        return _Odd(f"must be a number of at most {DIGITS} digits, not {text[:12]}…")
    return int(text)


def _too_deep(where: str) -> str:
    return f"{where} is nested more than {DEPTH} levels deep, which no case needs; remove it"


def _walk(value: object) -> None:
    """Check every value, those nearest to the root first."""
    todo: list[tuple[tuple[str | int, ...], object]] = [((), value)]
    while todo:
        path, item = todo.pop(0)
        _look(path, item)
        if isinstance(item, dict):
            todo += [((*path, key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            todo += [((*path, i), inner) for i, inner in enumerate(item)]


def _look(path: tuple[str | int, ...], item: object) -> None:
    if len(path) > DEPTH:
        raise CaseError(_too_deep(place(path[:2])))
    if isinstance(item, _Odd):
        raise CaseError(f"{place(path)} {item.text}")
    if isinstance(item, _Doubled):
        raise CaseError(f"{place((*path, item.key))} occurs twice; keep one of them")
    if isinstance(item, str) and not item.isprintable():
        raise CaseError(f"{place(path)} has a character that cannot be printed; remove it")
