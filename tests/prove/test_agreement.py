"""The invariants of the model and the lemmas of the specs agree on the same states.

Each property is written twice: as a generator over a state (invariants/), and as a formula of a
spec (src/rmapcheck/specs). Here both are evaluated in every state of small scopes, and in states
that seeded bugs have broken: if one fails, the other must fail, too.
"""

from pathlib import Path

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.explore import explore
from rmapcheck.invariants.registry import INVARIANTS, Invariant, Violation, applicable
from rmapcheck.logic.steps import Steps
from rmapcheck.model.machine.errors import KernelOops
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.refinement import abstraction
from rmapcheck.prove.refinement.abstraction import Abstraction
from rmapcheck.prove.registry import spec_of
from rmapcheck.run import replay
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import FILES, LADDER
from tests.designs import sweep, sweep_of_bugs
from tests.prove.test_refinement import NARROW, SPECIFIED, has_spec

CASES = Path(__file__).parents[2] / "counterexamples"
NAME = "agreement"

ALIKE = {
    "walk_complete": ("walk_complete",),
    "coverage": ("coverage", "coverage_index"),
    "mapping_alive": ("mapping_alive",),
    "active_in_chain": ("active_in_chain", "chain_only_if_faulted"),
    "chain_order": ("chain_order",),
    "one_root": ("one_root",),
    "chain_ancestors": ("chain_ancestors",),
    "chain_equals_ptes": ("chain_equals_ptes",),
    "swap_relatives_agree": ("swap_relatives_agree",),
    "address_known": ("at_virtual", "in_bundle"),
}
"""An invariant fails in exactly the states in which one of these lemmas fails."""
STRONGER = {
    "same_anon_vma_same_chain": ("same_anon_vma_same_chain",),
}
"""The lemma is stronger (for VMAs in several processes): it fails wherever the invariant does."""
WEAKER = {
    "no_leak": ("no_leak",),
    "no_dangling": ("avc_alive", "root_alive", "parent_alive"),
}
"""The lemmas are weaker (for anon_vmas only): the invariant fails wherever one of them does."""


class Agreement:
    """An observer that compares, in each state, which invariants and which lemmas fail."""

    def __init__(self, scheme):
        spec = spec_of(scheme)
        self.lemmas = {lemma.name for lemma in spec.lemmas}
        self.abstraction = Abstraction(spec)
        self.steps = Steps(spec)
        self.mine = {inv.name for inv in applicable(scheme)}
        self.states = 0
        self.broken = set()
        """Invariants that failed somewhere, and lemmas."""
        self.invariant = Invariant(name=NAME, source="", universal=False, state=self.violations)

    def __call__(self, st, event, *objects):
        """Ignore events."""

    def violations(self, st):
        """Both sides fail, or neither does."""
        self.states += 1
        failing = set(self.steps.violated(self.abstraction.of(st)))
        self.broken |= {f"lemma {name}" for name in failing}
        for table, here, there in (
            (ALIKE, True, True),
            (STRONGER, True, False),
            (WEAKER, False, True),
        ):
            for name, lemmas in table.items():
                if name not in self.mine or not self.lemmas.issuperset(lemmas[:1]):
                    continue
                fails = fails_in(st, name)
                broken = failing.intersection(lemmas)
                if fails:
                    self.broken.add(name)
                if (here and fails and not broken) or (there and broken and not fails):
                    yield Violation(name, f"{fails!r}", f"{broken}")


def fails_in(st, name):
    """Return whether the invariant fails in the state; an oops in it counts as a failure."""
    try:
        return str(next(INVARIANTS[name].state(st), ""))
    except KernelOops as oops:
        return str(oops)


@pytest.mark.parametrize("scope", [*LADDER[:3], FILES[0]], ids=range(4))
@pytest.mark.parametrize("name", sweep(SPECIFIED))
def test_both_hold_in_every_state_of_a_small_scope(name, scope):
    cls = find_scheme(name)
    observer = Agreement(cls)
    done = explore(cls, scope, observer=observer, target=NAME)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    assert observer.states >= done.distinct
    assert observer.broken == set()


