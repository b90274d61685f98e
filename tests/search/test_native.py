"""The search in C and the interpreted search agree in everything; disagreement is detected."""

import subprocess

import attrs
import pytest

from rmapcheck.explore import EngineError, explore
from rmapcheck.host import compile as build
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.schemes.anon_vma_root import AvcRoot
from rmapcheck.model.schemes.pte_chain import PteChainArray
from rmapcheck.plugins.catalogue import bugs, machines, schemes
from rmapcheck.run import Replayed
from rmapcheck.search.native.explore import Native
from rmapcheck.search.native.search import Ended, NativeSearch
from rmapcheck.search.native.translate import translate
from rmapcheck.search.native.translator.source import Untranslatable
from rmapcheck.search.question import Limits, Question
from tests import pins
from tests.counts import counts
from tests.designs import sweep, sweep_of_bugs

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

SMALL = Scope(
    mms=2, pages=2, folios=2, swaps=1, objects=8, premapped=1, alloc_fail=True, young=True
)

TINY = Scope(mms=2, pages=1, folios=2, swaps=1, objects=6, ops=("mmap", "fault", "fork", "swap"))
OPS = ("mmap", "munmap", "fault", "fork", "exit")


def agree(scheme, scope, **limits):
    """Search with both engines, and compare their reports."""
    native = explore(scheme, scope, engine="native", **limits)
    python = explore(scheme, scope, engine="python", **limits)
    assert (native.engine, python.engine) == ("native", "python")
    assert counts(native) == counts(python)
    return native


@needs_compiler
@pytest.mark.parametrize("name", sweep(machines()))
def test_every_scheme_gives_the_same_counts(name):
    agree(schemes()[name], SMALL, max_states=250)


@needs_compiler
@pytest.mark.parametrize("name", sweep_of_bugs(n for n in bugs() if n != "B23"))
def test_every_bug_gives_the_same_trace(name):
    bug = bugs()[name].bug
    scope = Scope(**bug.scope | {"ops": tuple(bug.scope["ops"])})
    done = agree(bugs()[name], scope)
    assert done.verdict.trace


@needs_compiler
@pytest.mark.nightly
@pytest.mark.parametrize("name", [*schemes(), *bugs()])
def test_wider_scopes_agree_too(name, amount):
    scheme, states = {**schemes(), **bugs()}[name], amount(1_500, 4_000)
    wide = Scope(mms=2, pages=3, young=True, alloc_fail=True, protections=4)
    agree(scheme, wide, max_states=states)
    agree(scheme, Scope(mms=2, pages=2, recycle=True, premapped=2), max_states=states)
    agree(scheme, Scope(mms=3, pages=1, objects=20), max_states=states, symmetry=False)


@needs_compiler
@pytest.mark.parametrize("name", ["pte_chain-2.6.0", "anon_vma-2.6.18", "avc-7.0"])
def test_both_agree_without_symmetry(name):
    done = agree(schemes()[name], TINY, symmetry=False)
    assert done.verdict.how == "exhaustive"


@needs_compiler
def test_a_search_for_a_target_ignores_other_violations():
    scope = Scope(mms=1, pages=2, ops=("mmap", "mprotect", "fault"))
    for target in ("", "active_in_chain", "walk_complete", "use_after_free", "lock_discipline"):
        agree(bugs()["B01"], scope, target=target, max_states=300)


@needs_compiler
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_bounded_search_covers_all_runs_of_that_length(depth):
    done = agree(schemes()["avc-6.0"], TINY, max_depth=depth)
    assert done.verdict.how == f"bounded, depth {depth}"
    assert done.depth == depth


@needs_compiler
def test_limits_end_the_search_with_unknown():
    scheme = schemes()["avc-6.0"]
    for limits in ({"max_states": 100}, {"max_seconds": 0.0}, {"max_memory_mb": 1}):
        done = explore(scheme, Scope(), engine="native", **limits)
        assert done.verdict.status.name == "UNKNOWN"
        assert "not finished" in done.verdict.why


