"""Files are written whole: a save that fails leaves what was there before, and nothing else."""

import os
import resource
import sqlite3
import stat
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest

from rmapcheck.cases.case import CaseError, load_case, save_case
from rmapcheck.cli import run
from rmapcheck.host.files import write_whole
from rmapcheck.model.machine.scope import Scope
from rmapcheck.search.checkpoint import CheckpointError, write
from rmapcheck.sweep.jobs import do, matrix
from rmapcheck.sweep.results import Results, ResultsError, merged
from rmapcheck.verdict import Exit

CASE = next(Path(__file__).parents[2].glob("counterexamples/B29-*.json"))
TINY = Scope(mms=1, pages=1, folios=1, swaps=0, ops=("mmap", "fault"))


@contextmanager
def files_of_at_most(size):
    """Let writing fail beyond `size` bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_old_content_stays_if_the_new_one_does_not_fit(tmp_path):
    path = tmp_path / "page.md"
    write_whole(path, "old")
    with files_of_at_most(2), pytest.raises(OSError, match="too large"):
        write_whole(path, "new and longer")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.md"]


def test_a_link_is_followed_and_permissions_stay(tmp_path):
    path, link = tmp_path / "page.md", tmp_path / "link.md"
    write_whole(path, "old")
    path.chmod(0o640)
    link.symlink_to("page.md")
    write_whole(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_that_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "page.md", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "page.md").stat().st_mode) == 0o640


def test_a_pipe_is_written_to(tmp_path):
    reader, writer = os.pipe()
    write_whole(Path(f"/dev/fd/{writer}"), "text")
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "text"


def test_a_case_that_does_not_fit_leaves_nothing(tmp_path):
    with files_of_at_most(100), pytest.raises(CaseError, match="cannot be written there"):
        save_case(load_case(CASE), tmp_path)
    assert names(tmp_path) == []


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path):
    path = tmp_path / "saved"
    write(path, {"n": 1}, [b"one"])
    before = path.read_bytes()
    with files_of_at_most(100), pytest.raises(CheckpointError, match="cannot be written"):
        write(path, {"n": 2}, [b"two" * 100])
    assert path.read_bytes() == before
    assert names(tmp_path) == ["saved"]


@pytest.mark.parametrize(
    "command",
    [
        ["export", CASE, "--format", "itf", "-o", "out"],
        ["show", CASE, "--format", "svg", "-o", "out"],
        ["minimize", CASE, "--save", "."],
        ["new", "mine"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_cannot_write_says_so_and_leaves_nothing(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with files_of_at_most(1000):
        code = run([str(word) for word in command])
    assert code == Exit.USAGE
    err = capsys.readouterr().err
    assert "too large" in err
    assert err.count("\n") == 1
    assert names(tmp_path) == []


def test_results_that_do_not_fit_leave_nothing(tmp_path):
    with files_of_at_most(100), pytest.raises(ResultsError, match=r"sweep\.sqlite"):
        Results(tmp_path / "sweep.sqlite", new=True)
    assert names(tmp_path) == []


def test_a_second_file_that_does_not_fit_takes_the_first_one_along(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".hidden").mkdir()
    monkeypatch.setattr("rmapcheck.cli.scaffold.TEST", _Long())
    with files_of_at_most(10_000):
        assert run(["new", "mine"]) == Exit.USAGE
    assert names(tmp_path) == [".hidden"]
    assert "cannot be written to" in capsys.readouterr().err


class _Long:
    def substitute(self, _words):
        return "x" * 20_000


def _results(path, *verdicts):
    (job,) = matrix(["avc-7.0"], scopes=(TINY,))
    done = do(job)
    with closing(Results(path, new=True)) as rows:
        for number, verdict in enumerate(verdicts):
            rows.put(attrs.evolve(job, seed=number), {**done, "verdict": verdict}, 1.0)


def test_a_merge_that_fails_changes_nothing(tmp_path):
    one, two, into = tmp_path / "one", tmp_path / "two", tmp_path / "into"
    _results(one, "HOLDS")
    _results(two, "VIOLATED")
    with pytest.raises(ResultsError, match="contradict"):
        merged([one, two], into)
    assert names(tmp_path) == ["one", "two"]
    merged([one], into)
    before = into.read_bytes()
    with pytest.raises(ResultsError, match="contradict"):
        merged([two], into)
    assert into.read_bytes() == before
    assert names(tmp_path) == ["into", "one", "two"]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"verdict": "HOLDS"}', '{"no": "job"}'])
@pytest.mark.parametrize("column", ["job", "result"])
def test_a_damaged_row_of_results_is_one_sentence(text, column, tmp_path, capsys):
    path = tmp_path / "sweep.sqlite"
    _results(path, "HOLDS")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"update result set {column} = ?", (text,))
    assert run(["sweep", "report", str(path)]) == Exit.USAGE
    assert "is damaged" in capsys.readouterr().err
