"""The oracle without a kernel: what the model predicts for each version, and what can differ."""

import attrs
import pytest

from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.operations import (
    Fork,
    Mmap,
    MmapFile,
    Mremap,
    Munmap,
    PunchHole,
    Reclaim,
    SwapOut,
    Truncate,
    Write,
    boot,
    run,
)
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.episode import scope_for
from rmapcheck.oracle.eras import VERSION_RULES, era_of, predictor_of, version_of
from rmapcheck.oracle.observe.proc import ZERO, Frame, Observation, Process
from rmapcheck.oracle.observe.snapshot import Snapshot
from rmapcheck.oracle.predict import Predictor, model_observation, model_vmas
from rmapcheck.oracle.rules import Coverage
from tests.oracle.mutants import MUTANTS
from tests.oracle.planting import Mutant, planted

# What the model predicts.


def state(*ops, version=(6, 18, 44)):
    st = Kernel(scope_for(3, 4, files=True), predictor_of(version)())
    boot(st)
    predictor = Predictor(st)
    for op in ops:
        list(predictor.run(Step((op,))))
    return predictor


SHARED = (Mmap(mm=1, start=0, length=2), Write(mm=1, address=0), Fork(mm=1, child=2))


def seen(predictor, number=700):
    """Return what a kernel that agrees with the model would show; its frames start at `number`."""
    expected = model_observation(predictor.st)
    names = {f: number + f for f in expected.frames}
    processes = {
        m: attrs.evolve(p, entries=tuple(names.get(e, e) for e in p.entries))
        for m, p in expected.processes.items()
    }
    frames = {names[f]: frame for f, frame in expected.frames.items()}
    return Observation(processes, frames, expected.cached)


def test_a_kernel_that_does_as_the_model_says_has_no_difference():
    predictor = state(*SHARED)
    assert not list(predictor.compare(seen(predictor)))
    assert not list(predictor.compare(seen(predictor)))


def changed(seen_state, **changes):
    process = attrs.evolve(seen_state.processes[2], **changes)
    return Observation({**seen_state.processes, 2: process}, seen_state.frames)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda k: Observation({1: k.processes[1]}, k.frames), "existence"),
        (lambda k: changed(k, vmas=((0, 1, 3),)), "VMAs"),
        (lambda k: changed(k, vmas=((0, 2, 1),)), "VMAs"),
        (lambda k: changed(k, entries=(0, 0, 0, 0)), "entry"),
        (lambda k: changed(k, entries=(ZERO, 0, 0, 0)), "entry"),
        (lambda k: changed(k, entries=(-9, 0, 0, 0)), "entry"),
        (lambda k: changed(k, entries=(999, 0, 0, 0)), "same page"),
        (
            lambda k: Observation(k.processes, {701: Frame(1, exclusive=False, swapcache=False)}),
            "mapcount",
        ),
        (
            lambda k: Observation(k.processes, {701: Frame(2, exclusive=True, swapcache=False)}),
            "exclusive",
        ),
        (
            lambda k: Observation(k.processes, {701: Frame(2, exclusive=False, swapcache=True)}),
            "swapcache",
        ),
    ],
)
def test_each_thing_that_a_kernel_shows_can_differ(change, what):
    predictor = state(*SHARED)
    assert [d.what for d in predictor.compare(change(seen(predictor)))] == [what]


OF_A_FILE = (
    MmapFile(mm=1, start=0, length=2, file=1, pgoff=1, shared=True),
    Write(mm=1, address=0),
)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda k: attrs.evolve(k, cached=frozenset()), "page cache"),
        (lambda k: attrs.evolve(k, cached=k.cached | {(1, 2)}), "page cache"),
        (
            lambda k: attrs.evolve(k, frames={701: attrs.evolve(k.frames[701], anon=True)}),
            "anon",
        ),
        *(
            (lambda k, vma=vma: attrs.evolve(k, processes=with_vma(k, vma)), "VMAs")
            for vma in [(0, 2, 3), (0, 2, 3, 2, 1, 1), (0, 2, 3, 1, 0, 1), (0, 2, 3, 1, 1, 0)]
        ),
    ],
)
def test_each_thing_that_a_kernel_shows_of_files_can_differ(change, what):
    predictor = state(*OF_A_FILE)
    assert not list(predictor.compare(seen(predictor)))
    assert [d.what for d in predictor.compare(change(seen(predictor)))] == [what]


