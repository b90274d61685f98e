"""Checks of a plug-in scheme's class before it runs: its hooks, declarations and names."""

import difflib
import inspect
from collections import deque
from collections.abc import Iterable
from types import CodeType
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.invariants.goals import GOALS
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.era import Era
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import ModelError, SchemeError
from rmapcheck.model.machine.fields import pool_name
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import CORE
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.failures import is_from_outside, scheme_errors, text_of
from rmapcheck.plugins.own import HOOKS, own_classes, place_of
from rmapcheck.plugins.watchdog import watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator

TUPLES = ("structs", "invariants", "goals", "unreachable")
DICTS = ("fields", "extra_fields", "sizes")
CONTAINERS = (list, dict, set, bytearray, deque)


def check_interface(scheme: type[Scheme], where: str) -> None:
    """Raise SchemeError for the first fault of the class.

    The message begins with the line of the fault, or with `where` if the line is not known.
    """
    for fault in _faults(scheme):
        has_line = ", line " in fault.partition(": ")[0]
        raise SchemeError(fault if has_line else f"{where}: {fault}")
    try:
        with scheme_errors(scheme), watchdog(scheme):
            Kernel(Scope(), scheme(), checked=True)
    except ModelError:
        raise
    except BaseException as error:
        if is_from_outside(error):
            raise
        made = f"{scheme.__name__}() cannot be made"
        raise SchemeError(f"{where}: {made}: {text_of(error)}") from error


def _faults(scheme: type[Scheme]) -> "Iterator[str]":
    yield from _check_name(scheme)
    yield from _check_parts(scheme)
    yield from _check_types(scheme)
    yield from _check_memory(scheme)
    yield from _check_hooks(scheme)
    yield from _check_overrides(scheme)
    yield from _check_spelling(scheme)
    yield from _check_known("invariant", scheme.invariants, INVARIANTS, scheme)
    yield from _check_known("goal", scheme.goals, GOALS, scheme)
    yield from _check_known("goal", scheme.unreachable, GOALS, scheme)
    yield from _check_structs(scheme)
    yield from _check_fields(scheme)


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {near[0]}?" if near else ""


def _check_name(scheme: type[Scheme]) -> "Iterator[str]":
    own = vars(scheme).get("name")
    if own is None:
        yield f'class {scheme.__name__} has no name: write `name = "…"` in its body'
    elif not isinstance(own, str) or not own:
        yield f"`name` of class {scheme.__name__} must be a string that is not empty, not {own!r}"
    elif not own.isprintable():
        yield f"`name` of class {scheme.__name__} has a character that cannot be printed"
    elif own in catalogue.schemes() or own in catalogue.bugs():
        yield f"class {scheme.__name__} has the name of the built-in {own!r}: choose another"
    title: object = scheme.title
    if not isinstance(title, str) or not title.isprintable():
        yield f"`title` of class {scheme.__name__} must be a string that can be printed"


def _check_parts(scheme: type[Scheme]) -> "Iterator[str]":
    """Look for methods of the container in the scheme, and check `era` and `i_mmap`."""
    for cls in own_classes(scheme):
        for name in vars(cls):
            if name.startswith("i_mmap_") and hasattr(IMmap, name.removeprefix("i_mmap_")):
                yield (
                    f"{cls.__name__}.{name} belongs to the container: write a subclass of "
                    f"{type(scheme.i_mmap).__name__} with {name.removeprefix('i_mmap_')}, and "
                    "make an object of it the attribute `i_mmap`"
                )
    yield from _check_class("era", scheme.era, Era, "model/era.py")
    yield from _check_class("i_mmap", scheme.i_mmap, IMmap, "model/i_mmap")


def _check_class(name: str, value: object, kind: type, place: str) -> "Iterator[str]":
    if not isinstance(value, kind):
        yield f"`{name}` must be an object of class {kind.__name__} ({place}), not {value!r}"


def _check_types(scheme: type[Scheme]) -> "Iterator[str]":
    for name in TUPLES:
        value = getattr(scheme, name)
        if not isinstance(value, tuple):
            yield f"`{name}` must be a tuple, as in ({_sample(value)},), not {value!r}"
    for name in DICTS:
        if not isinstance(getattr(scheme, name), dict):
            yield f"`{name}` must be a dict by pool, not {getattr(scheme, name)!r}"


def _check_memory(scheme: type[Scheme]) -> "Iterator[str]":
    """Look for class attributes that hooks could change, such as lists and dicts."""
    for cls in own_classes(scheme):
        for name, value in vars(cls).items():
            expected = name in (*TUPLES, *DICTS) or name.startswith("__")
            if isinstance(value, CONTAINERS) and not expected:
                yield (
                    f"{cls.__name__}.{name} is a {type(value).__name__}, which would keep things "
                    "outside the state that is saved and restored: make it a tuple, or declare "
                    "a struct"
                )


def _sample(value: object) -> str:
    return repr(value) if isinstance(value, str) else getattr(value, "__name__", "…")


# Hooks.


def _check_hooks(scheme: type[Scheme]) -> "Iterator[str]":
    for name in (*HOOKS, "visit"):
        for cls in own_classes(scheme):
            if name in vars(cls):
                yield from _check_hook(cls, name)