@pytest.mark.nightly
@pytest.mark.parametrize("scope", LADDER[3:7], ids=range(3, 7))
@pytest.mark.parametrize("name", SPECIFIED)
def test_both_hold_in_every_state_of_a_larger_scope(name, scope):
    cls = find_scheme(name)
    observer = Agreement(cls)
    done = explore(cls, scope, observer=observer, target=NAME)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    assert observer.broken == set() or spec_of(cls).flaws


BEYOND = ("E32",)
"""Its walk follows an anonmm to an mm_struct that has been freed; specs have no such reference."""


@pytest.mark.parametrize(
    "name", sweep_of_bugs(n for n in bugs() if has_spec(find_scheme(n)) and n not in BEYOND)
)
def test_both_fail_in_the_same_states_that_a_bug_has_broken(name):
    """The search continues after broken states: only a disagreement ends it."""
    cls = find_scheme(name)
    for scope in LADDER[:3]:
        done = explore(cls, scope, observer=Agreement(cls), target=NAME)
        assert done.verdict.status is Status.HOLDS, done.verdict.violations
    found = Walker(seed=1, restart=40).answer(
        Question(cls, NARROW, target=NAME, observer=Agreement(cls)), Limits(steps=800)
    )
    assert found.verdict.status is Status.SAMPLED, found.verdict.violations


BROKEN = {
    "B01-copy-from-importer": {"active_in_chain", "coverage", "mapping_alive", "walk_complete"},
    "B02-newest-for-shared": {"coverage", "walk_complete"},
    "B03-clone-forward": {"chain_order", "coverage", "walk_complete"},
    "B04-adopt-any-neighbour": {"same_anon_vma_same_chain", "chain_order", "coverage"},
    "B04-in-v6": {"same_anon_vma_same_chain", "one_root", "chain_ancestors", "coverage"},
    "B23-lost-page": {"same_anon_vma_same_chain", "coverage", "walk_complete"},
    "B29-unfaulted-mremap-merge": {"coverage", "mapping_alive", "walk_complete"},
    "E01-zap-before-remove": {"chain_equals_ptes"},
    "E02-mprotect-forgets": {"coverage", "walk_complete"},
    "E33-copy-fails": {"address_known", "walk_complete"},
}
"""What each run breaks, on both sides, so that each invariant of `ALIKE` fails at least once."""


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_run_breaks_is_broken_on_both_sides(name):
    case = load_case(CASES / f"{name}.json")
    observer = Agreement(find_scheme(case.scheme))
    found = replay(
        find_scheme(case.scheme), case.scope, case.steps, target=NAME, observer=observer
    )
    assert not found.violations
    assert observer.broken >= BROKEN[name]
    for invariant in BROKEN[name]:
        lemmas = (ALIKE | STRONGER)[invariant]
        assert observer.broken.intersection(f"lemma {lemma}" for lemma in lemmas), invariant


@pytest.mark.parametrize(
    ("part", "word"),
    [("anon_pages", "index"), ("chains", "avc")],
)
def test_a_lemma_that_looks_at_something_else_is_detected(part, word, monkeypatch):
    """With an abstraction that leaves something out, lemmas fail in correct states."""
    whole = getattr(abstraction, part)

    def empty(st, tables, vmas):
        whole(st, tables, vmas)
        tables[word] = type(tables[word])()

    parts = tuple((w, empty if p is whole else p) for w, p in abstraction.PARTS)
    monkeypatch.setattr(abstraction, "PARTS", parts)
    cls = find_scheme("avc-6.0")
    done = explore(cls, LADDER[1], observer=Agreement(cls), target=NAME)
    assert done.verdict.status is Status.VIOLATED
    assert "walk_complete" in str(done.verdict.violations)
