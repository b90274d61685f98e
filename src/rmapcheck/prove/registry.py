"""Finds a spec by what the user typed: a built-in name, FILE.py, FILE.py:Class, module:Class."""

import difflib
import importlib
from collections.abc import Iterator
from types import ModuleType

from rmapcheck.logic.spec import Spec
from rmapcheck.logic.terms import SpecError
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import every_scheme
from rmapcheck.plugins.failures import is_from_outside, text_of
from rmapcheck.plugins.find import load_file, load_module
from rmapcheck.plugins.watchdog import watch_import

MODULES = (
    *("virtual_scan", "pte_chain", "objrmap", "anonmm_eras", "anon_vma", "avc_eras"),
    "avc_reuse",
)
BUGS = ("bugs",)


def specs() -> dict[str, type[Spec]]:
    """Return the built-in specs by name, the oldest scheme first."""
    return _named(MODULES)


def bugs() -> dict[str, type[Spec]]:
    """Return the specs of seeded bugs, by the bug's name."""
    return _named(BUGS)


def _named(modules: tuple[str, ...]) -> dict[str, type[Spec]]:
    found: dict[str, type[Spec]] = {}
    for name in modules:
        module = importlib.import_module(f"rmapcheck.specs.{name}")
        found.update((cls.name, cls) for cls in specs_in(module) if "name" in vars(cls))
    return found


def specs_in(module: ModuleType) -> list[type[Spec]]:
    """Return the specs that are defined in the module itself, in the order of the file."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Spec)
        and value.__module__ == module.__name__
    ]


def find_spec(text: str) -> Spec:
    """Return the spec that `text` names. Raise SpecError or SchemeError if that fails."""
    built_in = specs() | bugs()
    if text in built_in:
        return built_in[text]()
    if text in every_scheme():
        return spec_of(every_scheme()[text])
    place, colon, name = text.rpartition(":")
    if text.endswith(".py"):
        return _built(_only(load_file(text), text), text)
    if colon and place.endswith(".py"):
        return _built(_class(load_file(place), name, place), place)
    if colon and place:
        return _built(_class(load_module(place), name, f"module {place}"), text)
    near = difflib.get_close_matches(text, built_in, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(specs())},"
    raise SpecError(f"no spec is called {text!r}: {hint} and your own spec is named FILE.py")


def spec_of(scheme: type[Scheme]) -> Spec:
    """Return the spec of `scheme`, or of the scheme of which it is a variant.

    Raise SpecError if there is none. A built-in scheme must have its own spec: that of a base
    class may describe another design, from which the scheme only inherits code.
    """
    by_scheme = {
        name: cls for cls in specs().values() for name in (cls.name, *vars(cls).get("schemes", ()))
    }
    for cls in scheme.__mro__:
        name = vars(cls).get("name", "")
        if name in by_scheme and issubclass(cls, Scheme):
            return by_scheme[name]()
        if name in every_scheme():
            break
    raise SpecError(f"there is no spec for {scheme.name}; name one, or a FILE.py with your own")


def _only(module: ModuleType, place: str) -> type[Spec]:
    found = specs_in(module)
    named = [cls for cls in found if "name" in vars(cls)] or found[-1:]
    if not named:
        raise SpecError(
            f"{place} defines no subclass of Spec: write `class MyRmap(Spec):`, with Spec from "
            "rmapcheck.logic"
        )
    if len(named) > 1:
        names = ", ".join(cls.__name__ for cls in named)
        raise SpecError(f"{place} defines several specs ({names}): say which, as in {place}:NAME")
    return named[0]


def _class(module: ModuleType, name: str, place: str) -> type[Spec]:
    value = getattr(module, name, None)
    if not isinstance(value, type) or not issubclass(value, Spec):
        names = ", ".join(c.__name__ for c in specs_in(module)) or "none"
        raise SpecError(f"{place} has no spec {name!r}: its specs are {names}")
    return value


def _not_empty(spec: Spec) -> Spec:
    """Return the spec. Raise SpecError if it has nothing to prove."""
    for what, found in (("@operation", spec.transitions), ("@invariant", spec.lemmas)):
        if not found:
            raise SpecError(f"{spec.name} has no method marked {what}: nothing would be proved")
    return spec


def _built(cls: type[Spec], place: str) -> Spec:
    """Build the spec; any error of the user's code becomes a SpecError of one sentence."""
    file = place.partition(":")[0]
    with watch_import(_file_of(cls) or file, "building the spec"):
        try:
            return _not_empty(cls())
        except ModelError as error:
            raise SpecError(f"{place}: {error}") from None
        except BaseException as error:
            if is_from_outside(error):
                raise
            line = next(_lines_in(error, _file_of(cls)), 0)
            what = f"building the spec raised {text_of(error)}"
            raise SpecError(f"{place}, line {line}: {what}") from error


def _file_of(cls: type[Spec]) -> str:
    return str(getattr(importlib.import_module(cls.__module__), "__file__", ""))


def _lines_in(error: BaseException, file: str) -> Iterator[int]:
    """Yield the lines of `file` in the traceback of an error."""
    found = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = trace.tb_lineno
        trace = trace.tb_next
    yield found
