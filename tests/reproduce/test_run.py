"""Cases on real kernels: booting, reading the log, and that nothing is left behind."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.host.boot import Log, initramfs, kind_of, run_kernel, run_session
from rmapcheck.host.compile import cache_folder
from rmapcheck.host.errors import OracleError
from rmapcheck.host.swapping import memory_cgroups
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.oracle.puppets.build import build_program
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.plugins.find import find_scheme
from rmapcheck.reproduce.prediction import predict
from rmapcheck.reproduce.program import to_c
from rmapcheck.reproduce.run import FLAGS, _run_here, read_log, reproduce
from rmapcheck.verdict import Exit
from tests.processes import RMAPCHECK

FOLDER = Path(__file__).parents[2] / "counterexamples"
B23 = FOLDER / "B23-lost-page.json"
GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="there is no gcc")

LOST = """\
kernel: Linux 6.1.192 x86_64
mapped: process 1 page 0: 0 of 200
mapped: process 2 page 0: 0 of 200
mapped: process 2 page 1: 0 of 200
mapped: process 3 page 0: 0 of 200
mapped: process 3 page 1: 200 of 200 (in the model it stays mapped)
VERDICT: BUG 1 page stayed mapped, just those of the model
"""
FINE = LOST.replace("200 of 200", "0 of 200").replace("BUG 1 page stayed", "OK")


def rmapcheck(*arguments):
    command = [*RMAPCHECK, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read(text, case=B23, scheme="", **log):
    saved = load_case(case)
    cls = find_scheme(scheme or saved.scheme)
    return read_log(saved, predict(saved, cls), Log(text=text, seconds=1.0, **log))


# The log.


def test_the_lost_page_is_the_one_of_the_model():
    done = read(LOST)
    assert (done.verdict, done.kernel) == ("BUG", "Linux 6.1.192 x86_64")
    assert done.stayed == {(3, 1)}
    assert done.exit is Exit.EXPECTED


def test_a_fixed_kernel_does_as_the_fixed_scheme():
    done = read(FINE)
    assert done.verdict == "OK"
    assert done.exit is Exit.UNEXPECTED
    assert done.agrees(done.fixed)
    assert read(FINE, scheme="avc-6.0").exit is Exit.EXPECTED


@pytest.mark.parametrize(
    "text",
    [
        LOST.replace("page 1: 200", "page 1: 0").replace("page 0: 0", "page 0: 200"),
        LOST.replace("process 2 page 1: 0", "process 2 page 1: 200"),
        LOST.replace("VERDICT: BUG", "VERDICT: OK"),
        FINE.replace("VERDICT: OK", "VERDICT: BUG a page does not hold what was written to it"),
        LOST + "BUG: KASAN: slab-use-after-free in folio_lock_anon_vma_read+0xc8/0x590\n",
    ],
    ids=["elsewhere", "one more", "no bug", "contents", "splat"],
)
def test_anything_else_does_not_agree(text):
    done = read(text)
    assert done.exit is Exit.UNEXPECTED
    assert not done.agrees(done.fixed)


def test_a_reader_of_freed_memory_may_break_the_kernel():
    broken = "kernel: Linux 6.19.0\nBUG: KASAN: slab-use-after-free in x\nKernel panic - not y\n"
    done = read(broken, FOLDER / "B29-unfaulted-mremap-merge.json")
    assert done.splats == ("BUG: KASAN: slab-use-after-free in x", "Kernel panic - not y")
    assert done.exit is Exit.EXPECTED
    assert read(broken).exit is Exit.UNEXPECTED


def test_without_a_verdict_nothing_is_said():
    skipped = read("VERDICT: SKIP no swap is in use\n")
    assert (skipped.verdict, skipped.reason) == ("SKIP", "no swap is in use")
    for done in (skipped, read("Linux version 6.1\n"), read("", timed_out=True)):
        assert done.exit is Exit.INCONCLUSIVE


def test_a_run_that_cannot_tell_is_inconclusive():
    case = FOLDER / "B19-endless-growth.json"
    done = read("mapped: process 1 page 0: 0 of 200\nVERDICT: OK\n", case)
    assert not done.distinguishes
    assert done.exit is Exit.INCONCLUSIVE


def test_a_title_cannot_pass_for_a_verdict():
    text = LOST.replace("kernel:", "case: VERDICT: OK\nkernel:")
    assert read(text).verdict == "BUG"


# Booting.


def test_what_is_no_kernel_is_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n")
    for path in (text, tmp_path / "nothing", tmp_path):
        with pytest.raises(ModelError, match=r"kernel"):
            kind_of(path)
    image = tmp_path / "bzImage"
    image.write_bytes(bytes(0x202) + b"HdrS" + bytes(100))
    assert kind_of(image) == "qemu"
    assert kind_of(Path(sys.executable).resolve()) == "uml"


def test_the_initramfs_is_one_that_cpio_reads(tmp_path):
    if shutil.which("cpio") is None:
        pytest.skip("there is no cpio")
    image = initramfs(b"program", [b"first", b"second!"])
    assert len(image) % 4 == 0
    listed = subprocess.run(
        ["cpio", "-it", "--quiet"], input=image, capture_output=True, check=True
    )
    names = ["dev", "proc", "sys", "modules", "dev/console", "init"]
    assert listed.stdout.decode().split() == [*names, "modules/00.ko", "modules/01.ko"]
    one = subprocess.run(
        ["cpio", "-i", "--quiet", "--to-stdout", "modules/01.ko"],
        input=image,
        capture_output=True,
        check=True,
    )
    assert one.stdout == b"second!"


def kernel_that(does, folder):
    """Return a stand-in for a kernel: an executable with this C code."""
    source = folder / "kernel.c"
    source.write_text(
        "#include <stdio.h>\n#include <signal.h>\n#include <unistd.h>\n"
        f"int main(void) {{ {does} return 0; }}\n"
    )
    program = folder / "kernel"
    subprocess.run([GCC, "-O", "-o", str(program), str(source)], check=True)
    return program


def printing(text):
    return f"fputs({json.dumps(text)}, stdout);"


@needs_gcc
def test_a_kernel_that_hangs_is_given_up_and_gone(tmp_path):
    mark = tmp_path / "pid"
    hang = (
        'signal(SIGTERM, SIG_IGN); puts("booting"); fflush(stdout); if (fork() == 0) '
        f'{{ FILE *f = fopen("{mark}", "w"); fprintf(f, "%d", getpid()); fclose(f); }} '
        "for (;;) pause();"
    )
    kernel = kernel_that(hang, tmp_path)
    program = tmp_path / "program"
    program.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rmapcheck.host.boot.TIME_TO_CLEAN_UP", 0.2)
        log = run_kernel(kernel, program, seconds=0.5)
    assert log.timed_out
    assert log.text == "booting\n"
    end = time.monotonic() + 5
    while Path(f"/proc/{mark.read_text()}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{mark.read_text()}").exists()


@needs_gcc
def test_the_command_shows_both_and_says_whether_they_agree(tmp_path):
    lost = kernel_that(printing(LOST), tmp_path)
    done = rmapcheck("kernel", "run", B23, "--kernel", lost)
    assert done.returncode == 0, done.stderr
    assert "3        1     200 of 200            stays mapped  -" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "as expected, the kernel behaves like B23: "
        "BUG (1 page stayed mapped, just those of the model)."
    )
    done = rmapcheck("kernel", "run", B23, "--kernel", lost, "--holds")
    assert done.stdout.splitlines()[-1].startswith(
        "not as expected, the kernel does not behave like avc-6.0: BUG (1 page"
    )
    done = rmapcheck("kernel", "run", B23, "--kernel", lost, "--holds", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["predictions"] == {"avc-6.0": {"stays": [], "agrees": False}}
    fine = kernel_that(printing(FINE), tmp_path)
    done = rmapcheck("kernel", "run", B23, "--kernel", fine)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "not as expected, the kernel does not have the bug of B23: "
        "it behaves like avc-6.0, which is expected with --holds."
    )
    done = rmapcheck("kernel", "run", B23, "--kernel", fine, "--holds")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(
        "as expected, the kernel behaves like avc-6.0: OK"
    )


@needs_gcc
def test_the_command_says_when_nothing_is_shown(tmp_path):
    silent = kernel_that(printing("hello"), tmp_path)
    log = tmp_path / "log"
    done = rmapcheck("kernel", "run", B23, "--kernel", silent, "--log", log)
    assert done.returncode == 3
    assert "nothing is known about this kernel" in done.stdout
    assert log.read_text() == "hello"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ((B23, "--kernel", "nothing"), 2, "cannot be read"),
        ((B23, "--kernel", B23), 2, "is not a kernel"),
        ((B23, "--arenas", "0"), 2, "--arenas must be"),
        ((B23, "--timeout", "nan"), 2, "--timeout must be"),
        ((B23, "--memory", "1"), 2, "--memory must be"),
        ((FOLDER / "B21-degree-underflow.json", "--kernel", sys.executable), 2, "step 3"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments, code, word):
    done = rmapcheck("kernel", "run", *arguments)
    assert done.returncode == code
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_root_nothing_is_tried_on_the_running_kernel():
    if os.geteuid() == 0:
        pytest.skip("this is root")
    assert rmapcheck("kernel", "run", B23).returncode == 3


# The running kernel.


@contextmanager
def running_kernel():
    """Skip if this machine or user cannot run a case; check that nothing is left behind."""
    if os.geteuid() != 0:
        pytest.skip("only root may swap")
    try:
        yield
    except OracleError as why:  # no cgroups, or somebody else's swap
        pytest.skip(str(why))


def check_left_nothing(log):
    assert not list(cache_folder().glob(f"rmapcheck-{os.getpid()}.swap"))
    for folder in memory_cgroups():
        assert not (folder / f"rmapcheck-reproducer-{log.pid}").exists()


@needs_gcc
@pytest.mark.parametrize("name", ["B23-lost-page", "B02-in-v6"])
def test_the_running_kernel_has_no_such_bug(name):
    case = load_case(FOLDER / f"{name}.json")
    with running_kernel():
        done = reproduce(case, without_bug(find_scheme(case.scheme)), arenas=60)
    if done.verdict == "SKIP":
        pytest.skip(done.reason)
    assert done.exit is Exit.EXPECTED, done.log.text
    check_left_nothing(done.log)


def planted(text, *changes):
    """Return the C program with these changes; each text to be replaced must occur once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return build_program(text, "reproducer", FLAGS)


