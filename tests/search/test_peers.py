"""The AVC profile: our counts are those that SPIN and rumur find.

`make peers` runs all programs (benchmarks/peers/README.md), and here their counts are pinned. At
night the programs run again with small bounds, if they are installed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from rmapcheck.host import compile as build
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.layout import layout_of
from rmapcheck.model.operations import boot
from rmapcheck.search.interpreted import Search
from rmapcheck.search.native.explore import Native
from rmapcheck.search.native.search import translated
from rmapcheck.search.question import EngineError, Limits, Question
from tests import pins

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
sys.path.insert(0, str(PEERS))

import avc_profile  # noqa: E402
from avc_profile import NAMED, AvcProfile, Bounds, counts, search  # noqa: E402
from programs import PeerError, Run  # noqa: E402
from run import Turns, agree, report  # noqa: E402

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

TINY = Bounds(2, 1, 2, 2)
LATE = float("inf")
PINNED = pins.each(*(name for name in pins.SECTIONS if name.startswith("peers ")))


@needs_compiler
@pytest.mark.pinned
@pytest.mark.usefixtures("optimized")
@PINNED
def test_our_counts_are_those_of_the_peers(pin, pinned):
    bounds = Bounds(*pins.SECTIONS[pin.section]["bounds"])
    done = search(bounds, symmetry=pin.name == "orbits")
    assert done.verdict.how == "exhaustive"
    states, transitions = counts(done)
    pinned.check(pin, {"states": states, "transitions": transitions, "depth": done.depth})


@needs_compiler
@pytest.mark.parametrize("pool", ["folio", "anon_vma"])
def test_a_named_object_that_is_left_out_of_the_keys_is_noticed(pool):
    """The faulty key contains object 1 twice, so it does not show what a step did to object 2."""
    bounds = Bounds(2, 2, 2, 2)
    asked = avc_profile.question(bounds, symmetry=False)
    made = translated(asked)
    store = f"*b_{pool}++ = 0; continue; }}\n      struct {pool} *o = &st->{pool}.o[i];"
    assert made.source.count(store) == 1
    source = made.source.replace(store, store.replace("o[i]", "o[1]"))
    wrong = attrs.evolve(made, source=source)
    with pytest.raises(EngineError, match="fails once but not when it is repeated"):
        Native(translation=wrong).answer(asked, Limits())


def interpreted(*, named):
    """Search the smallest profile to the end, interpreted."""
    done = Search(Question(AvcProfile, TINY.scope(), named=named))
    assert done.start() == []
    while done.frontier:
        assert done.expand() == ([], None)
    return done


def test_states_with_named_objects_are_those_of_the_orbits():
    named, orbits = interpreted(named=NAMED), interpreted(named=())
    assert named.distinct > orbits.distinct
    layout = layout_of(TINY.scope(), AvcProfile)
    found = set()
    for key in named.keys:
        named.load(key)
        assert named.key() == key, "a stored state is stored again as it is"
        found.add(layout.canonical(named.st)[0])
    assert found == set(orbits.keys)


@needs_compiler
@pytest.mark.parametrize("symmetry", [False, True])
def test_both_engines_agree_on_the_profile(symmetry):
    native = search(TINY, symmetry=symmetry)
    python = search(TINY, symmetry=symmetry, engine="python")
    assert (native.engine, python.engine) == ("native", "python")
    assert counts(native) == counts(python)
    assert native.per_operation == python.per_operation


def test_only_named_pools_keep_their_numbers():
    scope = TINY.scope()
    for named, alike in (((), True), (("folio",), False), (("vma",), True)):
        keys = set()
        for folio in (1, 2):
            st = Kernel(scope, AvcProfile(), named=named)
            boot(st)
            st.folio[folio] = st.folio.objects[folio]
            st.folio.live = 1
            st.pte[1].folio = folio
            keys.add(st.layout.canonical(st)[0])
        assert (len(keys) == 1) is alike


@pytest.mark.parametrize("target", avc_profile.INVARIANTS)
def test_each_invariant_of_the_profile_exists(target):
    assert target in [inv.name for inv in Search(Question(AvcProfile, TINY.scope())).invariants]


@needs_compiler
@pytest.mark.nightly
@pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("rumur")), reason="SPIN or rumur is not installed"
)
def test_the_peers_agree_at_small_bounds(tmp_path):
    command = [sys.executable, str(PEERS / "run.py"), "--quick", "--output", tmp_path / "table.md"]
    subprocess.run(command, check=True, timeout=600)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    every, orbits = pins.pins_of("peers 2,2,2,2")
    rows = [(name, every) for name in ("rmapcheck", "SPIN", "rumur")]
    rows += [(f"{name}, symmetry", orbits) for name in ("rmapcheck", "rumur")]
    for program, pin in rows:
        states, transitions = pin.numbers["states"], pin.numbers["transitions"]
        assert f"| 2,2,2,2 | {program} | {states:,} | {transitions:,} |" in table


class Says:
    """A program that reports a given number of states."""

    symmetric = False

    def __init__(self, name, states):
        self.name = name
        self.states = states

    def make(self):
        pass

    def run(self):
        return Run(self.states, 5, 1.0, 1.0, 1.0)


class Fails(Says):
    """A program whose run fails."""

    def run(self):
        raise PeerError("pan failed, 1:\nout of memory")


def test_programs_that_count_differently_are_refused():
    agree(TINY, Turns(LATE).take(TINY, 2, [Says("a", 3), Says("b", 3)]))
    with pytest.raises(PeerError, match="the programs disagree at 2,1,2,2"):
        agree(TINY, Turns(LATE).take(TINY, 1, [Says("a", 3), Says("b", 4)]))


def test_a_program_that_fails_is_noted_and_the_others_go_on():
    turns = Turns(LATE)
    (result,) = turns.take(TINY, 2, [Fails("spin", 3), Says("b", 3)])
    assert (result.program.name, len(result.runs)) == ("b", 2)
    assert turns.failed == ["spin at 2,1,2,2: pan failed, 1:\nout of memory"]
    assert "Failed: spin at 2,1,2,2: pan failed, 1:\n" in report([], [], turns.failed)


def test_no_new_run_begins_after_the_time_limit():
    (result,) = Turns(0.0).take(TINY, 3, [Says("a", 3)])
    assert len(result.runs) == 1
