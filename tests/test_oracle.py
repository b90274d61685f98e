"""The oracle: the model against the kernel that is running, as far as this machine allows.

What needs root, a compiler and so on is skipped with the reason that the stage itself gives.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

import model
from model.operations import Fork, Mmap, SwapOut, Write, boot
from model.state import State
from rmapcheck.case import load_case
from rmapcheck.catalogue import bugs
from rmapcheck.cli import run
from rmapcheck.kernel import footprint, stage, swapping
from rmapcheck.kernel.build import build_program
from rmapcheck.kernel.eras import VERSION_RULES, era_of, predictor_of, running, version_of
from rmapcheck.kernel.errors import OracleError, Unavailable
from rmapcheck.kernel.footprint import Footprint
from rmapcheck.kernel.libc import detached_mount
from rmapcheck.kernel.mutants import MUTANTS, Mutant, hunt, planted
from rmapcheck.kernel.observe import ZERO, Frame, Look, Process
from rmapcheck.kernel.oracle import Episode, Oracle, Settings, minimized, scope_for
from rmapcheck.kernel.predict import Predictor, Step, model_look
from rmapcheck.kernel.rules import CHOICES, RULES, Coverage
from rmapcheck.kernel.snapshot import Snapshot
from rmapcheck.kernel.stage import Stage, Wishes

WAIT = 300.0
"""Seconds to wait for another test's run: there is one at a time on a machine."""
RMAPCHECK = [sys.executable, "-c", "from rmapcheck.cli import main; main()"]


@pytest.fixture
def turn():
    """Let one test at a time have the kernel, whichever worker it runs in."""
    path = Path(tempfile.gettempdir()) / f"rmapcheck-tests-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def live(turn):
    """Return a function that makes a stage, or skips the test where there is none."""
    with ExitStack() as stack:

        def make(**wishes):
            try:
                return stack.enter_context(Stage(Wishes(wait=WAIT, **wishes)))
            except OracleError as error:
                if isinstance(error, Unavailable) or "--shared-swap" in str(error):
                    pytest.skip(str(error))
                raise

        yield make


