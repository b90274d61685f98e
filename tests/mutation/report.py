"""Verifies every mutant, prints how each ended, and writes that to a JSON file.

    python -m tests.mutation.report [--seconds 20] [--jobs 2] [--json FILE]

Each mutant is verified in a process of its own, because a mutant may hang or crash.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rmapcheck.model.machine.errors import ModelError
from rmapcheck.search.question import EngineError
from rmapcheck.verdict import Status
from rmapcheck.verify.climb import Climber
from tests.mutation.mutants import mutants

PATIENCE = 15
"""A mutant may take so many times the budget, on a busy machine."""


def judge(index: int, seconds: float) -> dict[str, object]:
    """Verify one mutant, and return how that ended."""
    mutant = mutants()[index]
    try:
        report = Climber(mutant.install(), budget=seconds).climb()
    except (ModelError, EngineError) as error:
        return {"end": "refused", "by": str(error), "steps": 0, "rung": ""}
    verdict = report.verdict
    if verdict.status is Status.VIOLATED:
        by = verdict.violations[0].invariant
        rung = f"{report.rungs[-1].name} {report.rungs[-1].verdict.scope}"
        return {"end": "killed", "by": by, "steps": len(verdict.trace), "rung": rung}
    if report.not_run:
        return {"end": "not run", "by": report.not_run[0].missed, "steps": 0, "rung": ""}
    end = "holds" if verdict.status is Status.HOLDS else "unknown"
    return {"end": end, "by": verdict.why or verdict.how, "steps": 0, "rung": ""}


def in_a_process(index: int, seconds: float) -> dict[str, object]:
    """Judge one mutant in a child; a mutant that hangs or crashes is noticed, and so killed."""
    command = [sys.executable, "-m", "tests.mutation.report", "--one", str(index)]
    command += ["--seconds", str(seconds)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE * seconds
        )
    except subprocess.TimeoutExpired:
        return {"end": "hangs", "by": "", "steps": 0, "rung": ""}
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode or not last:
        text = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"end": "crashes", "by": text[:200], "steps": 0, "rung": ""}
    return json.loads(last[0])


def main() -> None:
    """Verify one mutant, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", type=int)
    parser.add_argument("--json", type=Path, default=Path("mutation.json"))
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(judge(given.one, given.seconds)))
        return
    every = mutants()
    with ThreadPoolExecutor(given.jobs) as pool:
        ends = pool.map(lambda i: in_a_process(i, given.seconds), range(len(every)))
        rows = []
        for mutant, end in zip(every, ends, strict=True):
            rows.append({"mutant": mutant.name, **end})
            print(f"{len(rows)}/{len(every)} {end['end']}: {mutant.name}", flush=True)
            given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