TOUCH = ("\treclaim_all();\n", "\treclaim_all();\n\task(3, CONTENTS);\n")
"""Imitates a page that the rmap has lost: process 3 maps its pages again after the reclaim."""
PLANTED = {
    "mapped again": (1, "BUG 2 pages stayed mapped, and not just those of the model", TOUCH),
    "wrong contents": (
        1,
        "BUG a page does not hold what was written to it",
        ("[2][1] = { .holds = ANON, .value = 11 }", "[2][1] = { .holds = ANON, .value = 12 }"),
    ),
    "elsewhere": (
        4,
        "SKIP process 1 has page 0 in 40 of 40 arenas, in the model in none",
        ("[1][0] = { .holds = ANON, .value = 2 },", "[1][1] = { .holds = ANON },"),
    ),
    "result": (
        4,
        "SKIP step 2 returns 0 here, and -14 in the model",
        (".what = WRITE, .mm = 1, .start = 0,", ".what = WRITE, .mm = 1, .result = -14,"),
    ),
    "controls": (
        4,
        "SKIP 40 of 40 unshared pages of process 1 were not reclaimed either",
        ("\treclaim();\n\tfor", "\treclaim();\n\tmap_controls();\n\tfor"),
    ),
    "few": (
        4,
        "SKIP some pages stayed mapped, but in less than half of the arenas",
        ("\tint stays = 2 * present >= arenas,", "\tint stays = (present = 1, 0),"),
    ),
}


@needs_gcc
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_noticed_on_the_running_kernel(name):
    code, says, change = PLANTED[name]
    program = planted(to_c(load_case(B23)), change)
    with running_kernel():
        log = _run_here(program, ("-n", "40"), 60, shared_swap=False)
    if "no memory cgroup" in log.text:
        pytest.skip("no cgroup can be made here")
    assert log.text.splitlines()[-1] == f"VERDICT: {says}"
    assert log.code == code
    check_left_nothing(log)


@needs_gcc
def test_a_program_that_is_stopped_cleans_up(tmp_path):
    """It is stopped in the middle of its work; all that it has set up is gone afterwards."""
    if os.geteuid() != 0 or not memory_cgroups():
        pytest.skip("only root may make a cgroup")
    program = planted(
        to_c(load_case(B23)),
        ("\trun_steps();\n", "\tkill(getpid(), SIGTERM);\n\trun_steps();\n"),
        ("\tif (lines < 2)\n", "\tif (0)\n"),
    )
    log = run_session([str(program), "-n", "5"], tmp_path, 20)
    assert not log.timed_out
    assert log.text.splitlines()[-1] == "VERDICT: SKIP interrupted, or too slow"
    check_left_nothing(log)