def _check_overrides(scheme: type[Scheme]) -> "Iterator[str]":
    """Compare methods that are not hooks with the built-in scheme's methods that they replace."""
    own = own_classes(scheme)
    for cls in own:
        for name, plain in vars(cls).items():
            if name in (*HOOKS, "visit") or not inspect.isfunction(plain):
                continue
            base = next((b for b in scheme.__mro__ if b not in own and name in vars(b)), None)
            replaced = vars(base).get(name) if base else None
            if not base or not inspect.isfunction(replaced):
                continue
            wanted, given = inspect.signature(replaced), inspect.signature(plain)
            if not _accepts(given, wanted):
                yield (
                    f"{place_of(plain)}{name} must take {_parameters(wanted)}, as that of "
                    f"{base.__name__} does, not {_parameters(given)}"
                )


def _check_hook(cls: type[Scheme], name: str) -> "Iterator[str]":
    raw = vars(cls)[name]
    plain = getattr(raw, "__func__", raw)
    if not inspect.isfunction(plain):
        yield f"`{name}` is the name of a hook, so it must be a method, not {raw!r}"
        return
    wanted = inspect.signature(getattr(Scheme, name))
    if name != "visit" and plain is not raw:
        kind = type(raw).__name__
        yield f"{place_of(plain)}hook {name} must be a plain method, without @{kind}"
    elif not _accepts(inspect.signature(plain), wanted):
        given = _parameters(inspect.signature(plain))
        yield f"{place_of(plain)}hook {name} must take {_parameters(wanted)}, not {given}"


def _accepts(given: inspect.Signature, wanted: inspect.Signature) -> bool:
    """Return whether `given` can be called with the positions and the keywords of `wanted`."""
    parameters = wanted.parameters.values()
    positions = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    try:
        given.bind(*positions, **keywords)
    except TypeError:
        return False
    return True


def _parameters(signature: inspect.Signature) -> str:
    """Return the parameters as they are written, without their types."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def _check_spelling(scheme: type[Scheme]) -> "Iterator[str]":
    """Look for an unused attribute whose name is close to that of a hook or another attribute."""
    own = own_classes(scheme)
    used = {name for cls in own for name in _names_used(cls)}
    for cls in own:
        known = {n for base in cls.__mro__[1:] if base not in own for n in dir(base)}
        known -= set(dir(object))
        for name in vars(cls):
            if name not in known and name not in used and not name.startswith("_"):
                near = difflib.get_close_matches(name, known, 1, cutoff=0.75)
                if near:
                    where = place_of(vars(cls)[name])
                    yield (
                        f"{where}{cls.__name__}.{name} is not a hook, and nothing uses it: "
                        f"did you mean {near[0]}?"
                    )


def _names_used(cls: type[Scheme]) -> "Iterator[str]":
    for value in vars(cls).values():
        code = getattr(getattr(value, "__func__", value), "__code__", None)
        if isinstance(code, CodeType):
            yield from code.co_names


# Declarations.


def _check_known(
    kind: str, names: tuple[str, ...], known: Iterable[str], scheme: type[Scheme]
) -> "Iterator[str]":
    for name in names:
        if name not in known:
            hint = _did_you_mean(str(name), known) or "`rmapcheck invariants` lists them"
            yield f"scheme {scheme.name!r} names the {kind} {name!r}, which does not exist: {hint}"


def _check_structs(scheme: type[Scheme]) -> "Iterator[str]":
    for cls in scheme.structs:
        if not attrs.has(cls):
            yield (
                f"{getattr(cls, '__name__', cls)} in `structs` is not an attrs class: "
                "put @attrs.define(slots=True, eq=False) above it"
            )
        elif pool_name(cls) in CORE:
            yield (
                f"struct {cls.__name__} has the name of a struct of the MM core: choose another "
                "name, or add fields to that struct with `extra_fields`"
            )
        else:
            yield from _check_declarations(cls)


def _check_declarations(cls: type) -> "Iterator[str]":
    for attribute in attrs.fields(cls):
        if not {"ref", "high"} & set(attribute.metadata):
            yield (
                f"field {attribute.name!r} of struct {cls.__name__} must be declared with "
                "num(…), ref(…) or refs(…) from rmapcheck.model.machine.heap"
            )


def _pools(scheme: type[Scheme]) -> dict[str, type]:
    return CORE | {pool_name(cls): cls for cls in scheme.structs}


def _check_fields(scheme: type[Scheme]) -> "Iterator[str]":
    pools = _pools(scheme)
    for table in ("fields", "extra_fields"):
        entries: dict[str, Any] = getattr(scheme, table)
        for pool, names in entries.items():
            if pool not in pools:
                hint = _did_you_mean(pool, pools) or f"the pools are {', '.join(pools)}"
                yield f"`{table}` names the pool {pool!r}, which does not exist: {hint}"
            elif table == "fields":
                yield from _check_field_names(scheme, pool, pools[pool], names)
            elif not isinstance(names, dict):
                yield (
                    f"`extra_fields[{pool!r}]` must be a dict from names to declarations, "
                    f"not {names!r}"
                )


def _check_field_names(
    scheme: type[Scheme], pool: str, cls: type, names: object
) -> "Iterator[str]":
    if not isinstance(names, tuple):
        yield f"`fields[{pool!r}]` must be a tuple of field names, not {names!r}"
        return
    known = [a.name for a in attrs.fields(cls)]
    known += scheme.extra_fields.get(pool, {})
    for name in names:
        if name not in known:
            hint = _did_you_mean(str(name), known) or f"it has {', '.join(known)}"
            yield f"`fields` names the field {name!r} of {pool}, which does not exist: {hint}"
