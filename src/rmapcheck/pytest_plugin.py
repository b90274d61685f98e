"""pytest plug-in: replays saved cases, and gives schemes to tests with the fixture `rmap_scheme`.

``--rmap-scheme NAME_OR_FILE``
    The fixture `rmap_scheme` is this scheme. Without the option, a test with this fixture runs
    once for each scheme that comes with rmapcheck.
``*.json``
    Each case file is a test that replays it. A seeded bug must do what its case expects; a scheme
    of your own must violate nothing. A damaged case must fail, too, so these files count as cases:

    - a file with the keys of a case, or only with the first of these keys;
    - in a folder with a case: also a file that is empty, or that was cut off before these keys;
    - in a folder called `counterexamples`: also a file that is not JSON;
    - in a folder called `counterexamples` with a case, or with the schema of cases: every file.

pytest loads this module in every project that uses the same environment. So it imports little at
first, and it ignores other JSON files.
"""

import json
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rmapcheck.cases.case import Case
    from rmapcheck.model.scheme import Scheme

FOLDER = "counterexamples"
SCHEMA = "schema.json"
KEYS = (b'"expect"', b'"scheme"', b'"scope"', b'"steps"')
"""Keys that every case has near the start of its file, since only its steps are long."""
BEGINNING = (b'"expect"', b'"invariant"', b'"verdict"')
"""The first keys in the file of a case; a file that was cut off still has them."""
START = b'{"expect":{"invariant":'
"""The first bytes of a case, without spaces."""
HEAD = 65_536
"""How many bytes of a file are searched for these keys."""
LARGEST = 1_000_000
"""Bytes of the largest file that can be a case."""
CHOSEN = pytest.StashKey["type[Scheme]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--rmap-scheme`."""
    parser.getgroup("rmapcheck").addoption(
        "--rmap-scheme",
        metavar="NAME_OR_FILE",
        default=None,
        help="test only this scheme: a built-in name, FILE.py, FILE.py:Class or module:Class",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find the scheme before any test, so that a wrong name gives one error, not one a test."""
    chosen_scheme(config)


# Schemes.


def chosen_scheme(config: pytest.Config) -> "type[Scheme] | None":
    """Return the scheme of --rmap-scheme, or None. Raise UsageError if there is no such scheme."""
    name = config.getoption("--rmap-scheme")
    if name is None:
        return None
    if CHOSEN not in config.stash:
        config.stash[CHOSEN] = _find(name)
    return config.stash[CHOSEN]


def _find(name: str) -> "type[Scheme]":
    from rmapcheck.model.machine.errors import ModelError
    from rmapcheck.plugins.find import find_scheme

    try:
        return find_scheme(name)
    except ModelError as error:
        raise pytest.UsageError(f"--rmap-scheme: {error}") from None


@pytest.fixture
def rmap_scheme(request: pytest.FixtureRequest) -> "type[Scheme]":
    """The scheme under test, a subclass of `rmapcheck.model.scheme.Scheme`."""
    scheme: type[Scheme] = request.param
    return scheme


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the fixture `rmap_scheme` once for each scheme."""
    if "rmap_scheme" not in metafunc.fixturenames or _parametrizes_scheme(metafunc):
        return
    from rmapcheck.plugins.catalogue import machines

    chosen = chosen_scheme(metafunc.config)
    found = [chosen] if chosen else list(machines().values())
    metafunc.parametrize("rmap_scheme", found, ids=[cls.name for cls in found], indirect=True)


def _parametrizes_scheme(metafunc: pytest.Metafunc) -> bool:
    marks = metafunc.definition.iter_markers("parametrize")
    return any("rmap_scheme" in str(mark.args[:1]) for mark in marks)


# Cases.


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a case file."""
    if file_path.suffix == ".json" and is_case_file(file_path):
        collector: pytest.Collector = CaseFile.from_parent(parent, path=file_path)
        return collector
    return None


def is_case_file(path: Path) -> bool:
    """Return whether `path` is a case file, perhaps a damaged one. The file is not parsed."""
    if path.name == SCHEMA:
        return False
    if _has_keys(path):
        return True
    if path.parent.name == FOLDER:
        return _has_cases(path.parent) or not _is_json(path)
    return _is_stump(path) and _has_cases(path.parent)


def _has_keys(path: Path) -> bool:
    head = _head(path, HEAD).replace(b"\0", b"")  # as UTF-16 writes them
    return any(all(key in head for key in keys) for keys in (KEYS, BEGINNING))


def _head(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; b"" if it cannot be read or is not a regular file."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                return file.read(size)
    except OSError:
        pass
    return b""


def _is_stump(path: Path) -> bool:
    """Return whether a file is empty, or has only the first bytes of a case."""
    return START.startswith(b"".join(_head(path, HEAD).replace(b"\0", b"").split()))


def _is_json(path: Path) -> bool:
    """Return whether a file is JSON; a file that is too large for a case is not parsed."""
    data = _head(path, LARGEST + 1)
    if len(data) > LARGEST:
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


@cache
def _has_cases(folder: Path) -> bool:
    """Return whether the folder has a case file, or the schema of cases."""
    schema = folder.name == FOLDER and _has_schema(folder / SCHEMA)
    return schema or any(_has_keys(path) for path in sorted(folder.glob("*.json")))


def _has_schema(path: Path) -> bool:
    return b"rmapcheck" in _head(path, HEAD)


class CaseFailed(Exception):  # noqa: N818 - not an error of the program, but a failed test
    """Raised when a case fails; pytest shows its text without a traceback."""


class CaseFile(pytest.File):
    """A JSON file with one case."""

    def collect(self) -> Iterator["CaseItem"]:
        """Yield the one test of the file, whose name is "replay"."""
        yield CaseItem.from_parent(self, name="replay")


class CaseItem(pytest.Item):
    """A test that replays a case and compares the verdict with the expected one."""

    def runtest(self) -> None:
        """Replay the case. Raise CaseFailed if it is damaged or has another verdict."""
        from rmapcheck.cases.case import load_case
        from rmapcheck.model.machine.errors import ModelError

        try:
            case = load_case(self._relative_path())
            why = replay_failure(case, self._scheme(case))
        except ModelError as error:
            raise CaseFailed(f"{error}.") from None
        if why:
            raise CaseFailed(why)

    def _relative_path(self) -> Path:
        """Return the path relative to the current folder, if the file is in it."""
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path

    def _scheme(self, case: "Case") -> "type[Scheme] | None":
        """Return the scheme of --rmap-scheme, or None for the one that the case names.

        Skip the test if the case is about another scheme, or about a plug-in that is not given.
        """
        chosen = chosen_scheme(self.config)
        if chosen is not None:
            if is_about(case, chosen):
                return chosen
            pytest.skip(f"the case is about {case.scheme}, not {chosen.name}")
        if ":" in case.scheme or case.scheme.endswith(".py"):
            pytest.skip(
                f"the case is about a plug-in; if you trust it, use --rmap-scheme {case.scheme}"
            )
        return None

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ANN401
        """Return the text of a CaseFailed; for other exceptions, the traceback."""
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the place of the case and its name in pytest's report."""
        return self.path, 0, f"case {self.path.stem}"


def is_about(case: "Case", scheme: "type[Scheme]") -> bool:
    """Return whether a case names `scheme`: by name, or by the class or the file of a plug-in."""
    file, colon, class_name = case.scheme.rpartition(":")
    if colon:
        return class_name == scheme.__name__
    if file or case.scheme.endswith(".py"):
        return Path(case.scheme).stem == scheme.__module__.removeprefix("rmapcheck_plugin_")
    return case.scheme == scheme.name


def replay_failure(case: "Case", scheme: "type[Scheme] | None" = None) -> str:
    """Replay a case. Return "" if it passes, otherwise an explanation of the run.

    A built-in scheme passes if it does what the case expects. A plug-in's case is kept so that a
    fixed bug does not come back: the plug-in passes if the run violates nothing, or is no longer
    possible.
    """
    from rmapcheck.cases.replay import replay_case, scheme_of
    from rmapcheck.plugins.guard import is_plugin, scheme_errors, watchdog
    from rmapcheck.report.explain import render

    cls = scheme or scheme_of(case)
    with scheme_errors(cls), watchdog(cls):
        done = replay_case(case, cls)
        own = is_plugin(cls)
        violated = done.replayed is not None and done.replayed.violations
        if (own and not violated) or (not own and done.as_expected):
            return ""
        text = render(case, "text", cls)
    if not own or done.replayed is None:
        return f"{done}\n\n{text}"
    names = " and ".join(v.invariant for v in done.replayed.violations)
    return f"{done.scheme}: VIOLATED({names}, step {done.replayed.step}).\n\n{text}"
