"""A killed search continues from its checkpoint; a wrong checkpoint is refused."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import attrs
import pytest

from rmapcheck.cli import run
from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.search import checkpoint
from rmapcheck.search.checkpoint import CheckpointError, Checkpoints, Reader
from tests.counts import counts

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

TINY = Scope(mms=2, pages=1, folios=2, swaps=1, objects=6, ops=("mmap", "fault", "fork", "swap"))
WHOLE = Scope(mms=2, pages=2, folios=2, swaps=0, premapped=2, ops=("mprotect", "fault", "fork"))
B23 = Scope(**bugs()["B23"].bug.scope | {"ops": tuple(bugs()["B23"].bug.scope["ops"])})
LONG = {
    "every state": (schemes()["avc-7.0"], attrs.evolve(WHOLE, alloc_fail=True), ""),
    "a bug": (bugs()["B23"], B23, bugs()["B23"].bug.violates),
}


def search(what, path, **options):
    scheme, scope, target = LONG[what]
    resume = path if path.exists() else None
    where = Checkpoints(path=path, every=0.05, resume=resume)
    return explore(scheme, scope, target=target, checkpoints=where, engine="native", **options)


def written(path):
    return path.stat().st_mtime_ns if path.exists() else 0


KILLS = [("every state", False, 9), ("every state", True, 9), ("a bug", True, 2)]


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(("what", "fingerprint", "times"), KILLS)
def test_a_killed_search_continues_and_ends_as_if_it_had_not_been_killed(
    what, fingerprint, times, tmp_path
):
    """Twenty kills in all, at random moments and with different numbers of workers."""
    scheme, scope, target = LONG[what]
    whole = explore(scheme, scope, target=target, fingerprint=fingerprint, engine="native")
    path, chance = tmp_path / "saved", random.Random(what)
    seen = set()
    for turn in range(times):
        process = multiprocessing.get_context("fork").Process(
            target=search,
            args=(what, path),
            kwargs={"workers": turn % 3 + 1, "fingerprint": fingerprint},
        )
        before = written(path)
        process.start()
        while written(path) == before and process.is_alive():
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if path.exists():
            seen.add(Reader(path).header()["has"]["next"])
    assert seen, "no checkpoint was written"
    assert counts(search(what, path, workers=2, fingerprint=fingerprint)) == counts(whole)


@pytest.mark.parametrize("limit", [{"max_states": 150}, {"max_depth": 4}, {"max_seconds": 0.0}])
@pytest.mark.parametrize("fingerprint", [False, True])
def test_a_search_that_a_limit_ended_can_continue(limit, fingerprint, tmp_path):
    scheme = schemes()["avc-6.0"]
    whole = explore(scheme, TINY, fingerprint=fingerprint, engine="native")
    where = Checkpoints(path=tmp_path / "saved")
    explore(
        scheme,
        TINY,
        checkpoints=where,
        workers=2,
        fingerprint=fingerprint,
        engine="native",
        **limit,
    )
    on = attrs.evolve(where, resume=where.path)
    done = explore(scheme, TINY, checkpoints=on, fingerprint=fingerprint, engine="native")
    assert counts(done) == counts(whole)
    again = explore(
        scheme, TINY, checkpoints=on, fingerprint=fingerprint, workers=4, engine="native"
    )
    assert counts(again) == counts(whole)


def test_an_interrupted_search_leaves_a_checkpoint(tmp_path):
    class Impatient:
        def progress(self, search):
            raise KeyboardInterrupt

    where = Checkpoints(path=tmp_path / "saved", every=1e9)
    with pytest.raises(KeyboardInterrupt):
        explore(*LONG["a bug"][:2], checkpoints=where, reporter=Impatient(), engine="native")
    assert Reader(where.path).header()["has"]["next"] > 0


# Checkpoints that are refused, and the error for each.

COMMAND = ("explore", "avc-6.0", "--mms", "2", "--pages", "1", "--ops", "mmap,fault,fork")


@pytest.fixture
def saved(tmp_path, capsys):
    path = tmp_path / "saved"
    assert run([*COMMAND, "--checkpoint", str(path)]) == 0
    capsys.readouterr()
    return path


def refused(capsys, *more, command=COMMAND):
    """Run explore, which must refuse; return its error, which must be one sentence."""
    assert run([*command, *map(str, more)]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    return sentence


def test_damage_in_any_region_is_refused(saved, capsys):
    good = saved.read_bytes()
    lines = len(good) - len(good.split(b"\n", 2)[2])
    places = [*range(0, lines, 61), *range(lines, lines + 40, 3), *range(lines, len(good), 997)]
    for place in [*places, len(good) - 1]:
        bad = bytearray(good)
        bad[place] ^= 0x11
        saved.write_bytes(bad)
        with pytest.raises(CheckpointError, match="saved"):
            explore(
                schemes()["avc-6.0"],
                Scope(mms=2, pages=1, ops=("mmap", "fault", "fork")),
                checkpoints=Checkpoints(resume=saved),
                engine="native",
            )
    assert str(saved) in refused(capsys, "--resume", saved)


def test_a_cut_or_lengthened_file_is_refused(saved, capsys):
    good = saved.read_bytes()
    for bad in (b"", good[:10], good[:200], good[: len(good) // 2], good[:-1], good + b"\0"):
        saved.write_bytes(bad)
        sentence = refused(capsys, "--resume", saved)
        assert str(saved) in sentence
        assert "without --resume the search starts again" in sentence


def test_a_checkpoint_of_another_search_is_refused(saved, capsys, monkeypatch):
    other = [*COMMAND[:1], "avc-7.0", *COMMAND[2:]]
    assert "with scheme avc-6.0, not avc-7.0" in refused(capsys, "--resume", saved, command=other)
    assert "with scope mms=2" in refused(capsys, "--resume", saved, "--folios", 2)
    assert "with symmetry True" in refused(capsys, "--resume", saved, "--no-symmetry")
    assert "with target none" in refused(capsys, "--resume", saved, "--target", "coverage")
    assert "with fingerprint" in refused(capsys, "--resume", saved, "--fingerprint")
    monkeypatch.setattr(build, "FLAGS", build.FLAGS)
    source = "rmapcheck.search.native.search.NativeSearch.identity"
    before = __import__(
        "rmapcheck.search.native.search", fromlist=["NativeSearch"]
    ).NativeSearch.identity
    monkeypatch.setattr(source, lambda self: before(self) | {"model": "edited"})
    assert "another version of the model" in refused(capsys, "--resume", saved)


def test_a_newer_format_is_refused(saved, capsys, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    assert run([*COMMAND, "--checkpoint", str(saved)]) == 0
    monkeypatch.undo()
    capsys.readouterr()
    sentence = refused(capsys, "--resume", saved)
    assert "has format 2, and this version of rmapcheck reads only format 1" in sentence


def test_files_that_cannot_be_read_or_written(tmp_path, capsys):
    gone = tmp_path / "no" / "such"
    assert "cannot be read" in refused(capsys, "--resume", gone)
    assert "cannot be written" in refused(capsys, "--checkpoint", gone)
    assert "no checkpoints" in refused(
        capsys, "--checkpoint", tmp_path / "x", "--engine", "python"
    )


def test_nothing_but_a_checkpoint_is_overwritten(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = tmp_path / "case.json"
    case.write_text("{}\n")
    assert "case.json is not a checkpoint" in refused(capsys, "--checkpoint", case)
    assert case.read_text() == "{}\n"
    assert ". is a folder" in refused(capsys, "--checkpoint", ".")
    assert "/dev/null is not a regular file" in refused(capsys, "--checkpoint", "/dev/null")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        checkpoint.write(case, {}, [])


def test_a_checkpoint_is_overwritten(saved):
    was = saved.stat().st_ino
    assert run([*COMMAND, "--checkpoint", str(saved)]) == 0
    assert saved.stat().st_ino != was


def test_a_failed_write_leaves_the_old_checkpoint(saved, monkeypatch):
    good = saved.read_bytes()

    def pieces():
        yield b"some"
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.write(saved, {}, pieces())
    assert saved.read_bytes() == good
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_well_formed_nonsense_is_refused(saved):
    reader = Reader(saved)
    header, (piece,) = reader.header(), reader.pieces()
    scope = Scope(mms=2, pages=1, ops=("mmap", "fault", "fork"))
    for nonsense in (piece + piece, piece[:-1], piece + b"\xff" * 30, b"\xff" * 64):
        checkpoint.write(saved, header, [nonsense])
        with pytest.raises(CheckpointError, match="makes no sense"):
            explore(
                schemes()["avc-6.0"], scope, checkpoints=Checkpoints(resume=saved), engine="native"
            )


def resumed(path, header, piece):
    """Write a checkpoint whose digests are right, and continue from it."""
    checkpoint.write(path, header, [piece])
    scope = Scope(mms=2, pages=1, ops=("mmap", "fault", "fork"))
    return explore(
        schemes()["avc-6.0"], scope, checkpoints=Checkpoints(resume=path), engine="native"
    )


def keys_of(piece):
    """Yield where in a piece each key begins, and its length."""
    at = 0
    while at < len(piece):
        size = int.from_bytes(piece[at + 8 : at + 10], "little")
        yield at + 10, size
        at += 10 + size


def test_bytes_that_cannot_be_a_state_are_refused(saved):
    """In the last state, all bits of one byte after another are inverted."""
    reader = Reader(saved)
    header, (piece,) = reader.header(), reader.pieces()
    assert resumed(saved, header, piece).verdict.how == "exhaustive"
    *_, (at, size) = keys_of(piece)
    for place in range(at, at + size):
        bad = bytearray(piece)
        bad[place] ^= 0xFF
        with pytest.raises(CheckpointError, match="makes no sense"):
            resumed(saved, header, bytes(bad))


@pytest.mark.parametrize(
    "change",
    [
        {"next": 5},
        {"next": 10**6},
        {"depth": 1},
        {"layer_end": 7},
        {"generated": 3},
        {"fired": [1] * 21},
        {"enabled": [10**6] * 21},
        {"fired": [0]},
        {"met": "all"},
        {"depth": None},
    ],
    ids=str,
)
def test_counters_that_contradict_the_states_are_refused(saved, change):
    reader = Reader(saved)
    header, (piece,) = reader.header(), reader.pieces()
    header["has"] |= change
    with pytest.raises(CheckpointError, match="makes no sense"):
        resumed(saved, header, piece)


@pytest.mark.parametrize("change", [{"has": 3}, {"is": None}, {"seconds": -1}, {"seconds": "1"}])
def test_a_header_of_other_things_is_refused(saved, change):
    reader = Reader(saved)
    header, (piece,) = reader.header(), reader.pieces()
    with pytest.raises(CheckpointError, match="makes no sense"):
        resumed(saved, header | change, piece)


def test_a_checkpoint_that_needs_more_memory_is_unknown(saved):
    scope = Scope(mms=2, pages=1, ops=("mmap", "fault", "fork"))
    done = explore(
        schemes()["avc-6.0"],
        scope,
        checkpoints=Checkpoints(resume=saved),
        max_memory_mb=1,
    )
    assert done.verdict.status.name == "UNKNOWN"


def test_the_header_is_plain_json(saved):
    line = Path(saved).read_bytes().split(b"\n")[1]
    assert json.loads(line)["is"]["scheme"] == "avc-6.0"
