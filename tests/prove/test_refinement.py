"""Every step of the model is a step of the spec; a wrong abstraction or event is detected."""

import importlib
from pathlib import Path

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.explore import explore
from rmapcheck.logic.finite import Structure
from rmapcheck.logic.terms import SpecError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.refinement import abstraction
from rmapcheck.prove.refinement.explanations import EXPLANATIONS
from rmapcheck.prove.refinement.refine import NAME, Refinement
from rmapcheck.prove.refinement.steps import Step
from rmapcheck.prove.registry import spec_of
from rmapcheck.run import replay
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.specs.avc_reuse import AvcCounters
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import FILES, LADDER
from tests.designs import sweep

CASES = Path(__file__).parents[2] / "counterexamples"


def has_spec(cls):
    try:
        return bool(spec_of(cls))
    except SpecError:
        return False


SPECIFIED = [name for name, cls in schemes().items() if has_spec(cls)]
WIDE = Scope(mms=3, pages=3, vmas=9, folios=6, swaps=2, objects=40, alloc_fail=True)
FILED = Scope(
    mms=2,
    pages=2,
    vmas=8,
    folios=5,
    objects=30,
    files=1,
    file_pages=2,
    alloc_fail=True,
    ops=(
        *("mmap", "munmap", "mprotect", "mremap", "madvise", "fault", "fork", "exec", "exit"),
        *("swap", "file", "reclaim", "truncate"),
    ),
)
NARROW = Scope(mms=3, pages=2, folios=4, objects=40, alloc_fail=True)


def refined(scheme, spec, *, steps=1500, scope=WIDE, seed=1):
    observer = Refinement(spec)
    result = Walker(seed=seed, restart=40).answer(
        Question(scheme, scope, target=NAME, observer=observer), Limits(steps=steps)
    )
    return result.verdict, observer


NEVER = {
    *("mmap_file", "page_cache_add", "file_fault", "remap_file_pages", "page_convert_anon"),
    "make_nonlinear",
    *("unmap_file_page", "filemap_remove_folio"),
    *("clone_enomem", "fork_enomem", "merge_enomem"),  # leave nothing behind
    *("fork_reuse", "mremap_merge", "prepare_adopt", "fork_wipe", "do_swap_page_shared"),  # rare
    *("exec_grow", "exec_move", "dontunmap"),  # later eras
    *("do_wp_page_enomem", "page_referenced_anon"),  # see test_refinement_anonmm.py
}
"""Operations that a short random run need not reach."""


def test_most_schemes_have_a_spec():
    assert len(SPECIFIED) >= 36


@pytest.mark.parametrize("scope", LADDER[:3], ids=range(3))
@pytest.mark.parametrize("name", sweep(SPECIFIED))
def test_every_step_of_a_small_scope_is_one_of_the_spec(name, scope):
    every_step(name, scope)


FILE_STEPS = {"mmap_file", "page_cache_add", "file_fault", "filemap_remove_folio"}


def test_all_schemes_with_a_spec_map_files():
    assert all(find_scheme(name).maps_files for name in SPECIFIED)


@pytest.mark.parametrize("name", sweep(SPECIFIED))
def test_every_step_on_files_is_one_of_the_spec(name):
    cls = find_scheme(name)
    observer = Refinement(spec_of(cls))
    done = explore(cls, FILES[0], observer=observer, target=NAME)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    assert all(observer.explained[step] for step in FILE_STEPS)
    assert bool(observer.explained["unmap_file_page"]) is not cls.virtual_scan


NONLINEAR = [
    n
    for n in SPECIFIED
    if "remap_file_pages" in spec_of(find_scheme(n)).transitions
    and "remap_file_pages" not in find_scheme(n).era.lacks
    and "E41" not in find_scheme(n).era.flaws
]


def nonlinear(name):
    cls = find_scheme(name)
    observer = Refinement(spec_of(cls))
    done = explore(cls, FILES[-1], observer=observer, target=NAME)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    assert observer.explained["remap_file_pages"]
    assert observer.explained.get("make_nonlinear", 1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NONLINEAR)
def test_every_step_on_nonlinear_files_is_one_of_the_spec(name):
    nonlinear(name)


def test_a_page_that_is_mapped_off_its_place_without_a_chain_is_refused():
    """E41: the first partial objrmap ignored remap_file_pages()."""
    cls = find_scheme("objrmap-2.5.62-3")
    done = explore(cls, FILES[-1], observer=Refinement(spec_of(cls)), target=NAME)
    assert "must explain it by file_fault or remap_file_pages or page_convert_anon" in str(
        done.verdict.violations
    )
    assert len(done.verdict.trace) == 2