@needs_compiler
@pytest.mark.pinned
def test_b23_is_found_in_its_full_scope(optimized, pinned):
    (pin,) = pins.pins_of("all of B23")
    target = "same_anon_vma_same_chain"
    done = explore(bugs()[pin.name], pin.scope, engine="native", target=target)
    assert str(done.verdict) == "VIOLATED(same_anon_vma_same_chain, step 11)"
    pinned.check(pin, pins.numbers_of(done))


# Planted faults.

(PIN,) = pins.pins_of("faults in the search in C")
FAULTY = PIN.scope


def counted(*defines):
    """Return the counts of a complete search in C with these planted faults."""
    search = NativeSearch(Question(schemes()[PIN.name], FAULTY), defines=defines)
    search.start()
    while search.run(None, None, 1.0) is Ended.SLICE:
        pass
    return {"states": search.distinct, "transitions": search.generated, "depth": search.depth}


@needs_compiler
@pytest.mark.pinned
def test_pinned_counts(pinned):
    pinned.check(PIN, counted())


@needs_compiler
@pytest.mark.parametrize(
    "fault", ["FAULT_TRUNCATED_COMPARE", "FAULT_NO_CANON", "FAULT_DROPPED_SUCCESSOR"]
)
def test_a_planted_fault_changes_the_counts(fault):
    assert counted(fault) != PIN.numbers


@needs_compiler
def test_narrow_fields_give_the_same_counts():
    assert counted("FIELD=short") == PIN.numbers


@needs_compiler
def test_a_mistranslation_is_detected_when_the_trace_is_replayed(monkeypatch):
    scheme = schemes()["avc-6.0"]
    good = translate(scheme, FAULTY)
    old = "st->folio.o[i], 0, sizeof"
    assert old in good.source
    # A page that is not zeroed when it is allocated keeps an old mapcount.
    source = good.source.replace("memset(&st->folio.o[i], 0, sizeof st->folio.o[i]);", "")
    wrong = attrs.evolve(good, source=source)
    with pytest.raises(EngineError):
        Native(translation=wrong).answer(Question(scheme, FAULTY), Limits())


# What cannot be translated, and errors of the model.


class Lambda(AvcRoot):
    """Uses a lambda, which cannot be translated."""

    name = "lambda"

    def lock_of(self, st, anon_vma):
        root = lambda a: st.anon_vma[a].root  # noqa: E731
        return root(anon_vma)


class TooBig(AvcRoot):
    """Makes a mapcount too large for its field."""

    name = "too-big"

    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        st.folio[folio].mapcount += 300


class Negative(PteChainArray):
    """Reads a slot before the first one."""

    name = "negative"

    def use_slot(self, st, chunk, ptep):
        st.pte_chain[chunk].ptes[st.pte_chain[chunk].idx - 4] = ptep


class Endless(AvcRoot):
    """Has a loop that does not end."""

    name = "endless"

    def folio_move_anon_rmap(self, st, folio, vma):
        while st.folio[folio].mapcount:
            st.folio[folio].index = 0


class Bottomless(AvcRoot):
    """Has a recursion that does not end."""

    name = "bottomless"

    def lock_of(self, st, anon_vma):
        return self.lock_of(st, st.anon_vma[anon_vma].root)


class Unknown(AvcRoot):
    """Sets a field that it does not have."""

    name = "unknown-field"

    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        st.folio[folio].exclusive = 1
        super().folio_dup_anon_rmap(st, folio, vma, pvma, address, ptep)


def test_untranslatable_names_file_line_and_reason():
    with pytest.raises(Untranslatable, match=r"test_native.py:\d+: Lambda"):
        translate(Lambda, TINY)


def test_an_untranslatable_scheme_is_searched_interpreted():
    done = explore(Lambda, TINY)
    assert done.engine.startswith("python: ")
    assert "test_native.py" in done.engine
    assert done.verdict.how == "exhaustive"
    with pytest.raises(EngineError, match="cannot be compiled"):
        explore(Lambda, TINY, engine="native")


def test_a_scheme_without_a_source_file_is_searched_interpreted():
    space = {"AvcRoot": AvcRoot}
    exec("class FromNowhere(AvcRoot):\n    def lock_of(self, st, a):\n        return a\n", space)
    with pytest.raises(Untranslatable, match="no source file"):
        translate(space["FromNowhere"], TINY)


