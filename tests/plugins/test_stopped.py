"""Plug-ins that start processes, end them, never end, or take all memory are stopped."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rmapcheck.cli import run
from rmapcheck.host.compile import compiler
from rmapcheck.plugins import watchdog
from rmapcheck.verdict import Exit
from tests.cli.test_process import cpu_seconds
from tests.plugins.broken import plain
from tests.processes import started

COMMANDS = {
    "verify": ["verify", "mine.py", "--budget", "6"],
    "explore": ["explore", "mine.py", "--engine", "python"],
    "walk": ["fuzz", "mine.py", "--engine", "walk"],
    "hypothesis": ["fuzz", "mine.py", "--engine", "hypothesis", "--examples", "5"],
}
STARTS = {
    "fork": ("os.fork()", "os.fork"),
    "fork and go on": ("while True: os.fork()", "os.fork"),
    "fork, caught": ("try: os.fork()\nexcept BaseException: pass", "os.fork"),
    "exec": ("os.execv('/bin/true', ['true'])", "os.exec"),
    "spawn": ("os.spawnlp(os.P_WAIT, 'true', 'true')", "os."),
    "system": ("os.system('true')", "os.system"),
    "subprocess": ("subprocess.run(['true'])", "subprocess.Popen"),
    "multiprocessing": (
        "multiprocessing.get_context('spawn').Process(target=print).start()",
        "multiprocessing",
    ),
    "a pool": ("list(ProcessPoolExecutor(2).map(abs, [1]))", "starts a"),
    "a thread": ("threading.Thread(target=print).start()", "starts a thread"),
    "kill": ("os.kill(os.getppid(), 9)", "os.kill"),
    "fork of C": ("ctypes.CDLL(None).fork()", "fork() of the C library"),
}
IMPORTS = """\
import ctypes, os, subprocess, multiprocessing, threading, time
from concurrent.futures import ProcessPoolExecutor
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watchdog, "LOOP_SECONDS", 1.0)


def write(body, name="mine.py"):
    Path(name).write_text(IMPORTS + body)


def hook(statements):
    return plain(
        "def anon_vma_prepare(self, st, vma):\n"
        + textwrap.indent(statements, "    ")
        + "\n    return super().anon_vma_prepare(st, vma)\n"
    )


