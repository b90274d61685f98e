"""A wrong rule planted in the model: one place of its source, edited for the length of a `with`.

It is an error if the text that it replaces is not there: a mutant that changes nothing would prove
nothing.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.host.errors import OracleError
from rmapcheck.oracle.oracle import Oracle, Settings, Tallies

if TYPE_CHECKING:
    from rmapcheck.model.scheme import Scheme
    from rmapcheck.oracle.stage import Stage


@attrs.frozen
class Mutant:
    """One rule of the predictor, written wrongly."""

    name: str
    place: str
    """``module:function`` or ``module:Class.method``."""
    old: str
    new: str
    tier: str = "L0"
    """The tier without which it cannot be noticed, as far as is known."""


def _edited(function: FunctionType, mutant: Mutant) -> FunctionType:
    """Return the function as its edited source makes it."""
    source = textwrap.dedent(inspect.getsource(function))
    old, new = (_outdented(text, source) for text in (mutant.old, mutant.new))
    if source.count(old) != 1:
        raise OracleError(
            f"mutant {mutant.name!r} is out of date: {mutant.place} has its text "
            f"{source.count(old)} times; rewrite it"
        )
    namespace: dict[str, Any] = {}
    code = compile(source.replace(old, new), f"<{mutant.name}>", "exec")
    exec(code, function.__globals__, namespace)  # our own source, edited above
    made: FunctionType = namespace[function.__name__]
    return made


def _outdented(text: str, source: str) -> str:
    """Return the text as it is in a dedented method, whose lines lose four columns."""
    return (
        text.replace("\n    ", "\n") if source.split("(")[1].lstrip().startswith("self") else text
    )


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Let the model have the mutant, wherever the function is known by name."""
    module_name, _, path = mutant.place.partition(":")
    module = importlib.import_module(module_name)
    owner, _, name = path.rpartition(".")
    holder = getattr(module, owner) if owner else module
    function = vars(holder)[name]
    made = _edited(function, mutant)
    with ExitStack() as stack:
        holders = [holder] if owner else _importers(function)
        for each in holders:
            setattr(each, name, made)
            stack.callback(setattr, each, name, function)
        yield


def _importers(function: FunctionType) -> list[Any]:
    """Return the model's modules that have the function under its name."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("rmapcheck.model.") and vars(module).get(function.__name__) is function
    ]


def hunt(stage: "Stage", scheme: "type[Scheme]", mutant: Mutant, settings: Settings) -> Tallies:
    """Run the oracle with a mutant for its predictor; `failed` says whether it was noticed."""
    with planted(mutant):
        return Oracle(stage, scheme, settings).run()