def started(*words):
    """Return a run of the command, once it has puppets; skip where the machine swaps already."""
    runner = subprocess.Popen(
        [*RMAPCHECK, "kernel", "--operations", "1000000", "--quiet", *words],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if until(lambda: len(puppets_of(runner.pid)) > 1 or runner.poll() is not None):
        if runner.poll() is None:
            return runner
        told = runner.stderr.read()
        if "--shared-swap" in told or runner.returncode == 3:
            pytest.skip(told or "another run is under way")
    runner.kill()
    pytest.fail("the run has not begun")


def traces(pid):
    """Return what a run of process `pid` has outside itself."""
    name = f"rmapcheck-{pid}"
    found = [s for s in footprint.swaps() if name in s]
    found += [str(p) for f in swapping.memory_cgroups() for p in f.glob(name)]
    try:
        fd = detached_mount("tracefs")
    except OSError:
        return found
    try:
        found += [p.name for p in Path(f"/proc/self/fd/{fd}/instances").glob(name)]
    finally:
        os.close(fd)
    return found


def puppets_of(pid):
    """Return the puppets of a session that process `pid` leads."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")
            if "(puppet-" in words[0] and words[2].split()[3] == str(pid) and words[2][1] != "Z":
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


# What the model says, without a kernel.


def state(*ops):
    st = State(scope_for(3, 4), running_or_newest()())
    boot(st)
    predictor = Predictor(st)
    for op in ops:
        list(predictor.run(Step((op,))))
    return predictor


def running_or_newest():
    return predictor_of((6, 18, 44))


SHARED = (Mmap(mm=1, start=0, length=2), Write(mm=1, address=0), Fork(mm=1, child=2))


def seen(predictor, number=700):
    """Return what a kernel would show that does as the model says, its frames from `number` on."""
    said = model_look(predictor.st)
    names = {f: number + f for f in said.frames}
    processes = {
        m: attrs.evolve(p, entries=tuple(names.get(e, e) for e in p.entries))
        for m, p in said.processes.items()
    }
    return Look(processes, {names[f]: frame for f, frame in said.frames.items()})


def test_a_kernel_that_does_as_the_model_says_has_no_difference():
    predictor = state(*SHARED)
    assert not list(predictor.compare(seen(predictor)))
    assert not list(predictor.compare(seen(predictor)))


def changed(look, **changes):
    process = attrs.evolve(look.processes[2], **changes)
    return Look({**look.processes, 2: process}, look.frames)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda k: Look({1: k.processes[1]}, k.frames), "existence"),
        (lambda k: changed(k, vmas=((0, 1, 3),)), "VMAs"),
        (lambda k: changed(k, vmas=((0, 2, 1),)), "VMAs"),
        (lambda k: changed(k, entries=(0, 0, 0, 0)), "entry"),
        (lambda k: changed(k, entries=(ZERO, 0, 0, 0)), "entry"),
        (lambda k: changed(k, entries=(-9, 0, 0, 0)), "entry"),
        (lambda k: changed(k, entries=(999, 0, 0, 0)), "same page"),
        (
            lambda k: Look(k.processes, {701: Frame(1, exclusive=False, swapcache=False)}),
            "mapcount",
        ),
        (
            lambda k: Look(k.processes, {701: Frame(2, exclusive=True, swapcache=False)}),
            "exclusive",
        ),
        (
            lambda k: Look(k.processes, {701: Frame(2, exclusive=False, swapcache=True)}),
            "swapcache",
        ),
    ],
)
def test_each_thing_that_a_kernel_shows_can_differ(change, what):
    predictor = state(*SHARED)
    assert [d.what for d in predictor.compare(change(seen(predictor)))] == [what]


def test_a_page_that_was_to_be_reused_and_is_another_is_a_difference():
    predictor = state(*SHARED)
    assert not list(predictor.compare(seen(predictor, 700)))
    assert {d.what for d in predictor.compare(seen(predictor, 800))} == {"same page"}


def test_two_pages_of_the_model_cannot_be_one_of_the_kernel():
    predictor = state(SHARED[0], SHARED[1], Write(mm=1, address=1))
    look = seen(predictor)
    entries = (look.processes[1].entries[0],) * 2 + (0, 0)
    look = Look({1: Process(((0, 2, 3),), entries)}, look.frames)
    assert "new page" in [d.what for d in predictor.compare(look)]


def test_a_snapshot_takes_back_whatever_an_operation_did():
    predictor = state(*SHARED)
    st = predictor.st
    raw = st.layout.encode_raw(st)
    before = Snapshot(st)
    list(predictor.run(Step((SwapOut(mm=1, address=0),))))
    assert st.layout.encode_raw(st) != raw
    before.restore()
    assert st.layout.encode_raw(st) == raw


# Rules and versions.


def test_the_rules_are_those_that_the_model_names():
    text = "".join(
        path.read_text()
        for folder in ("mm", "schemes")
        for path in sorted((Path(model.__file__).parent / folder).glob("*.py"))
        if path.name not in ("anon_vma.py", "pte_chain.py")
    )
    for rule in set(RULES) - set(CHOICES):
        assert f'"{rule}"' in text, rule
    named = re.findall(r"st\.rules\.append\(\s*((?:[^()]|\([^()]*\))*?)\)\n", text)
    words = {w for found in named for w in re.findall(r'"([^"]+)"', found)}
    assert words
    assert words - set(RULES) == set()


def test_coverage_wants_rare_rules_more_and_says_what_is_missing():
    coverage = Coverage(swap=False)
    assert "swap-in" not in coverage.missing()
    assert "first write" in coverage.missing()
    coverage.update({"first write": 3})
    assert "first write" not in coverage.missing()
    assert coverage.worth({"split"}) > coverage.worth({"first write"})


@pytest.mark.parametrize(
    ("release", "name", "many", "inherits"),
    [
        ("6.1.192", "avc-6.0", False, False),
        ("6.12.117-1-amd64", "avc-6.0", False, False),
        ("6.16.3", "avc-6.16", False, False),
        ("6.18.7", "avc-6.16", True, False),
        ("6.18.44-fc", "avc-6.16", True, True),
        ("7.2.0-rc1", "avc-7.0", True, True),
    ],
)
def test_a_version_has_its_era_and_its_rules(release, name, many, inherits):
    cls = predictor_of(version_of(release))
    assert (cls.name, cls.mremap_many, cls.inherits_copied_from) == (name, many, inherits)


def test_versions_that_nothing_is_known_of_are_refused():
    with pytest.raises(Unavailable, match=r"before v6\.1"):
        era_of((5, 10, 0))
    with pytest.raises(Unavailable, match="no kernel version"):
        version_of("linux")


def test_each_version_rule_names_a_switch_of_the_schemes():
    for rule in VERSION_RULES:
        assert not rule.holds((6, 1, 0))
        assert rule.holds((7, 0, 0))
        assert isinstance(getattr(era_of((6, 18, 0)), rule.attribute), bool)


def test_every_mutant_changes_the_model_and_is_gone_afterwards():
    assert len(MUTANTS) >= 20
    st = state(*SHARED).st
    for mutant in MUTANTS:
        with planted(mutant):
            pass
    assert model_look(state(*SHARED).st) == model_look(st)


def test_a_mutant_whose_text_is_gone_is_an_error():
    with (
        pytest.raises(OracleError, match="out of date"),
        planted(Mutant("gone", "model.mm.fork:dup_vma", "no such text", "")),
    ):
        pass


# The kernel.


@pytest.mark.parametrize("structure", [False, True])
def test_the_model_and_the_kernel_agree_and_nothing_is_left_behind(live, structure):
    mounts = Path("/proc/self/mounts").read_text()
    swaps = footprint.swaps()
    on = live(structure=structure)
    with on.stack:
        pids = [p.pid for p in on.puppets.alive.values()]
        tallies = Oracle(on, running(), Settings(operations=2_500, seed=2)).run()
        assert [str(d) for p in tallies.failed[-1:] for d in p.differences] == []
        assert tallies.operations >= 2_500
        assert len(tallies.coverage.missing()) < len(RULES) / 3
        if "swap" in on.tiers:
            assert tallies.walks
            assert tallies.coverage["swap-out of a shared page"]
        pids += [p.pid for p in on.puppets.alive.values()]
    assert Path("/proc/self/mounts").read_text() == mounts
    assert footprint.swaps() == swaps
    assert traces(os.getpid()) == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not footprint.note_path().exists()


QUICK = (
    "one count for children and VMAs (CVE-2022-42703)",
    "both sides join although they do not agree",
    "a write copies a page that nobody shares any more",
    "DONTUNMAP of a whole VMA leaves its anon_vma",
    "fork leaves PageAnonExclusive",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_rule_is_noticed(live, name):
    on = live()
    if "L1" not in on.tiers:
        pytest.skip(on.skipped["L1"])
    mutant = next(m for m in MUTANTS if m.name == name)
    assert hunt(on, running(), mutant, Settings(operations=12_000, seed=2)).failed


def test_a_difference_is_made_shorter_and_replays(live):
    on = live()
    mutant = next(m for m in MUTANTS if m.name.startswith("mremap fits"))
    with planted(mutant):
        oracle = Oracle(on, running(), Settings(operations=2_000, seed=1))
        failed = oracle.run().failed
        short = minimized(on, oracle.scheme, oracle.scope, failed)
    assert 1 < len(short) <= len(failed)
    assert short[-1].differences
    episode = Episode(on, oracle.scheme, oracle.scope)
    assert not any(episode.play(played.step).differences for played in short)


def test_pages_that_reclaim_leaves_mapped_are_a_difference(live, monkeypatch):
    on = live()
    if "swap" not in on.tiers:
        pytest.skip(on.skipped["swap"])
    monkeypatch.setattr(stage, "TRIES", 1)
    monkeypatch.setattr(on.performer, "reclaim", lambda: None)
    episode = Episode(on, running(), scope_for(6, 10))
    for op in SHARED:
        assert not episode.play(Step((op,))).differences
    assert "entry" in [d.what for d in episode.end()[-1].differences]


def test_what_a_page_holds_is_compared(live):
    on = live()
    episode = Episode(on, running(), scope_for(6, 10))
    for op in SHARED:
        episode.play(Step((op,)))
    episode.predictor.content = dict.fromkeys(episode.predictor.content, 4711)
    assert episode.end()[0].differences[0].what == "content"


# The ways in which it may not work.


def nobody(*words):
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]


def powerless(*words):
    return ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *words]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize("fewer", [nobody, powerless])
def test_without_rights_nothing_is_compared_and_nothing_passes(fewer, tmp_path, turn):
    tmp_path.chmod(0o777)
    call = subprocess.run(
        fewer(*RMAPCHECK, "kernel", "--operations", "60", "--no-swap", "--tier", "L0"),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
    )
    if "Permission denied" in call.stderr:
        pytest.skip("nobody cannot read this checkout")
    assert call.returncode == 3, call.stderr
    assert "nothing was compared" in call.stdout


def test_without_a_compiler_there_is_no_puppet(monkeypatch):
    monkeypatch.setattr("rmapcheck.kernel.build.compiler", lambda: None)
    with pytest.raises(Unavailable, match="no C compiler"):
        build_program("int main(void) { return 0; }", "puppet")


def test_a_program_that_does_not_compile_is_told_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="cannot be built"):
        build_program("int main(void) { return nothing; }", "puppet")


def refuse(*_):
    raise OSError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("target", "tier"),
    [
        ("rmapcheck.kernel.allocations.detached_mount", "L1"),
        ("rmapcheck.kernel.swapping.swapon", "swap"),
        ("rmapcheck.kernel.bpf.Peek._bpf", "L2"),
    ],
)
def test_a_tier_that_is_refused_is_skipped_with_its_reason(live, monkeypatch, target, tier):
    monkeypatch.setattr(target, refuse)
    on = live(structure=True)
    assert "Operation not permitted" in on.skipped[tier]
    assert tier not in on.tiers
    assert not Oracle(on, running(), Settings(operations=120, seed=3)).run().failed


def test_without_a_memory_cgroup_there_are_no_forced_walks(live, monkeypatch):
    monkeypatch.setattr(swapping, "memory_cgroups", list)
    on = live()
    assert "no memory cgroup" in on.skipped["swap"]
    assert traces(os.getpid()) in ([], [f"rmapcheck-{os.getpid()}"])  # the trace instance


def test_swap_that_is_in_use_is_left_alone(monkeypatch):
    monkeypatch.setattr(swapping, "swaps", lambda: ["/dev/sda2"])
    with pytest.raises(OracleError, match="--shared-swap"):
        swapping.check_swap(allowed=False)
    assert swapping.check_swap(allowed=True)


def test_one_run_at_a_time(tmp_path):
    path = tmp_path / "note"
    with Footprint(path), pytest.raises(Unavailable, match="another run"):
        Footprint(path).__enter__()
    with Footprint(path):
        pass
    assert not path.exists()


def test_a_note_is_believed_only_of_things_of_ours(tmp_path):
    path = tmp_path / "note"
    precious = tmp_path / "precious"
    precious.mkdir()
    path.write_text(json.dumps({"cgroup": str(precious), "swap": 3, "other": "rmapcheck-1"}))
    with Footprint(path) as ours:
        assert ours.undone == []
    assert precious.exists()
    path.write_text("no JSON")
    with Footprint(path) as ours:
        assert ours.undone == []


def test_a_killed_run_is_cleared_away_by_the_next(live):
    live().stack.close()
    mounts = Path("/proc/self/mounts").read_text()
    victim = started()
    try:
        assert traces(victim.pid)
    finally:
        victim.kill()
        victim.wait()
    assert until(lambda: not puppets_of(victim.pid))
    assert traces(victim.pid)
    on = live()
    assert on.footprint.undone
    assert traces(victim.pid) == []
    on.stack.close()
    assert Path("/proc/self/mounts").read_text() == mounts


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# The command.


@pytest.fixture
def command(live, capsys):
    """Return a function that runs the command line where there can be a run."""
    live(swap=False, allocations=False).stack.close()

    def call(*words):
        code = run(["kernel", *words])
        return code, capsys.readouterr().out

    return call


def test_the_command_says_what_was_compared(command):
    code, text = command("--operations", "400", "--json")
    said = json.loads(text)
    assert code == 0
    assert said["operations"] >= 400
    assert said["kernel"] == os.uname().release
    assert "L0" in said["tiers"]
    assert set(said["tiers"]) | set(said["skipped"]) == {"L0", "swap", "L1", "L2"}
    assert sum(said["rules"].values())


def test_the_command_explains_and_saves_a_difference(command, tmp_path):
    mutant = next(m for m in MUTANTS if m.name == "fork leaves PageAnonExclusive")
    with planted(mutant):
        code, text = command("--operations", "5000", "--save", str(tmp_path))
    assert code == 1
    assert "DIFFERENCE in step" in text
    assert "the kernel has False, the model True" in text
    [path] = tmp_path.glob("*.json")
    assert load_case(path).found.engine == "kernel"


def test_a_seeded_bug_may_predict(command, tmp_path):
    assert "B23" in bugs()
    code, text = command("--scheme", "B23", "--operations", "20000", "--save", str(tmp_path))
    assert code == 1
    assert "DIFFERENCE" in text
    assert command("--scheme", "B99")[0] == 3


@pytest.mark.parametrize(
    "words", [("--processes", "9"), ("--pages", "0"), ("--tier", "L9"), ("--directed", "2")]
)
def test_limits_that_are_none_are_told(words, capsys):
    assert run(["kernel", *words]) == 2
    assert words[0] in capsys.readouterr().err


def test_a_signal_ends_a_run_and_leaves_nothing(live):
    live().stack.close()
    runner = started()
    runner.send_signal(signal.SIGINT)
    _, told = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert "operations without a difference" in told
    assert traces(runner.pid) == []


# Everything, at night.


@pytest.mark.nightly
def test_every_mutant_is_noticed(live):
    on = live(structure=True)
    if "L2" not in on.tiers:
        pytest.skip(on.skipped["L2"])
    missed = [
        mutant.name
        for mutant in MUTANTS
        if not hunt(on, running(), mutant, Settings(operations=60_000, seed=2)).failed
    ]
    assert missed == []


@pytest.mark.nightly
def test_many_operations_meet_every_rule(live):
    on = live(structure=True)
    tallies = Oracle(on, running(), Settings(operations=50_000, seed=2)).run()
    assert [str(d) for p in tallies.failed[-1:] for d in p.differences] == []
    assert tallies.coverage.missing() == ()
