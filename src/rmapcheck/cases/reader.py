"""Reading the JSON of a case file, which may come from anybody, without surprises.

Python's reader takes more than JSON has: NaN, the same key twice, whole numbers of any length, and
nesting until the stack ends. Each of these is refused here, with the place where it stands.
"""

import json
from typing import Any

import attrs

from rmapcheck.model.machine.errors import ModelError

DEPTH = 6
"""A case has no more levels than this."""

DIGITS = 19
"""No whole number in a case has more digits, a seed included."""


class CaseError(ModelError):
    """A case file that cannot be used; the text is one sentence with file, place and remedy."""


@attrs.frozen
class _Odd:
    """Stands for a value that JSON, or a case, may not hold."""

    text: str


class _Doubled(dict[str, Any]):
    """An object that has `key` twice."""

    key = ""


def place(path: "list[str | int] | tuple[str | int, ...]") -> str:
    """Return a path as in "steps[3].prot"; the whole file is "the case"."""
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
    """Return a value as JSON on one line, cut short."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def read_json(data: bytes) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return what `data` holds. Raise CaseError for whatever no case may hold."""
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
    return (
        f"{where} is nested more than {DEPTH} levels deep; a case has no use for that, remove it"
    )


def _walk(value: object) -> None:
    """Look at every value, nearest the root first."""
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
        raise CaseError(f"{place((*path, item.key))} is there twice; keep one of them")
    if isinstance(item, str) and not item.isprintable():
        raise CaseError(f"{place(path)} holds a character that cannot be printed; remove it")