def stopped(capsys, *args):
    code = run([*args])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert code == Exit.USAGE, captured.out + captured.err
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("how", STARTS)
def test_a_hook_that_starts_a_process(how, capsys):
    statements, says = STARTS[how]
    write(hook(statements))
    err = stopped(capsys, *COMMANDS["verify"])
    assert "mine.py, line " in err
    assert "hook anon_vma_prepare" in err
    assert says in err
    assert err.endswith("which a scheme must not do.\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_engine_stops_a_fork(command, capsys, monkeypatch):
    monkeypatch.setattr("rmapcheck.cli.engines.check_behaviour", lambda *_, **__: 1)
    monkeypatch.setattr("rmapcheck.verify.climb.check_behaviour", lambda *_, **__: 1)
    write(hook("os.fork()"))
    assert "starts a process (os.fork)" in stopped(capsys, *COMMANDS[command])


@pytest.mark.parametrize("how", ["fork", "subprocess", "a thread", "fork of C"])
@pytest.mark.parametrize("name", ["mine.py", "mine:Mine"])
def test_an_import_that_starts_a_process(how, name, capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    statements, says = STARTS[how]
    write(statements + "\n" + plain(""))
    err = stopped(capsys, "explore", name)
    assert "importing it " in err
    assert says in err


def test_what_others_start_meanwhile_is_none_of_the_plug_ins_business():
    """The search compiles, and this file, which has a scheme, starts programs outside of it."""
    write(hook("pass"))
    program = """
import subprocess
from rmapcheck.explore import explore
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.plugins.guard import watchdog
class Mine(AvcPublish):
    name = "mine"
    def folio_free(self, st, folio):
        pass
with watchdog(Mine):
    scope = Scope(mms=1, pages=1, folios=1, swaps=0, ops=("mmap", "fault"))
    print(explore(Mine, scope, engine="native").verdict)
subprocess.run(["true"], check=True)
"""
    Path("program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"], capture_output=True, text=True, check=False
    )
    wanted = "HOLDS" if compiler() else "there is no C compiler"
    assert wanted in done.stdout + done.stderr


BASES = ("BaseException", "KeyboardInterrupt", "GeneratorExit", "asyncio.CancelledError")


@pytest.mark.parametrize(
    ("base", "command"),
    [*((base, "explore") for base in BASES), *(("BaseException", c) for c in COMMANDS)],
)
def test_an_exception_that_is_none_of_the_usual_ones(base, command, capsys, monkeypatch):
    monkeypatch.setattr("rmapcheck.cli.engines.check_behaviour", lambda *_, **__: 1)
    monkeypatch.setattr("rmapcheck.verify.climb.check_behaviour", lambda *_, **__: 1)
    write(f"import asyncio\nclass Odd({base}): pass\n" + hook("raise Odd('why')"))
    err = stopped(capsys, *COMMANDS[command])
    assert "hook anon_vma_prepare of scheme 'mine' raised Odd: why" in err


@pytest.mark.parametrize(
    "error",
    [
        "rmapcheck.run.NotPossible('no')",
        "rmapcheck.search.question.CannotCompileError('no')",
        "type('Silent', (Exception,), {'__str__': lambda self: 1 / 0})()",
        "Exception('two\\nlines')",
        "pytest.skip.Exception('no')",
        "StopIteration()",
        "MemoryError()",
    ],
)
def test_an_exception_that_looks_like_one_of_ours(error, capsys):
    imports = "import pytest, rmapcheck.run, rmapcheck.search.question\n"
    write(imports + hook(f"raise {error}"))
    assert "mine.py" in stopped(capsys, *COMMANDS["verify"])


@pytest.mark.parametrize("command", ["import", "import of a module"])
@pytest.mark.parametrize(
    "statement", ["raise BaseException('x')", "raise GeneratorExit", "exit()"]
)
def test_an_import_that_raises_what_is_no_exception(
    command, statement, capsys, monkeypatch, tmp_path
):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    write(f"{statement}\n{plain('')}")
    name = "mine.py" if command == "import" else "mine:Mine"
    assert "raised" in stopped(capsys, "explore", name)


def test_a_module_whose_import_does_not_end(capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    write("while True: pass\n" + plain(""))
    assert "mine.py, line 3: importing it does not end" in stopped(capsys, "explore", "mine:Mine")


@pytest.mark.parametrize(
    "statements", ["x = bytearray(1 << 50)", "x = [0] * (1 << 40)", "x = [0]\nwhile True: x += x"]
)
def test_memory_without_end(statements, capsys):
    write(hook(statements))
    err = stopped(capsys, *COMMANDS["verify"])
    assert "hook anon_vma_prepare of scheme 'mine' raised MemoryError" in err


# As a process.


def processes(*words, patience=30.0, **options):
    """Run the command line with a supervisor; return code, output, errors and what it left."""
    program = f"""
import sys
from rmapcheck.cli import main
from rmapcheck.host import stuck
from rmapcheck.plugins import watchdog
stuck.PATIENCE, watchdog.LOOP_SECONDS = {patience}, 0.5
main(sys.argv[1:])
"""
    session = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=-1,
        stderr=-1,
        text=True,
        start_new_session=True,
        **options,
    )
    out, err = session.communicate(timeout=120)
    left = subprocess.run(
        ["ps", "-o", "pid=", "-s", str(session.pid)], capture_output=True, text=True, check=False
    )
    return session.returncode, out, err, left.stdout.split()


CATCHES = """\
while True:
    try:
        while True:
            try:
                time.sleep(0.01)
            except BaseException: pass
    except BaseException: pass
"""
LINE = "mine.py, line 11: anon_vma_prepare "
ENDS = {
    "ends the process": ("os._exit(0)", "mine.py has ended the process of the command"),
    "aborts": ("os.abort()", LINE + "was ended by SIGABRT"),
    "a fault in C": ("ctypes.string_at(0)", LINE + "was ended by SIGSEGV"),
    "a loop in C": ("sum(iter(int, 1))", LINE + "runs code that does not end"),
    "a loop that catches": (CATCHES, ": anon_vma_prepare runs code that does not end"),
}


@pytest.mark.parametrize("how", ENDS)
def test_what_cannot_be_stopped_from_within_ends_with_the_process(how):
    statements, says = ENDS[how]
    write(hook(statements))
    ended, out, err, left = processes(*COMMANDS["verify"], patience=3.0)
    assert (ended, left) == (Exit.USAGE, []), out + err
    assert err.startswith("rmapcheck: mine.py")
    assert says in err
    assert err.count("\n") == 1


def test_helpers_of_python_may_end_by_themselves():
    pytest.importorskip("distributed")
    write(hook("pass"))
    scope = ("--mms", "1", "--pages", "1", "--ops", "mmap,fault")
    code, out, err, left = processes("sweep", "run", "mine.py", "--workers", "1", *scope)
    assert (code, err, left) == (Exit.EXPECTED, "", []), out


def test_a_long_search_is_not_taken_to_be_stuck():
    write(hook("pass"))
    words = ("explore", "mine.py", "--mms", "3", "--max-seconds", "4", "--quiet")
    code, out, err, left = processes(*words, patience=2.5)
    assert (code, err, left) == (Exit.INCONCLUSIVE, "", []), out


def test_an_end_that_is_none_of_the_commands_is_json_too():
    write(hook("os._exit(0)"))
    code, out, _err, left = processes(*COMMANDS["verify"], "--json")
    assert json.loads(out)["exit"] == code == Exit.USAGE
    assert left == []


def test_processes_that_code_in_c_has_started_are_killed():
    forks = "if ctypes.PyDLL(None)[f'fo{chr(114)}k']() == 0: time.sleep(1000)\n"
    write(
        "ONCE = []\n" + hook("if not ONCE:\n    ONCE.append(1)\n" + textwrap.indent(forks, "    "))
    )
    code, _out, err, left = processes(*COMMANDS["explore"])
    assert left == []
    assert code == Exit.USAGE, err


def test_the_exit_code_and_the_output_are_those_of_the_command():
    write(hook("pass"))
    words = ("explore", "mine.py", "--mms", "1", "--pages", "1", "--ops", "mmap,fault", "--quiet")
    code, out, err, left = processes(*words)
    assert (code, err, left) == (Exit.EXPECTED, "", [])
    assert out.startswith("mine: HOLDS(exhaustive")


def wait_for_cpu_seconds_of_a_child(pid, seconds):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if any(cpu_seconds(child) >= seconds for child in children):
            return
        time.sleep(0.05)


@pytest.mark.parametrize("to", ["supervisor", "all"])
def test_an_interruption_reaches_the_command_once(to):
    write(hook("pass"))
    words = [
        sys.executable,
        "-c",
        "from rmapcheck.cli import main; main()",
        "explore",
        "mine.py",
        "--mms",
        "3",
    ]
    with started(words, stdout=-1, stderr=-1, text=True, start_new_session=True) as process:
        wait_for_cpu_seconds_of_a_child(process.pid, 1.5)
        if to == "all":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    assert err.startswith("rmapcheck: interrupted")
    assert err.count("\n") == 1