def test_without_a_compiler_the_search_is_interpreted(monkeypatch):
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    assert build.compiler() is None
    done = explore(schemes()["pte_chain-2.6.0"], TINY)
    assert done.engine == "python: there is no C compiler (no-such-compiler): install gcc or clang"
    with pytest.raises(EngineError, match="no C compiler"):
        explore(schemes()["pte_chain-2.6.0"], TINY, engine="native")


def test_a_failing_compiler_means_an_interpreted_search(monkeypatch, tmp_path):
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\necho sorry >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("rmapcheck.search.auto.HEAD_START", 1)
    done = explore(schemes()["pte_chain-2.6.0"], TINY)
    assert done.engine == "python: the C compiler failed: sorry"
    assert done.verdict.how == "exhaustive"


@needs_compiler
def test_a_value_out_of_its_range_is_an_error_of_the_scheme():
    for engine in ("native", "python"):
        (found,) = explore(TooBig, FAULTY, engine=engine).verdict.violations
        assert (found.invariant, found.but) == ("out_of_range", "it is 301")


@needs_compiler
def test_a_field_that_is_not_there_is_an_error_of_the_scheme():
    with pytest.raises(
        SchemeError, match=r"folio.exclusive is not a field of this scheme's state"
    ):
        explore(Unknown, FAULTY, engine="native")


@needs_compiler
def test_a_negative_index_never_reads_the_wrong_element():
    scope = Scope(mms=3, pages=1, swaps=0, ops=OPS)
    with pytest.raises(EngineError, match="index -2 lies outside"):
        explore(Negative, scope, engine="native")


@needs_compiler
@pytest.mark.parametrize("scheme", [Endless, Bottomless])
def test_a_loop_that_does_not_end_is_reported(monkeypatch, scheme):
    monkeypatch.setattr("rmapcheck.search.question.replay", lambda *_, **__: Replayed((), 0, ()))
    with pytest.raises(EngineError, match="a loop or recursion did not end"):
        explore(scheme, FAULTY, engine="native")


# The cache and the choice of an engine.


@needs_compiler
def test_a_library_is_built_once(monkeypatch):
    source = translate(schemes()["pte_chain-2.6.0"], TINY).source
    path = build.build(source)
    assert path.parent == build.cache_folder()
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("it is built again"))
    assert build.build(source) == path
    assert build.library_path(source + "/* another */") != path


@needs_compiler
def test_auto_starts_interpreted_and_compiles_what_lasts(monkeypatch):
    scheme, scope = schemes()["anon_vma-2.6.8"], Scope(mms=2, pages=2, folios=2, swaps=0, ops=OPS)
    monkeypatch.setattr("rmapcheck.search.auto.HEAD_START", 1_000_000)
    assert explore(scheme, scope, max_states=200).engine == "python"
    monkeypatch.setattr("rmapcheck.search.auto.HEAD_START", 10)
    first = explore(scheme, scope, max_states=200)
    assert first.engine == "native"
    monkeypatch.setattr("rmapcheck.search.auto.HEAD_START", 1_000_000)
    again = explore(scheme, scope, max_states=200)
    assert again.engine == "native", "what is built is used at once"


def test_the_environment_chooses_the_engine(monkeypatch):
    monkeypatch.setenv("RMAPCHECK_ENGINE", "python")
    assert explore(schemes()["anon_vma-2.6.8"], TINY).engine == "python"
    monkeypatch.setenv("RMAPCHECK_ENGINE", "steam")
    with pytest.raises(EngineError, match="no engine is called 'steam'"):
        explore(schemes()["anon_vma-2.6.8"], TINY)


@needs_compiler
def test_a_reporter_is_called_and_may_interrupt():
    class Impatient:
        def progress(self, figures):
            assert figures.frontier
            assert figures.states > figures.frontier
            assert str(figures).startswith(f"{figures.states} states, {figures.steps} steps")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(schemes()["avc-6.0"], Scope(), engine="native", reporter=Impatient())
