"""The jobs of a sweep, and how to do one.

A job is plain data that determines its result, and its id is a digest of that data. So a job may
be done twice, on another machine, or again after a crash: the result is the same.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from rmapcheck import invariants, model
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import scheme_errors, watchdog
from rmapcheck.sampling.walk import Walker
from rmapcheck.search import native
from rmapcheck.search.auto import engine_for
from rmapcheck.search.question import Engine, EngineError, Limits, Question
from rmapcheck.verdict import Exit
from rmapcheck.verify.expectation import exit_code, expected_bug
from rmapcheck.verify.ladder import LADDER, bug_scope

ENGINES = ("explore", "walk", "hypothesis")
SEEDED = ("walk", "hypothesis")


LIMITS = Limits(seconds=60.0, memory_mb=2000, steps=20_000)
"""The limits of each job. `steps` are operations of a walk; Hypothesis makes a hundredth as many
runs of fifty operations each."""
NAMES = {"states": "max_states", "seconds": "max_seconds", "memory_mb": "max_memory_mb"}
"""Limits that have another name in the data of a job; the id of a job depends on that name."""


@attrs.frozen(kw_only=True)
class Job:
    """One engine, on one scheme, in one scope, with one seed."""

    scheme: str
    """As `find_scheme` reads it."""
    scope: dict[str, Any]
    engine: str
    seed: int
    """0 for explore, which is not random."""
    limits: dict[str, Any]
    code: str
    """Digest of the model, the invariants and the scheme's own file."""

    @property
    def id(self) -> str:
        """The key of the job in files of results: a digest of all its fields."""
        text = json.dumps(attrs.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def matrix(
    schemes: Iterable[str],
    *,
    scopes: Iterable[Scope] = (),
    engines: Iterable[str] = ("explore",),
    seeds: Iterable[int] = (0,),
    limits: Limits = LIMITS,
) -> Iterator[Job]:
    """Yield the jobs for all combinations.

    Without `scopes`, a bug gets its own scope, and other schemes the first seven scopes of the
    ladder of verify. Raise SchemeError for a scheme that does not exist.
    """
    given, seeds = tuple(scopes), tuple(seeds)
    for name in schemes:
        cls = find_scheme(name)
        chosen = given or own_scopes(cls)
        for scope, engine in itertools.product(chosen, engines):
            for seed in seeds if engine in SEEDED else (0,):
                yield Job(
                    scheme=name,
                    scope={**attrs.asdict(scope), "ops": list(scope.ops)},
                    engine=engine,
                    seed=seed,
                    limits=limits_json(limits),
                    code=code_of(name),
                )


def own_scopes(cls: type[Scheme]) -> tuple[Scope, ...]:
    """Return the default scopes of a scheme."""
    own = bug_scope(cls)
    return (own,) if own else LADDER[:7]


@cache
def code_of(scheme: str) -> str:
    """Return a digest of all the code on which a verdict about `scheme` depends."""
    digest = hashlib.sha256()
    for package in (model, invariants, native):
        folder = Path(str(package.__file__)).parent
        for file in sorted((*folder.rglob("*.py"), *folder.rglob("*.c"))):
            digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    own, dot, _ = scheme.partition(".py")
    if dot:
        digest.update(Path(own + dot).read_bytes())
    return digest.hexdigest()[:16]


def do(job: Job) -> dict[str, Any]:
    """Do a job, and return its result as plain data.

    Raise ModelError if the code on this machine is not that of the sweep.
    """
    if code_of(job.scheme) != job.code:
        raise ModelError(
            f"this worker has another version of the model, or of {job.scheme}, than the sweep; "
            "install the same version on every machine"
        )
    cls = find_scheme(job.scheme)
    scope = Scope(**{**job.scope, "ops": tuple(job.scope["ops"])})
    bug = expected_bug(cls)
    question = Question(cls, scope, target=bug.violates if bug else "")
    try:
        with scheme_errors(cls), watchdog(cls):
            done = _engine(job, question).answer(question, limits_from(job.limits))
    except (ModelError, EngineError) as error:
        return empty_result("ERROR", f"ERROR({error})", Exit.USAGE)
    verdict = done.verdict
    return {
        "verdict": verdict.status.value,
        "text": str(verdict),
        "invariants": [v.invariant for v in verdict.violations],
        "trace": [str(op) for op in verdict.trace],
        "exit": int(exit_code(cls, verdict)),
        "states": done.distinct,
        "steps": done.generated,
        "depth": done.depth,
    }


def _engine(job: Job, question: Question) -> Engine:
    if job.engine == "explore":
        return engine_for(question)
    if job.engine == "walk":
        return Walker(seed=job.seed)
    if job.engine == "hypothesis":
        from rmapcheck.sampling.fuzz import Hypothesis

        return Hypothesis(seed=job.seed)
    raise ModelError(f"there is no engine {job.engine!r}; choose from {', '.join(ENGINES)}")


def limits_json(limits: Limits) -> dict[str, Any]:
    """Return the limits of a job as plain data."""
    names = ("states", "seconds", "memory_mb", "steps")
    return {NAMES.get(name, name): getattr(limits, name) for name in names}


def limits_from(data: dict[str, Any]) -> Limits:
    """Return the limits that `limits_json` wrote, with the number of runs of Hypothesis added."""
    names = {written: name for name, written in NAMES.items()}
    limits = Limits(**{names.get(written, written): value for written, value in data.items()})
    return attrs.evolve(limits, runs=max(1, limits.steps // 100) if limits.steps else None)


def empty_result(verdict: str, text: str, code: Exit) -> dict[str, Any]:
    """Return the result of a job that ended without a verdict, with all figures 0."""
    figures: dict[str, Any] = {"invariants": [], "trace": [], "states": 0, "steps": 0, "depth": 0}
    return {"verdict": verdict, "text": text, "exit": int(code), **figures}