def with_vma(seen_state, vma):
    return {1: attrs.evolve(seen_state.processes[1], vmas=(vma,))}


def test_a_page_of_a_file_may_be_read_ahead_from_swap_once_it_was_there():
    predictor = state(*OF_A_FILE)
    away = Step((Reclaim(file=1, index=1),), reclaim=True)
    list(predictor.run(away))
    back = attrs.evolve(seen(predictor), cached=frozenset({(1, 1)}))
    assert not list(predictor.compare(back))
    list(predictor.run(Step((PunchHole(file=1, index=1),))))
    assert [d.what for d in predictor.compare(back)] == ["page cache"]


def test_what_a_page_of_a_file_holds_outlives_it_but_not_the_file():
    predictor = state(*OF_A_FILE)
    predictor.content[predictor.place(1, 0)] = 5
    list(predictor.run(Step((Reclaim(file=1, index=1),), reclaim=True)))
    assert predictor.content[predictor.place(1, 0)] == 5
    list(predictor.run(Step((Truncate(file=1, size=1),))))
    assert predictor.content == {}


def test_a_page_that_was_copied_instead_of_reused_is_a_difference():
    predictor = state(*SHARED)
    assert not list(predictor.compare(seen(predictor, 700)))
    assert {d.what for d in predictor.compare(seen(predictor, 800))} == {"same page"}


def test_two_pages_of_the_model_cannot_be_one_of_the_kernel():
    predictor = state(SHARED[0], SHARED[1], Write(mm=1, address=1))
    seen_state = seen(predictor)
    entries = (seen_state.processes[1].entries[0],) * 2 + (0, 0)
    seen_state = Observation({1: Process(((0, 2, 3),), entries)}, seen_state.frames)
    assert "new page" in [d.what for d in predictor.compare(seen_state)]


def test_a_snapshot_takes_back_whatever_an_operation_did():
    predictor = state(*OF_A_FILE, SHARED[0], *SHARED)
    st = predictor.st
    raw = st.layout.encode_raw(st)
    before = Snapshot(st)
    for op in (SwapOut(mm=1, address=0), Truncate(file=1, size=1), OF_A_FILE[0]):
        for _ in range(2):
            list(predictor.run(Step((op,))))
            assert st.layout.encode_raw(st) != raw
            before.restore()
            assert st.layout.encode_raw(st) == raw


# Rules and versions.


def test_coverage_scores_rare_rules_higher_and_lists_missing_ones():
    coverage = Coverage(swap=False)
    assert "swap-in" not in coverage.missing()
    assert "first write" in coverage.missing()
    coverage.update({"first write": 3})
    assert "first write" not in coverage.missing()
    assert coverage.score({"split"}) > coverage.score({"first write"})


@pytest.mark.parametrize(
    ("release", "name", "many", "inherits"),
    [
        ("6.1.192", "avc-6.1", False, False),
        ("6.12.117-1-amd64", "avc-6.12", False, False),
        ("6.16.3", "avc-6.16", False, False),
        ("6.18.7", "avc-6.16", True, False),
        ("6.18.44-fc", "avc-6.16", True, True),
        ("7.2.0-rc1", "avc-7.0", True, True),
    ],
)
def test_a_version_has_its_era_and_its_rules(release, name, many, inherits):
    cls = predictor_of(version_of(release))
    assert (cls.name, cls.era.mremap_many, cls.era.inherits_copied_from) == (name, many, inherits)
    assert cls.era.asks_copied_from is inherits  # both are of v6.18.8