def test_a_truncation_that_leaves_an_entry_is_refused():
    """E44: the page leaves the cache while an entry off its linear place maps it."""
    case = load_case(CASES / "E44-truncates-linearly.json")
    cls = find_scheme(case.scheme)
    observer = Refinement(spec_of(cls))
    found = replay(cls, case.scope, case.steps, target=NAME, observer=observer)
    assert "p has been unmapped" in found.violations[0].but


@pytest.mark.nightly
@pytest.mark.parametrize("scope", LADDER[3:7], ids=range(3, 7))
@pytest.mark.parametrize("name", SPECIFIED)
def test_every_step_of_a_larger_scope_is_one_of_the_spec(name, scope):
    every_step(name, scope)


def every_step(name, scope):
    cls = find_scheme(name)
    observer = Refinement(spec_of(cls))
    done = explore(cls, scope, observer=observer, target=NAME)
    assert done.verdict.status is Status.HOLDS, done.verdict.violations
    assert done.verdict.how == "exhaustive"
    assert observer.events > done.generated / 2


@pytest.mark.parametrize("name", sweep(SPECIFIED))
def test_random_steps_are_steps_of_the_spec_and_reach_its_operations(name):
    cls = find_scheme(name)
    verdict, observer = refined(cls, spec_of(cls), steps=3000)
    assert verdict.status is Status.SAMPLED, verdict.violations
    assert {n for n, times in observer.explained.items() if not times} <= NEVER


@pytest.mark.parametrize("name", sweep(SPECIFIED))
def test_random_steps_on_files_are_steps_of_the_spec(name):
    cls = find_scheme(name)
    verdict, observer = refined(cls, spec_of(cls), steps=1500, scope=FILED)
    assert verdict.status is Status.SAMPLED, verdict.violations
    assert all(observer.explained[step] for step in FILE_STEPS)


@pytest.mark.nightly
@pytest.mark.parametrize("name", SPECIFIED)
def test_many_random_steps_on_files_are_steps_of_the_spec(name, amount):
    cls = find_scheme(name)
    verdict, _ = refined(cls, spec_of(cls), steps=amount(30_000, 100_000), scope=FILED)
    assert verdict.status is Status.SAMPLED, verdict.violations


@pytest.mark.nightly
@pytest.mark.parametrize("name", SPECIFIED)
def test_many_random_steps_are_steps_of_the_spec(name, amount):
    cls = find_scheme(name)
    verdict, _ = refined(cls, spec_of(cls), steps=amount(30_000, 100_000))
    assert verdict.status is Status.SAMPLED, verdict.violations


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("B23-degree-ambiguity", "reuse_anon_vma()"),
        ("B29-unfaulted-mremap-merge", "faulted: 1 should be in it"),
        ("B01-copy-from-importer", "anon_vma: 1 should be in it"),
        ("B04-adopt-any-neighbour", "reusable_anon_vma()"),
    ],
)
def test_a_seeded_bug_is_no_refinement_of_the_corrected_spec(name, message):
    case = load_case(CASES / f"{name}.json")
    cls = find_scheme(case.scheme)
    observer = Refinement(spec_of(cls))
    found = replay(cls, case.scope, case.steps, target=NAME, observer=observer)
    assert message in found.violations[0].but


# Wrong abstractions and missing events: each must be detected.


def swapless(st, tables, vmas):
    abstraction_machine(st, tables, vmas)
    tables["swap_cache"] = set()


def shifted(st, tables, vmas):
    abstraction_machine(st, tables, vmas)
    tables["pgoff"] = {k: v + (k[1] == 0) for k, v in tables["pgoff"].items()}


def blind_to_swap_entries(st, tables, vmas):
    abstraction_machine(st, tables, vmas)
    tables["swap_pte"] = set()


def greedy(st, tables, vmas):
    """Assigns entries of all processes to the first VMA at the address."""
    abstraction_machine(st, tables, vmas)
    first = {}
    for vma, x in sorted(tables["covers"]):
        first.setdefault(x, vma)
    tables["pte"] = {(first[x], x, p) for _, x, p in tables["pte"]}


def newest_mapping(st, tables, vmas):
    abstraction_pages(st, tables, vmas)
    for vma, x, p in tables["pte"]:
        if st.vma[vma].anon_vma and st.pte[pte_offset(st, st.vma[vma].vm_mm, x)].folio:
            tables["mapping"][p] = st.vma[vma].anon_vma


def indexless(st, tables, vmas):
    abstraction_pages(st, tables, vmas)
    tables["index"] = dict.fromkeys(tables["index"], 0)


def tailless(st, tables, vmas):
    abstraction_chains(st, tables, vmas)
    tables["avc"] = {(v, a) for v, a in tables["avc"] if a == st.vma[v].anon_vma}


