"""Compiles a library in the background, while the caller does something else.

::

    main thread    interface, goals, small searches, interpreted   | waits | searches in C
    compiler       ####################################################### ends
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from rmapcheck.host import compile as build


class Building:
    """A library that is in the cache, or will be once its compiler ends.

    At the end of a `with` block, a compiler that still runs is stopped.
    """

    def __init__(self, source: str, defines: tuple[str, ...] = ()) -> None:
        self.source = source
        self.defines = defines
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._path: Path | None = None
        self._error: build.BuildError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def start(self) -> None:
        """Start the compiler, if it has not been started yet and is needed."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._build, name="compiler", daemon=True)
            self._thread.start()

    def ready(self) -> bool:
        """Return whether `path` returns, or raises an error, at once."""
        return self._thread is not None and not self._thread.is_alive()

    def path(self) -> Path:
        """Wait for the library and return its path. Raise BuildError if there will be none."""
        self.start()
        assert self._thread is not None  # noqa: S101 - for mypy
        self._thread.join()
        if self._path is None:
            raise self._error or build.BuildError("the C compiler was interrupted")
        return self._path

    def _build(self) -> None:
        try:
            self._path = build.build(self.source, self.defines, self._stop)
        except build.BuildError as error:
            self._error = error