def vmas(version, *ops):
    """Return the VMAs of process 1 after `ops`, and the last one's result."""
    st = state(*ops[:-1], version=version).st
    return run(st, ops[-1]).error, model_vmas(st, 1)


BETWEEN = (
    *(Mmap(mm=1, start=0, length=3), Munmap(mm=1, start=1, length=1), Write(mm=1, address=2)),
    Mmap(mm=1, start=1, length=1),
)
"""The range after the gap has an anon_vma, the one before it has none; then the gap is mapped."""
REFUSED = (
    *(Mmap(mm=1, start=0, length=2), Mmap(mm=1, start=3, length=1)),
    Mremap(mm=1, start=3, length=2, new_length=2, to=0),
)
NOWHERE = (Mremap(mm=1, start=1, length=2, new_length=2, to=0),)


@pytest.mark.parametrize(
    ("ops", "version", "expected"),
    [
        (BETWEEN, (6, 1, 192), (0, ((0, 1, 3), (1, 3, 3)))),
        (BETWEEN, (6, 12, 0), (0, ((0, 3, 3),))),
        (REFUSED, (6, 16, 0), (-14, ((3, 4, 3),))),
        (NOWHERE, (6, 16, 0), (-14, ())),
        (NOWHERE, (6, 18, 0), (-22, ())),
    ],
)
def test_what_kernels_do_differently_is_predicted_by_version(ops, version, expected):
    assert vmas(version, *ops) == expected


def test_the_copy_of_a_fork_child_joins_a_never_faulted_neighbour_before_6_18_8():
    there, back = (Mremap(mm=2, start=a, length=1, new_length=1, to=5 - a) for a in (0, 5))
    ops = (*SHARED, there, Munmap(mm=2, start=1, length=1), Mmap(mm=2, start=1, length=1), back)
    after = {
        version: model_vmas(state(*ops, version=version).st, 2)
        for version in ((6, 18, 7), (6, 18, 8))
    }
    assert after == {(6, 18, 7): ((0, 2, 3),), (6, 18, 8): ((0, 1, 3), (1, 2, 3))}


def test_a_refused_move_leaves_its_target_where_everything_is_checked_first():
    ops = (*REFUSED[:-1], Mremap(mm=1, start=3, length=1, new_length=1, to=3))
    assert vmas((6, 18, 0), *ops) == (-22, ((0, 2, 3), (3, 4, 3)))
    moved = Mremap(mm=1, start=2, length=1, new_length=1, to=0)
    for version in ((6, 1, 192), (6, 18, 0)):
        assert vmas(version, *REFUSED[:-1], moved) == (-14, ((0, 2, 3), (3, 4, 3)))


def test_unknown_versions_are_refused():
    with pytest.raises(Unavailable, match=r"before v6\.1"):
        era_of((5, 10, 0))
    with pytest.raises(Unavailable, match="not a kernel version"):
        version_of("linux")


def test_each_version_rule_names_a_field_of_the_era():
    for rule in VERSION_RULES:
        assert not rule.holds((6, 1, 0))
        assert rule.holds((7, 0, 0))
        assert isinstance(getattr(era_of((6, 18, 0)).era, rule.attribute), bool)


def test_every_mutant_changes_the_model_and_is_gone_afterwards():
    assert len(MUTANTS) >= 20
    st = state(*SHARED).st
    for mutant in MUTANTS:
        with planted(mutant):
            pass
    assert model_observation(state(*SHARED).st) == model_observation(st)


def test_a_mutant_whose_text_is_gone_is_an_error():
    with (
        pytest.raises(OracleError, match="out of date"),
        planted(Mutant("gone", "rmapcheck.model.mm.fork:dup_vma", "no such text", "")),
    ):
        pass