def rootless(st, tables, vmas):
    tables["root"] = {(a, a) for a in st.anon_vma.indices()}


abstraction_machine = abstraction.machine
abstraction_files = abstraction.files
abstraction_pages = abstraction.anon_pages
abstraction_chains = abstraction.chains

BROKEN = [
    (swapless, "machine"),
    (shifted, "machine"),
    (blind_to_swap_entries, "machine"),
    (greedy, "machine"),
    (newest_mapping, "anon_pages"),
    (indexless, "anon_pages"),
    (tailless, "chains"),
    (rootless, "roots"),
]


@pytest.mark.parametrize(("broken", "part"), BROKEN, ids=[b.__name__ for b, _ in BROKEN])
def test_a_broken_abstraction_is_detected(broken, part, monkeypatch):
    whole = getattr(abstraction, part)
    parts = tuple((w, broken if p is whole else p) for w, p in abstraction.PARTS)
    monkeypatch.setattr(abstraction, "PARTS", parts)
    verdict, _ = refined(find_scheme("avc-6.0"), AvcCounters(), scope=NARROW)
    assert verdict.status is Status.VIOLATED


@pytest.mark.parametrize(
    ("module", "event"),
    [("filemap", "cache_add"), ("fault", "file_fault"), ("vmscan", "reclaim")],
)
def test_a_missing_event_of_files_is_detected(module, event, monkeypatch):
    where = importlib.import_module(f"rmapcheck.model.mm.{module}")
    original = where.tell
    monkeypatch.setattr(
        where, "tell", lambda st, name, *objects: name == event or original(st, name, *objects)
    )
    cls = find_scheme("avc-6.0")
    done = explore(cls, FILES[0], observer=Refinement(AvcCounters()), target=NAME)
    assert done.verdict.status is Status.VIOLATED


def unlisted(st, tables, vmas):
    abstraction_files(st, tables, vmas)
    tables["i_mmap"] = set()


def uncached(st, tables, vmas):
    abstraction_files(st, tables, vmas)
    tables["file"] = set()


@pytest.mark.parametrize("broken", [unlisted, uncached])
def test_a_broken_abstraction_of_files_is_detected(broken, monkeypatch):
    parts = tuple((w, broken if p is abstraction_files else p) for w, p in abstraction.PARTS)
    monkeypatch.setattr(abstraction, "PARTS", parts)
    cls = find_scheme("avc-6.0")
    done = explore(cls, FILES[0], observer=Refinement(AvcCounters()), target=NAME)
    assert done.verdict.status is Status.VIOLATED


@pytest.mark.parametrize(
    ("module", "event"),
    [
        ("fork", "fork"),
        ("unmap", "zap"),
        ("vma", "split"),
        ("mremap", "move"),
        ("swap", "free_page"),
        ("fault", "fault"),
        ("exec", "exec_move"),
        ("swap", "add_to_swap"),
    ],
)
def test_a_missing_event_is_detected(module, event, monkeypatch):
    where = importlib.import_module(f"rmapcheck.model.mm.{module}")
    original = where.tell

    def silent(st, name, *objects):
        if name != event:
            original(st, name, *objects)

    monkeypatch.setattr(where, "tell", silent)
    verdict, _ = refined(find_scheme("avc-6.0"), AvcCounters(), scope=NARROW)
    assert verdict.status is Status.VIOLATED


def test_a_state_that_changes_behind_the_events_is_detected():
    observer = Refinement(AvcCounters())
    observer.before = Structure({}, {})

    class Stray(find_scheme("avc-6.0")):
        """Removes the parent's own AVC when it forks."""

        def anon_vma_fork(self, st, vma, pvma):
            error = super().anon_vma_fork(st, vma, pvma)
            avc = st.vma[pvma].anon_vma_chain
            if avc and st.anon_vma_chain[avc].same_vma:
                st.vma[pvma].anon_vma_chain = st.anon_vma_chain[avc].same_vma
            return error

    verdict, _ = refined(Stray, AvcCounters(), scope=NARROW, steps=3000)
    assert verdict.status is Status.VIOLATED
    assert "avc" in str(verdict.violations[0])


def test_each_explanation_that_was_tried_is_named_once(monkeypatch):
    """The same operations in another order count as the same explanation."""

    def twice(e):
        yield [Step("free_folio", {"p": e.objects[0]})]
        yield [Step("free_folio", {"p": e.objects[0]})]

    monkeypatch.setitem(EXPLANATIONS, "fault", twice)
    verdict, _ = refined(find_scheme("avc-6.0"), AvcCounters(), scope=NARROW)
    assert "explain it by free_folio. But" in str(verdict.violations[0])
