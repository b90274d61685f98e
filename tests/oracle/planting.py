"""Plants a mutant in the model: edits one place of its source for the length of a `with`.

It is an error if the text to be replaced is not in the source, because a mutant that changes
nothing would prove nothing.
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
    """One rule of the predictor, made wrong."""

    name: str
    place: str
    """``module:function`` or ``module:Class.method``."""
    old: str
    new: str
    tier: str = "L0"
    """The lowest tier that detects it, as far as is known."""


def _edited(function: FunctionType, mutant: Mutant) -> FunctionType:
    """Return the function, compiled from its edited source."""
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
    """Return the text as it is in the dedented source of a method, four columns to the left."""
    return (
        text.replace("\n    ", "\n") if source.split("(")[1].lstrip().startswith("self") else text
    )


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Replace the function by the mutant in each module of the model that imports it."""
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
    """Return the modules of the model that contain the function under its own name."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("rmapcheck.model.") and vars(module).get(function.__name__) is function
    ]


def run_with_mutant(
    stage: "Stage", scheme: "type[Scheme]", mutant: Mutant, settings: Settings
) -> Tallies:
    """Run the oracle with a mutant in its predictor; `failed` is set if that was detected."""
    with planted(mutant):
        return Oracle(stage, scheme, settings).run()
