"""The oracle on machines where it may not work, and that it leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmapcheck.host import footprint, swapping
from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.host.footprint import Footprint
from rmapcheck.host.libc import detached_mount
from rmapcheck.oracle.calibrate import calibrated_stage
from rmapcheck.oracle.eras import running
from rmapcheck.oracle.oracle import Oracle, Settings
from rmapcheck.oracle.puppets.build import build_program
from rmapcheck.oracle.rules import RULES
from rmapcheck.oracle.stage import StageOptions
from tests.processes import RMAPCHECK, default_signals

WAIT = 300.0


def started(*words):
    """Start the command and return it once it has puppets; skip if the machine already swaps."""
    with default_signals():
        runner = subprocess.Popen(
            [*RMAPCHECK, "kernel", "--operations", "1000000", "--quiet", *words],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    # Calibration has at most three puppets: with more, the run itself has begun.
    if until(lambda: len(puppets_of(runner.pid)) > 3 or runner.poll() is not None):
        if runner.poll() is None:
            return runner
        errors = runner.stderr.read()
        if "--shared-swap" in errors or runner.returncode == 3:
            pytest.skip(errors or "another run is under way")
    runner.kill()
    pytest.fail("the run has not begun")


def traces(pid):
    """Return what a run in process `pid` has set up on this machine."""
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
    """Return the puppets in the session whose leader is process `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")
            if "(puppet-" in words[0] and words[2].split()[3] == str(pid) and words[2][1] != "Z":
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


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


# Machines on which it does not work, or only in part.


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


def test_without_a_compiler_there_is_no_puppet(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("rmapcheck.oracle.puppets.build.compiler", lambda: None)
    with pytest.raises(Unavailable, match="no C compiler"):
        build_program("int main(void) { return 0; }", "puppet")


def test_a_program_that_is_in_the_cache_needs_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        made = build_program("int main(void) { return 0; }", "puppet")
    except Unavailable as why:
        pytest.skip(str(why))
    monkeypatch.setattr("rmapcheck.oracle.puppets.build.compiler", lambda: None)
    assert build_program("int main(void) { return 0; }", "puppet") == made


def isolated(script, *namespaces):
    """Return a shell script that runs in namespaces of its own."""
    return ["unshare", *namespaces, "sh", "-c", script]


RUN = f"{sys.executable} -c 'from rmapcheck.cli import main; main()' kernel --operations 90"
NAMESPACES = {
    "no memory cgroup is mounted": (
        isolated(f"umount -R /sys/fs/cgroup; {RUN}", "-m"),
        0,
        "skipped: swap",
    ),
    "the process ids are a namespace's": (
        isolated(f"{RUN} --structure", "-p", "-f", "--mount-proc"),
        0,
        "skipped: L1, L2",
    ),
    "the process ids are not those of /proc": (
        isolated(RUN, "-p", "-f"),
        3,
        "nothing was compared: /proc is that of another PID namespace",
    ),
    "root of a user namespace": (isolated(RUN, "-U", "-r"), 3, "nothing was compared: "),
    "a container hides the page counts": (
        isolated(f"mount --bind /dev/null /proc/kpagecount; {RUN}", "-m"),
        3,
        "nothing was compared: /proc/kpagecount is empty here",
    ),
    "there is no /proc": (isolated(f"umount -l /proc; {RUN}", "-m"), 3, "nothing was compared: "),
}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs unshare")
@pytest.mark.parametrize("name", NAMESPACES)
def test_a_container_skips_the_tiers_that_it_lacks(name, live):
    live().stack.close()
    command, code, word = NAMESPACES[name]
    call = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "unshare" in call.stderr or "mount: " in call.stderr:
        pytest.skip(call.stderr)
    assert call.returncode == code, call.stdout + call.stderr
    assert word in call.stdout
    assert not footprint.note_path().exists()


def test_a_program_that_does_not_compile_gets_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="cannot be built"):
        build_program("int main(void) { return nothing; }", "puppet")


def refuse(*_):
    raise OSError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("target", "tier"),
    [
        ("rmapcheck.oracle.puppets.allocations.detached_mount", "L1"),
        ("rmapcheck.host.swapping.swapon", "swap"),
        ("rmapcheck.oracle.observe.bpf.Peek._bpf", "L2"),
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


@pytest.fixture
def swapping_machine(turn, tmp_path):
    """Make the machine swap to a file of this test."""
    if footprint.swaps() or os.geteuid() != 0:
        pytest.skip("only root may swap, and only where nobody else does")
    path = tmp_path / "swap"
    try:
        swapping.write_swap_file(path)
        swapping.swapon(path)
    except OSError as error:
        pytest.skip(f"{path} cannot be used as swap ({error.strerror})")
    yield path
    footprint.undo_swap(path)


def test_swap_of_the_machine_is_used_only_with_shared_swap(swapping_machine):
    with pytest.raises(OracleError, match=r"swaps to .*; use --shared-swap"):
        calibrated_stage(StageOptions(wait=WAIT)).__enter__()
    with calibrated_stage(StageOptions(wait=WAIT, shared_swap=True)) as on:
        if "swap" not in on.tiers:
            pytest.skip(on.skipped["swap"])
        done = Oracle(on, running(), Settings(operations=1_500, seed=4)).run()
        assert not done.failed
        assert done.walks
        assert footprint.swaps() == [str(swapping_machine)]
    assert footprint.swaps() == [str(swapping_machine)]
    assert traces(os.getpid()) == []


def test_swap_that_is_in_use_is_left_alone(monkeypatch):
    monkeypatch.setattr(swapping, "swaps", lambda: ["/dev/sda2"])
    with pytest.raises(OracleError, match="--shared-swap"):
        swapping.check_swap(allowed=False)
    assert swapping.check_swap(allowed=True)


def test_what_cannot_be_undone_is_left_to_the_next_run(tmp_path, monkeypatch):
    path, owed = tmp_path / "note", tmp_path / "rmapcheck-1"
    owed.touch()
    ours = Footprint(path)
    with pytest.raises(OSError, match="not permitted"), ours:  # noqa: PT012 - the end raises
        ours.note("swap", owed)
        monkeypatch.setitem(footprint.UNDO, "swap", refuse)
        ours.undo("swap")
    monkeypatch.undo()
    with Footprint(path) as again:
        assert again.undone == [f"swap {owed}"]
    assert not owed.exists()
    assert not path.exists()


def test_one_run_at_a_time(tmp_path):
    path = tmp_path / "note"
    with Footprint(path), pytest.raises(Unavailable, match="another run"):
        Footprint(path).__enter__()
    with Footprint(path):
        pass
    assert not path.exists()


def test_only_names_of_our_own_are_cleared_away(tmp_path):
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_leaves_nothing(live, number):
    live().stack.close()
    runner = started()
    runner.send_signal(number)
    _, errors = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert "operations without a difference" in errors
    assert traces(runner.pid) == []
