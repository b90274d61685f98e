"""A search stays below its memory limit, and ends with UNKNOWN if there is no memory."""

import ctypes
import os
import subprocess
import sys

import pytest

from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.search import memory
from rmapcheck.search.native.explore import Native, collision
from rmapcheck.search.native.search import NativeSearch
from rmapcheck.search.question import EngineError, Limits, Question
from rmapcheck.verdict import Status
from tests.compiled import AS_USERS

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

TINY = Scope(mms=2, pages=1, folios=2, swaps=1, objects=6, ops=("mmap", "fault", "fork", "swap"))
ENDLESS = Scope(mms=3, pages=3)

SEARCH = """
import resource, sys
from pathlib import Path
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.search import memory
from rmapcheck.explore import explore

scheme, scope = schemes()["avc-7.0"], Scope(mms=3, pages=3)
explore(scheme, scope, engine="native", max_states=10)
what, extra, workers, fingerprint = sys.argv[1], *map(int, sys.argv[2:])
limit = memory.used() // memory.MEGABYTE + extra
named = {"workers": workers, "fingerprint": bool(fingerprint), "max_seconds": 60}
if what == "limit":
    named["max_memory_mb"] = limit
else:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + extra * memory.MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
done = explore(scheme, scope, engine="native", **named)
print(done.verdict.status.name, done.distinct, limit - memory.used() / memory.MEGABYTE, sep="|")
print(done.verdict.why)
"""


def limited(what, extra, workers, *, fingerprint=False):
    """Search in a new process; return the status, the number of states and the MB not used."""
    arguments = (what, str(extra), str(workers), str(int(fingerprint)))
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, *arguments],
        env=os.environ | AS_USERS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    numbers, why = done.stdout.splitlines()
    status, states, spare = numbers.split("|")
    return status, int(states), float(spare), why


@pytest.mark.parametrize(("extra", "workers"), [(5, 1), (6, 2), (8, 1), (12, 3), (20, 2), (36, 1)])
def test_a_search_stays_below_its_memory_limit(extra, workers):
    status, states, spare, why = limited("limit", extra, workers, fingerprint=extra == 20)
    assert status == "UNKNOWN"
    assert "MB used" in why
    assert spare >= 0
    if extra >= 12:
        assert states > 10_000, "the limit is not used"


@pytest.mark.parametrize(("extra", "workers"), [(3, 1), (5, 2), (9, 1), (40, 3), (64, 2)])
def test_a_failed_allocation_is_unknown(extra, workers):
    status, _, _, why = limited("address space", extra, workers)
    assert status == "UNKNOWN"
    assert "memory of this machine used" in why


def test_a_limit_below_what_python_takes_is_unknown_at_once():
    done = explore(schemes()["avc-6.0"], TINY, engine="native", max_memory_mb=1)
    assert done.verdict.status is Status.UNKNOWN
    assert done.verdict.why.startswith("1 MB used, ")
    assert done.distinct == 0


def test_every_small_budget_is_unknown_or_enough(monkeypatch):
    """Between budgets that cannot hold the tables and those that can are some for tables alone."""
    seen = []
    for kilobytes in range(512, 4096, 32):
        monkeypatch.setattr(memory, "budget", lambda _, size=kilobytes << 10: size)
        done = explore(schemes()["avc-6.0"], TINY, engine="native", max_states=1)
        assert done.verdict.status is Status.UNKNOWN
        seen.append(done.distinct)
        if done.distinct:
            break
    assert seen[-1] == 1


def test_the_budget_depends_on_the_machine_and_on_the_limit(monkeypatch):
    plenty = memory.budget(1 << 30)
    assert 0 < plenty < 1 << 46
    monkeypatch.setattr(memory, "_available", lambda: iter([10 * memory.MEGABYTE]))
    assert memory.budget(1 << 30) == memory.budget(None) == 8 * memory.MEGABYTE
    monkeypatch.setattr(memory, "_available", lambda: iter([]))
    assert memory.budget(None) > 1 << 46


# Fingerprints.


def test_fingerprints_give_the_same_counts_and_say_how_sure_they_are():
    for workers in (1, 3):
        exact = explore(schemes()["avc-6.0"], TINY, engine="native")
        found = explore(
            schemes()["avc-6.0"], TINY, fingerprint=True, workers=workers, engine="native"
        )
        assert (found.distinct, found.generated) == (exact.distinct, exact.generated)
        assert found.per_operation == exact.per_operation
        assert exact.verdict.how == "exhaustive"
        assert found.verdict.how.startswith("exhaustive up to a hash collision, p < ")
        claimed = float(found.verdict.how.rpartition(" ")[2])
        assert collision(found.distinct) <= claimed < 2 * collision(found.distinct)


def test_a_likely_collision_is_unknown(monkeypatch):
    monkeypatch.setattr("rmapcheck.search.native.explore.DOUBTFUL", 1e-30)
    found = explore(schemes()["avc-6.0"], TINY, fingerprint=True, engine="native")
    assert found.verdict.status is Status.UNKNOWN
    assert "may share a fingerprint" in found.verdict.why


@pytest.mark.parametrize("name", ["B02", "B29"])
def test_a_trace_is_rebuilt_from_fingerprints(name):
    bug = bugs()[name].bug
    scope = Scope(**bug.scope | {"ops": tuple(bug.scope["ops"])})
    exact = explore(bugs()[name], scope, engine="native")
    assert explore(bugs()[name], scope, fingerprint=True, engine="native").verdict == exact.verdict


def prints_of(search):
    """Yield the fingerprints of all states, as the library packs them."""
    size = ctypes.c_uint64()
    for number in range(search.distinct):
        at = search.library.search_key(search.handle, number, ctypes.byref(size))
        key = ctypes.string_at(at, size.value)
        yield search.library.search_print_of(key, len(key))


@pytest.mark.usefixtures("optimized")
def test_fingerprints_are_as_good_as_random_ones():
    """Among n states, about n² / 2^33 pairs share the upper 32 bits, and as many the lower 32."""
    search = NativeSearch(Question(schemes()["avc-6.0"], Scope()))
    search.start()
    search.run(100_000, None, 60.0)
    prints = list(prints_of(search))
    n = len(prints)
    assert len(set(prints)) == n
    for half in ([p >> 32 for p in prints], [p & 0xFFFFFFFF for p in prints]):
        assert n - len(set(half)) <= 4 + 4 * n * n / 2**33


def test_a_colliding_fingerprint_loses_states_and_its_trace_is_not_believed():
    faulty = Native(fingerprint=True, defines=("FAULT_SHORT_PRINT",))
    lost = faulty.answer(Question(schemes()["avc-6.0"], TINY), Limits())
    assert lost.distinct < explore(schemes()["avc-6.0"], TINY, engine="native").distinct
    bug = bugs()["B02"].bug
    scope = Scope(**bug.scope | {"ops": tuple(bug.scope["ops"])})
    search = NativeSearch(Question(bugs()["B02"], scope), fingerprint=True)
    search.start()
    search.run(None, None, 60.0)
    search._print_of = len
    with pytest.raises(EngineError, match="leads to another state"):
        search.path(search.report.parent)
