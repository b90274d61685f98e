"""pytest plug-in: replays saved cases, and hands schemes to the tests that ask for them.

``--rmap-scheme NAME_OR_FILE``
    The fixture `rmap_scheme` is this scheme; without the option a test that asks for it runs once
    for each scheme that comes with rmapcheck.
``*.json``
    Each case file is a test that replays it: a seeded bug must do what its case says, a scheme of
    your own must violate nothing (any more). A JSON file is one if it has a case's keys, or lies
    with such files in a folder called `counterexamples`, where a damaged file must not go unseen.

pytest loads this module in every project of the same environment. So it imports little, and it
leaves alone what is not a case.
"""

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
"""What every case has, near its head: keys are sorted, and only the steps are long."""
HEAD = 65_536
"""Bytes of a file that are looked at."""
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
    """Find the scheme at once, so that a wrong name is one error and not one for each test."""
    chosen_scheme(config)


# Schemes.


def chosen_scheme(config: pytest.Config) -> "type[Scheme] | None":
    """Return the scheme that the command line names, or None; raise UsageError for nonsense."""
    name = config.getoption("--rmap-scheme")
    if name is None:
        return None
    if CHOSEN not in config.stash:
        config.stash[CHOSEN] = _found(name)
    return config.stash[CHOSEN]


def _found(name: str) -> "type[Scheme]":
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
    """Run a test that asks for `rmap_scheme` once for each scheme."""
    if "rmap_scheme" not in metafunc.fixturenames or _has_its_own(metafunc):
        return
    from rmapcheck.plugins.catalogue import machines

    chosen = chosen_scheme(metafunc.config)
    found = [chosen] if chosen else list(machines().values())
    metafunc.parametrize("rmap_scheme", found, ids=[cls.name for cls in found], indirect=True)


def _has_its_own(metafunc: pytest.Metafunc) -> bool:
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
    """Tell whether `path` is a case, perhaps a damaged one; it is not parsed."""
    if path.name == SCHEMA:
        return False
    return _has_keys(path) or (path.parent.name == FOLDER and _is_ours(path.parent))


def _has_keys(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return all(key in head for key in KEYS)


@cache
def _is_ours(folder: Path) -> bool:
    """Tell whether the folder holds a case, and not just somebody else's JSON."""
    return any(_has_keys(path) for path in sorted(folder.glob("*.json")))


class CaseFailed(Exception):  # noqa: N818 - it says that a test has failed
    """What came of a case that is not as expected; its text is all that is shown."""


class CaseFile(pytest.File):
    """A JSON file that holds one case."""

    def collect(self) -> Iterator["CaseItem"]:
        """Yield the one test of the file, whose name is "replay"."""
        yield CaseItem.from_parent(self, name="replay")


class CaseItem(pytest.Item):
    """Replays a case and compares what happens with what the case expects."""

    def runtest(self) -> None:
        """Replay the case; raise CaseFailed if it is damaged or comes out otherwise."""
        from rmapcheck.cases.case import load_case
        from rmapcheck.model.machine.errors import ModelError

        try:
            case = load_case(self._shown())
            why = replayed(case, self._scheme(case))
        except ModelError as error:
            raise CaseFailed(f"{error}.") from None
        if why:
            raise CaseFailed(why)

    def _shown(self) -> Path:
        """Return the path as the user would write it."""
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path

    def _scheme(self, case: "Case") -> "type[Scheme] | None":
        """Return the scheme to replay on, None for the case's own; skip a case of another."""
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
        """Return the explanation; of our own faults, the traceback."""
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the case is and what it is called in the report."""
        return self.path, 0, f"case {self.path.stem}"


def is_about(case: "Case", scheme: "type[Scheme]") -> bool:
    """Tell whether a case names `scheme`: by its name, or as the class or file of a plug-in."""
    file, colon, class_name = case.scheme.rpartition(":")
    if colon:
        return class_name == scheme.__name__
    if file or case.scheme.endswith(".py"):
        return Path(case.scheme).stem == scheme.__module__.removeprefix("rmapcheck_plugin_")
    return case.scheme == scheme.name


def replayed(case: "Case", scheme: "type[Scheme] | None" = None) -> str:
    """Replay a case and return the explanation if it comes out otherwise than expected, or "".

    A seeded bug is expected to do what its case says. Of a plug-in a case is kept so that what it
    shows does not come back: nothing may be violated, and a run that the mended scheme does not
    allow any more is harmless too.
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
