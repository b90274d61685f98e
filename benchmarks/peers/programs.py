"""The programs that are compared: how each is built and run, and how its output is read."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import attrs
import promela
from avc_profile import Bounds

HERE = Path(__file__).parent
SPIN_FLAGS = ("-O2", "-DSAFETY", "-DNOREDUCE", "-DNOBOUNDCHECK", "-DMEMLIM=12000")
SPIN_SIZES = {"2,3,2,2": (110_000, 22), "3,2,2,3": (1_200_000, 24)}
"""Depth of the search stack (-m) and bits of the hash table (-w): slightly more than needed."""
RUMUR_FLAGS = ("--threads", "1", "--scalarset-schedules", "off", "--counterexample-trace", "off")
TIME_LIMIT = 7200


class PeerError(Exception):
    """A peer cannot be built or run, or its output has an unexpected form."""


@attrs.frozen
class Run:
    """The result of one run of one program, and its cost."""

    states: int
    transitions: int
    seconds: float
    """CPU time of the whole process, user and system."""
    megabytes: float
    """Its largest resident set."""
    search: float
    """CPU time without Python's start; the same as `seconds` where there is none."""


def cpu_of(command: list[str], folder: Path) -> tuple[str, float, float]:
    """Run a command; return what it printed, its CPU seconds and megabytes.

    Python's byte code is stored in `folder`, as for an installed program, even if
    PYTHONDONTWRITEBYTECODE is set.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(folder)
    with (folder / "output").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + TIME_LIMIT
        pid, status, used = 0, 0, None
        while not pid:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if not pid and time.monotonic() > deadline:
                process.kill()
            time.sleep(0 if pid else 0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise PeerError(f"{' '.join(command)} failed, {process.returncode}:\n{text[-2000:]}")
    return text, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def number(pattern: str, text: str) -> int:
    """Return the last number that `pattern` finds, after all reports of progress."""
    found = re.findall(pattern, text)
    if not found:
        raise PeerError(f"{pattern!r} is not in:\n{text[-2000:]}")
    return int(found[-1].replace(",", ""))


class Program:
    """One of the programs; call `make` before `run`."""

    name = ""
    symmetric = False

    def __init__(self, bounds: Bounds, folder: Path) -> None:
        self.bounds = bounds
        self.folder = folder / f"{self.name} {bounds}".replace(" ", "-")
        self.folder.mkdir(exist_ok=True)
        self.building = 0.0
        """CPU seconds of translators and compilers."""

    def make(self) -> None:
        """Build the program."""

    def run(self) -> Run:
        """Run once."""
        raise NotImplementedError


class Ours(Program):
    """rmapcheck's search in C, driven from Python."""

    name = "rmapcheck"
    kind = "brute"

    def make(self) -> None:
        text, _, _ = self._call("build")
        made = json.loads(text)
        self.building = made["translate"] + made["gcc"]

    def _call(self, what: str) -> tuple[str, float, float]:
        script = str(HERE / "ours.py")
        return cpu_of([sys.executable, script, str(self.bounds), what], self.folder)

    def run(self) -> Run:
        text, seconds, megabytes = self._call(self.kind)
        found = json.loads(text)
        if found["verdict"] != "exhaustive":
            raise PeerError(f"rmapcheck did not finish: {found['verdict']}")
        counts = found["states"], found["transitions"]
        return Run(*counts, seconds, megabytes, found["seconds"])


class OursSymmetric(Ours):
    """The same with symmetry."""

    name = "rmapcheck, symmetry"
    kind = "orbits"
    symmetric = True


