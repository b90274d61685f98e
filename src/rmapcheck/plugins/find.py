"""Finding a scheme from what the user typed: a name, a file, a module or an entry point.

Every failure is a SchemeError whose one sentence names the place and says what to do.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from rmapcheck.model.machine.errors import ModelError, SchemeError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.failures import is_from_outside, text_of
from rmapcheck.plugins.interface import check_interface
from rmapcheck.plugins.moved import import_hint
from rmapcheck.plugins.own import frames_of, place
from rmapcheck.plugins.watchdog import watch_import

GROUP = "rmapcheck.schemes"
"""The group of entry points in which installed packages offer schemes."""


def find_scheme(text: str) -> type[Scheme]:
    """Return the scheme that `text` names.

    `text` is the name of a built-in scheme or bug, BUG@SCHEME, FILE.py, FILE.py:Class,
    module:Class, or the name of an installed entry point. Raise SchemeError if there is no such
    scheme or if it does not keep to the interface.
    """
    known = catalogue.built_in(text)
    if known is not None:
        return known
    scheme = _load_plugin(text, sorted(catalogue.schemes() | catalogue.bugs()))
    check_interface(scheme, text)
    return scheme


def _load_plugin(text: str, built_in: list[str]) -> type[Scheme]:
    file, colon, class_name = text.rpartition(":")
    if text.endswith(".py"):
        return _only_scheme(load_file(text), text)
    if colon and file.endswith(".py"):
        return _named_class(load_file(file), class_name, file)
    if file and class_name:
        return _named_class(load_module(file), class_name, f"module {file}")
    return _entry_point(text, built_in)


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Return the schemes that installed packages offer, by name."""
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _entry_point(text: str, built_in: list[str]) -> type[Scheme]:
    offered = entry_points()
    if text in offered:
        point = offered[text]
        return _named_class(load_module(point.module), point.attr, f"entry point {text}")
    names = [*built_in, *offered]
    near = difflib.get_close_matches(text, names, 1) or [n for n in names if n == text.upper()]
    hint = f"did you mean {near[0]}?" if near else "`rmapcheck schemes` lists the built-in ones;"
    tail = "" if near else " to name a file of your own, write FILE.py"
    raise SchemeError(f"no scheme is called {text!r}: {hint}{tail}")


# Loading.


def load_file(name: str) -> ModuleType:
    """Run the file `name` as a new module, and return the module. Raise SchemeError if it fails.

    The file is read again each time: a change is seen by the next call.
    """
    try:
        path = Path(name).resolve()
        is_folder, found = path.is_dir(), path.exists() or path.is_symlink()
    except (OSError, RuntimeError, ValueError) as error:  # such as a loop of links, or a NUL byte
        raise SchemeError(f"{name!a} cannot be read: {_reason(error)}") from error
    if is_folder:
        raise SchemeError(f"{name} is a folder: name a Python file in it")
    if not found:
        raise SchemeError(
            f"there is no file {name}: `rmapcheck new NAME` writes one to start from"
        )
    code = _compiled(path, name)
    module = ModuleType(f"rmapcheck_plugin_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    _execute(code, module, name)
    return module


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _compiled(path: Path, name: str) -> CodeType:
    """Return the code of a file. Its warnings are shown if it is Python, and else the error."""
    try:
        with warnings.catch_warnings(record=True) as found:
            code = compile(path.read_bytes(), str(path), "exec")
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise SchemeError(f"{name}{line}: not Python: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise SchemeError(f"{name} is nested too deeply for Python") from error
    except (OSError, ValueError) as error:
        raise SchemeError(f"{name} cannot be read: {_reason(error)}") from error
    for warning in found:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return code


def _execute(code: object, module: ModuleType, name: str) -> None:
    file = str(module.__file__)
    with watch_import(file):
        try:
            exec(code, vars(module))  # type: ignore[arg-type] # noqa: S102 - the user's own file
        except BaseException as error:
            if is_from_outside(error):
                raise
            line = _line_in(error.__traceback__, file)
            text = _moved(error) or f"{name}, line {line}: {_raised(error)}"
            raise SchemeError(text) from error


def _moved(error: BaseException) -> str:
    """Return where to import a name of an earlier version from, with file and line; or ""."""
    if not isinstance(error, ImportError):
        return ""
    files = [(f.f_code.co_filename, line) for f, line in frames_of(error.__traceback__)]
    file, line = next(((f, n) for f, n in reversed(files) if Path(f).is_file()), ("", 0))
    hint = import_hint(file, line) if file else ""
    return f"{place(file, line)}{hint}" if hint else ""


def _raised(error: BaseException) -> str:
    return str(error) if isinstance(error, ModelError) else f"importing it raised {text_of(error)}"


def load_module(name: str) -> ModuleType:
    """Import a module by its dotted name, which may be in the current folder, and return it.

    Raise SchemeError if there is none, or if importing it fails.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    with watch_import(_place_of(name)):
        try:
            return importlib.import_module(name)
        except BaseException as error:
            if is_from_outside(error):
                raise
            raise SchemeError(_moved(error) or _import_failed(name, error)) from error


def _place_of(name: str) -> str:
    """Return the file of a module, or the folder of its package; "" if there is none."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is not None and spec.submodule_search_locations:
            return f"{next(iter(spec.submodule_search_locations))}/"
        return str(spec.origin) if spec is not None else ""
    return ""


def _import_failed(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        return f"there is no module {name}: install it, or run this in the folder that has it"
    if isinstance(error, SyntaxError):
        line = f", line {error.lineno}" if error.lineno else ""
        return f"{error.filename or name}{line}: not Python: {error.msg}"
    if isinstance(error, ModelError):
        return f"importing module {name} raised {error}"
    return f"importing module {name} raised {text_of(error)}"


def _line_in(trace: TracebackType | None, file: str) -> int:
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


# Choosing the class.


def schemes_in(module: ModuleType) -> list[type[Scheme]]:
    """Return the Scheme subclasses that the module itself defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Scheme)
        and value.__module__ == module.__name__
    ]


def _only_scheme(module: ModuleType, name: str) -> type[Scheme]:
    found = schemes_in(module)
    named = [cls for cls in found if "name" in vars(cls)] or found
    if not named:
        raise SchemeError(
            f"{name} defines no subclass of Scheme: write `class MyScheme(Scheme):`, "
            "with Scheme from rmapcheck.model.scheme"
        )
    if len(named) > 1:
        names = ", ".join(cls.__name__ for cls in named)
        raise SchemeError(
            f"{name} defines several schemes ({names}): "
            f"choose one, as in {name}:{named[-1].__name__}"
        )
    return named[0]


def _named_class(module: ModuleType, class_name: str, place: str) -> type[Scheme]:
    value = getattr(module, class_name, None)
    if value is None:
        near = difflib.get_close_matches(class_name, [c.__name__ for c in schemes_in(module)], 1)
        hint = f"did you mean {near[0]}?" if near else _list_schemes(module)
        raise SchemeError(f"{place} has no class {class_name!r}: {hint}")
    if not isinstance(value, type) or not issubclass(value, Scheme):
        raise SchemeError(
            f"{class_name} in {place} is not a scheme: derive it from Scheme, "
            "which is in rmapcheck.model.scheme"
        )
    return value


def _list_schemes(module: ModuleType) -> str:
    names = ", ".join(c.__name__ for c in schemes_in(module))
    return f"its schemes are {names}" if names else "it defines no scheme"
