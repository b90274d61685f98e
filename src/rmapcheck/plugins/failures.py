"""Exceptions of a plug-in scheme, as SchemeErrors of one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmapcheck.model.machine.errors import KernelOops, ModelError, SchemeError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.limits import Stopped
from rmapcheck.plugins.own import frames_of, hook_name, is_model_frame, is_plugin, own_files, place
from rmapcheck.run import NotPossible
from rmapcheck.search.question import CannotCompileError, EngineError


@contextmanager
def scheme_errors(scheme: type[Scheme]) -> Iterator[None]:
    """Turn any exception that a plug-in scheme raises into a SchemeError of one sentence.

    Exceptions that rmapcheck itself raises are not changed, except that a SchemeError gets the
    line of the plug-in. A KeyboardInterrupt is taken to be from the keyboard.
    """
    try:
        yield
    except SchemeError as error:
        raise _with_line(scheme, error) from error
    except (ModelError, KernelOops):
        raise
    except EngineError as error:
        if not is_plugin(scheme):
            raise
        if _raised_by(scheme, error):
            raise _describe(scheme, error) from error
        if isinstance(error, CannotCompileError):
            raise
        raise SchemeError(not_repeatable(scheme, str(error))) from error
    except BaseException as error:
        if not is_plugin(scheme) or not _is_of_scheme(scheme, error):
            raise
        raise _describe(scheme, error) from error


def _is_of_scheme(scheme: type[Scheme], error: BaseException) -> bool:
    """Return whether a scheme caused an exception, by its code or by the state that it left."""
    if is_from_outside(error):
        return False
    if isinstance(error, MemoryError | NotPossible):  # rmapcheck itself raises them, too
        return _raised_by(scheme, error)
    return any(is_model_frame(scheme, frame) for frame, _ in frames_of(error.__traceback__))


def _raised_by(scheme: type[Scheme], error: BaseException) -> bool:
    """Return whether a line of the plug-in itself raised the exception."""
    return frames_of(error.__traceback__)[-1][0].f_code.co_filename in own_files(scheme)


def is_from_outside(error: BaseException) -> bool:
    """Return whether the user or rmapcheck has interrupted the code of a plug-in."""
    return type(error) is KeyboardInterrupt or isinstance(error, Stopped)


def not_repeatable(scheme: type[Scheme], why: str) -> str:
    """Return the sentence for a scheme that does not do the same thing twice."""
    return (
        f"scheme {scheme.name!r} does not do the same thing twice ({why}): does it keep "
        "something outside the structs of the state, or use random numbers?"
    )


def text_of(error: BaseException) -> str:
    """Return the type and the text of an exception, also if its __str__ fails."""
    try:
        text = str(error)
    except BaseException as failed:  # noqa: BLE001 - it is the user's code
        text = f"its text cannot be shown, because of {type(failed).__name__}"
    return f"{type(error).__name__}: {' '.join(text.split())}".rstrip(": ")


def _with_line(scheme: type[Scheme], error: SchemeError) -> SchemeError:
    """Return the error with the line of the plug-in that led to it, if there is one."""
    own = [
        f for f in frames_of(error.__traceback__) if f[0].f_code.co_filename in own_files(scheme)
    ]
    if not own:
        return error
    frame, line = own[-1]
    return SchemeError(f"{place(frame.f_code.co_filename, line)}{error}")


def _describe(scheme: type[Scheme], error: BaseException) -> SchemeError:
    """Return a SchemeError that says which hook failed, or which field or list it left wrong."""
    frames = frames_of(error.__traceback__)
    own = [f for f in frames if f[0].f_code.co_filename in own_files(scheme)]
    what = text_of(error)
    if own:
        frame, line = own[-1]
        where = place(frame.f_code.co_filename, line)
        return SchemeError(
            f"{where}{hook_name(f for f, _ in own)} of scheme {scheme.name!r} raised {what}"
        )
    frame, line = frames[-1]
    if frame.f_code.co_filename.startswith("<layout of"):
        return SchemeError(
            f"scheme {scheme.name!r} wrote a number into a field that cannot hold it ({what}); "
            "declare its range with num(…)"
        )
    return SchemeError(
        f"scheme {scheme.name!r} left a state on which {frame.f_code.co_name} "
        f"({Path(frame.f_code.co_filename).name}, line {line}) fails with {what}"
    )