class Spin(Program):
    """SPIN, exact, depth first."""

    name = "SPIN"

    def make(self) -> None:
        b = self.bounds
        model = promela.source(b.mms, b.pages, b.folios, b.anon_vmas)
        (self.folder / "avc.pml").write_text(model, encoding="utf-8")
        self.building += cpu_of(["spin", "-a", "avc.pml"], self.folder)[1]
        search = self.folder / "pan.c"
        text = search.read_text(encoding="utf-8")
        if "%9.8g" not in text:
            raise PeerError("pan.c of this SPIN prints its counts in another way")
        # Counts beyond 1e8 would be rounded.
        search.write_text(text.replace("%9.8g", "%.0f"), encoding="utf-8")
        gcc = ["gcc", "-w", *SPIN_FLAGS, "-o", "pan", "pan.c"]
        self.building += cpu_of(gcc, self.folder)[1]

    def run(self) -> Run:
        depth, bits = SPIN_SIZES.get(str(self.bounds), (100_000, 18))
        text, seconds, megabytes = cpu_of(["./pan", f"-m{depth}", f"-w{bits}"], self.folder)
        if "max search depth too small" in text or number(r"errors: (\d+)", text):
            raise PeerError(f"SPIN's search is not whole:\n{text}")
        # It counts the state before the first step, once as a state and once as a transition, and
        # the step that makes process 1.
        states = number(r"(\d+) states, stored", text) - 1
        transitions = number(r"(\d+) transitions \(=", text) - 2
        return Run(states, transitions, seconds, megabytes, seconds)


class Rumur(Program):
    """rumur without symmetry."""

    name = "rumur"
    reduction = "off"

    def make(self) -> None:
        b = self.bounds
        sizes = {"P": b.mms, "V": b.pages, "F": b.folios, "A": b.anon_vmas}
        sizes["N"] = b.mms * b.pages
        constants = " ".join(f"{name}: {value};" for name, value in sizes.items())
        body = (HERE / "avc.m").read_text(encoding="utf-8")
        (self.folder / "avc.m").write_text(f"const {constants}\n{body}", encoding="utf-8")
        reduction = ["--symmetry-reduction", self.reduction]
        for command in (
            ["rumur", *RUMUR_FLAGS, *reduction, "--output", "avc.c", "avc.m"],
            ["gcc", "-std=c11", "-w", "-O3", "-mcx16", "-o", "avc", "avc.c", "-lpthread"],
        ):
            self.building += cpu_of(command, self.folder)[1]

    def run(self) -> Run:
        text, seconds, megabytes = cpu_of(["./avc"], self.folder)
        states = number(r"([\d,]+) states", text)
        transitions = number(r"([\d,]+) rules fired", text)
        return Run(states, transitions, seconds, megabytes, seconds)


class RumurSymmetric(Rumur):
    """rumur with its scalarset symmetry, all permutations tried: its orbits are exact."""

    name = "rumur, symmetry"
    reduction = "exhaustive"
    symmetric = True


class RumurHeuristic(Rumur):
    """rumur with its heuristic symmetry: quicker, and more states than there are orbits."""

    name = "rumur, heuristic"
    reduction = "heuristic"
    symmetric = True


class Tlc(Program):
    """TLC, one worker; its jar is given by TLC_JAR."""

    name = "TLC"

    def make(self) -> None:
        b = self.bounds
        shutil.copy(HERE / "Avc.tla", self.folder)
        (self.folder / "Avc.cfg").write_text(
            f"CONSTANTS P = {b.mms} V = {b.pages} F = {b.folios} A = {b.anon_vmas}\n"
            "INIT Init NEXT Next INVARIANTS I1 I2 I3 I4 CHECK_DEADLOCK FALSE\n",
            encoding="utf-8",
        )

    def run(self) -> Run:
        java = ["java", "-Xmx6g", "-XX:+UseSerialGC", "-cp", os.environ["TLC_JAR"], "tlc2.TLC"]
        command = [*java, "-workers", "1", "-lncheck", "final", "Avc"]
        text, seconds, megabytes = cpu_of(command, self.folder)
        states = number(r"([\d,]+) distinct states found, 0 states left", text)
        # It counts the first state as generated.
        transitions = number(r"([\d,]+) states generated, [\d,]+ distinct", text) - 1
        return Run(states, transitions, seconds, megabytes, seconds)
