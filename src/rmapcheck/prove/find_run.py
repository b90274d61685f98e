"""Searches for a run of the model that breaks a lemma which could not be proved.

A CTI says that one step leads from some state to a state in which a lemma fails. The first state
may be unreachable. If a run from boot breaks the lemma in the model of the scheme, it is a bug.
The run is a shortest one in its scope, and is replayed before it is returned. A lemma fails before
its consequences (a page may be lost many steps later), so the search looks for the lemma first.
"""

import time
from collections.abc import Generator
from contextlib import closing, nullcontext

import attrs

from rmapcheck.cases.minimize import shortened
from rmapcheck.invariants.registry import INVARIANTS, applicable
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.proving import Report
from rmapcheck.prove.results import Result
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.auto import engine_for, general_for
from rmapcheck.search.native.general import General
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status, Verdict
from rmapcheck.verify.ladder import DEPTHS, LADDER, MEMORY_MB, NARROW, bug_scope

INVARIANT_OF_LEMMA = {
    "coverage_index": "coverage",
    "active_in_chain": "active_in_chain",
    "chain_only_if_faulted": "chain_symmetry",
    "avc_alive": "chain_symmetry",
    "relatives_have_one_root": "one_root",
    "root_alive": "one_root",
    "parent_alive": "use_after_free",
    "swapped_is_faulted": "coverage",
    "swap_relatives_agree": "coverage",
    "swap_cache_agrees": "coverage",
    "relatives_end_alike": "chain_order",
    "num_active_vmas": "anon_vma_counts",
    "num_children": "anon_vma_counts",
    "degree": "anon_vma_counts",
    "anon_refcount": "anon_vma_refcount",
    "swap_map": "swap_counts",
    "at_virtual": "address_known",
    "in_bundle": "address_known",
    "same_address": "address_known",
    "swap_at_one_address": "address_known",
    "swap_in_bundle": "address_known",
    "anonmm_count": "anonmm_counts",
}
"""Lemma → the invariant that a run would violate, for lemmas without an invariant of that name."""


@attrs.frozen(kw_only=True)
class RunSearch:
    """The result of a search for a real run."""

    verdict: Verdict
    """VIOLATED with the run, or UNKNOWN if none was found."""
    targets: tuple[str, ...]
    """The invariants that were searched for, in this order; "" means any invariant."""
    scopes: int
    seconds: float


def scheme_of(report: Report) -> tuple[str, type[Scheme]] | None:
    """Return name and class of the scheme of the model for the spec; None if there is none."""
    for name in (report.spec.name, *vars(type(report.spec)).get("schemes", ())):
        try:
            return name, find_scheme(name)
        except ModelError:
            continue
    return None


def most_concrete(failures: list[Result]) -> Result:
    """Return the failure to search a run for: a lemma that is also an invariant, if there is one.

    A page that the walk misses (walk_complete) is the latest consequence, so it comes last.
    """

    def rank(result: Result) -> int:
        name = result.goal.name
        if name == "walk_complete":
            return 2
        return 0 if name in INVARIANTS else 1 if name in INVARIANT_OF_LEMMA else 2

    return min(failures, key=rank)


def targets(scheme: type[Scheme], lemma: str) -> tuple[str, ...]:
    """Return the invariant of `scheme` to search for if `lemma` failed, then "" for any."""
    name = lemma if lemma in INVARIANTS else INVARIANT_OF_LEMMA.get(lemma, "")
    mine = {inv.name for inv in applicable(scheme)}
    return (name, "") if name in mine else ("",)


def find_run(scheme: type[Scheme], lemma: str, *, seconds: float = 60.0) -> RunSearch:
    """Search for a run of `scheme` that breaks `lemma`, then for any violation.

    The search takes at most `seconds` of CPU time.
    """
    began = time.monotonic()
    wanted = targets(scheme, lemma)
    tried = 0
    with closing(_searches(scheme, wanted, Limits.clock() + seconds)) as searches:
        for verdict in searches:
            tried += 1
            if verdict.status is Status.VIOLATED:
                break
        else:
            why = f"no run was found in {seconds:g} s and {tried} searches"
            verdict = Verdict(
                status=Status.UNKNOWN, scheme=scheme.name, scope=NARROW, engine="find_run", why=why
            )
    return RunSearch(
        verdict=verdict,
        targets=wanted,
        scopes=tried,
        seconds=time.monotonic() - began,
    )


def _searches(
    scheme: type[Scheme], wanted: tuple[str, ...], end: float
) -> Generator[Verdict, None, None]:
    """Yield verdicts: of wider and wider searches for each target, then of random runs."""
    likely = [bug_scope(cls) for cls in (scheme, *(bugs()[flaw] for flaw in scheme.era.flaws))]
    own = [(scope, None) for scope in likely if scope is not None]
    scopes = [*own, *((scope, DEPTHS.get(scope)) for scope in LADDER)]
    general = general_for(scheme, [scope for scope, _ in scopes])
    with general.building if general else nullcontext():
        for target in wanted:
            for scope, depth in scopes:
                if Limits.clock() > end:
                    return
                yield _search(Question(scheme, scope, target=target), depth, end, general)
    for target in wanted:
        left = end - Limits.clock()
        if left <= 0:
            return
        question = Question(scheme, NARROW, target=target)
        found = Walker(seed=0).answer(question, Limits(steps=10**7, seconds=left / 2))
        yield shortened(scheme, found.verdict)


def _search(question: Question, depth: int | None, end: float, general: General | None) -> Verdict:
    seconds = max(end - Limits.clock(), 0.1)
    limits = Limits(depth=depth, seconds=seconds, memory_mb=MEMORY_MB)
    return engine_for(question, general=general).answer(question, limits).verdict
