"""Searches with symmetry agree with brute force on every scheme, so symmetry can be trusted.

Three checks, from cheap to complete. The canonical form of a state does not change if all its
objects are renamed. The orbits found with symmetry are those of the states found without. If
every allocation may take *any* free slot, the sizes of the orbits add up to the number of states.
"""

import math
import random

import pytest

from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine import heap
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset, ptep_to_address, ptep_to_mm
from rmapcheck.model.operations import boot, possible_operations, run
from rmapcheck.plugins.catalogue import machines, schemes
from rmapcheck.search.interpreted import Search
from rmapcheck.search.question import Question
from tests.designs import DESIGNS, sweep

SMALL = Scope(
    mms=2,
    pages=1,
    premapped=1,
    folios=2,
    vmas=4,
    objects=12,
    ops=("fault", "fork", "exit", "swap", "munmap"),
)
THREE = Scope(
    mms=3,
    pages=1,
    premapped=1,
    folios=1,
    swaps=0,
    vmas=3,
    objects=6,
    ops=("fault", "fork", "exit"),
)
TINY = Scope(
    mms=2,
    pages=1,
    premapped=1,
    folios=1,
    vmas=2,
    swaps=1,
    objects=3,
    ops=("fault", "fork", "exit", "swap"),
)

FILES = Scope(
    mms=2,
    pages=1,
    folios=2,
    vmas=3,
    swaps=0,
    objects=8,
    protections=1,
    files=1,
    ops=("fault", "fork", "exit", "file", "reclaim"),
)
TINY_FILES = Scope(
    mms=2,
    pages=1,
    folios=2,
    vmas=2,
    swaps=0,
    objects=3,
    protections=1,
    files=1,
    ops=("fault", "fork", "exit", "file", "reclaim"),
)

EVERY = pytest.mark.parametrize("name", sweep(machines()))


def searched(name, scope, *, symmetry):
    search = Search(Question(schemes()[name], scope, symmetry=symmetry))
    assert search.start() == []
    if not symmetry:
        start_under_every_name(search)
    while search.frontier:
        found, op = search.expand()
        assert found == [], (op, found)
    return search


def start_under_every_name(search):
    """Add the first states in which the only process is not process 1.

    Not every scheme comes back to them: with anonmm, a child is never head of its parent's family.
    """
    raw = search.st.layout.encode_raw(Kernel(search.scope, search.question.scheme()))
    for mm in range(2, search.scope.mms + 1):
        search.st.layout.load_raw(search.st, raw)
        boot(search.st, mm)
        search.add(search.key(), 0, None)


def renamed(st, rng):
    """Return the raw form of `st` with the objects of every pool (and the processes) renamed."""
    names = {}
    for name, struct in st.layout.structs.items():
        order = list(range(1, struct.size + 1))
        if name != "address_space":  # files are never renamed
            rng.shuffle(order)
        names[name] = dict(enumerate(order, 1)) | {0: 0, struct.size + 1: struct.size + 1}
    for ptep in range(1, st.pte.size + 1):
        mm = names["mm"][ptep_to_mm(st, ptep)]
        names["pte"][ptep] = pte_offset(st, mm, ptep_to_address(st, ptep))
    other = Kernel(st.scope, st.scheme)
    for name, struct in st.layout.structs.items():
        source, target = getattr(st, name), getattr(other, name)
        for i in source.indices():
            j = names[name][i]
            target[j] = target.objects[j]
            copy_fields(source[i], target[j], struct.fields, names)
        target.live = source.live
    return other


def copy_fields(source, target, fields, names):
    for field in fields:
        base, _, element = field.name.partition("[")
        if element:
            i = int(element[:-1])
            value = getattr(source, base)[i]
            getattr(target, base)[i] = names[field.target][value] if field.target else value
        else:
            value = getattr(source, base)
            setattr(target, base, names[field.target][value] if field.target else value)


@EVERY
@pytest.mark.parametrize("scope", [SMALL, FILES], ids=["anonymous", "files"])
def test_the_canonical_form_does_not_depend_on_names(name, scope):
    search = searched(name, scope, symmetry=True)
    rng = random.Random(1)
    for key in rng.sample(search.keys, min(len(search.keys), 150)):
        search.load(key)
        other = renamed(search.st, rng)
        assert other.layout.canonical(other)[0] == key


def orbit_searches():
    """Return scopes of two and three processes.

    Three take a minute with anonmm, whose states include processes that have exited.
    """
    for name in machines():
        marks = () if name in DESIGNS else pytest.mark.nightly
        yield pytest.param(name, SMALL, id=f"two processes-{name}", marks=marks)
        yield pytest.param(name, FILES, id=f"files-{name}", marks=marks)
        marks = pytest.mark.nightly if name.startswith("anonmm") else marks
        yield pytest.param(name, THREE, id=f"three processes-{name}", marks=marks)


@pytest.mark.parametrize(("name", "scope"), list(orbit_searches()))
def test_orbits_are_those_of_brute_force(name, scope):
    symmetric = searched(name, scope, symmetry=True)
    brute = searched(name, scope, symmetry=False)
    orbits, placed = set(), set()
    identity = tuple(range(1, scope.mms + 1))
    for key in brute.keys:
        brute.load(key)
        orbits.add(brute.st.layout.canonical(brute.st)[0])
        placed.add(brute.st.layout.encode(brute.st, identity))
    assert orbits == set(symmetric.keys)
    assert sum(process_names(symmetric, key) for key in symmetric.keys) == len(placed)


def process_names(search, key):
    """Return in how many ways the processes of an orbit can be numbered."""
    search.load(key)
    return math.factorial(search.scope.mms) // symmetries(search.st)


def symmetries(st):
    """Return how many renamings of the processes leave `st` as it is."""
    data = [st.layout.encode(st, order) for order in st.layout.orders(st)]
    dead = st.mm.size - st.mm.live
    return data.count(min(data)) * math.factorial(dead)


@EVERY
@pytest.mark.parametrize("scope", [TINY, TINY_FILES], ids=["anonymous", "files"])
def test_orbit_sizes_add_up_when_every_identity_may_be_taken(name, scope, monkeypatch):
    symmetric = searched(name, scope, symmetry=True)
    total = 0
    for key in symmetric.keys:
        ways = process_names(symmetric, key)
        for struct in symmetric.st.layout.heap:
            pool = getattr(symmetric.st, struct)
            ways *= math.perm(pool.size, pool.live)
        total += ways
    assert total == len(every_state(name, scope, monkeypatch))


def every_state(name, scope, monkeypatch):
    """Return all raw states, if an allocation may take any free slot."""
    st = Kernel(scope, schemes()[name]())
    st.every_name = True
    choice = Choice()
    monkeypatch.setattr(heap, "free_slot", choice.free_slot)
    states = boot_states(st, choice)
    todo = list(states)
    while todo:
        raw = todo.pop()
        st.layout.load_raw(st, raw)
        for op in possible_operations(st):
            for _ in choice.every():
                st.layout.load_raw(st, raw)
                if run(st, op).exhausted:
                    continue
                following = st.layout.encode_raw(st)
                if following not in states:
                    states.add(following)
                    todo.append(following)
    return states


def boot_states(st, choice):
    states = set()
    empty = st.layout.encode_raw(st)
    for mm in range(1, st.scope.mms + 1):
        for _ in choice.every():
            st.layout.load_raw(st, empty)
            boot(st, mm)
            states.add(st.layout.encode_raw(st))
    return states


class Choice:
    """Replaces `free_slot`, and takes each free slot in turn."""

    def __init__(self):
        self.picks = []
        self.at = 0

    def every(self):
        """Yield once for each sequence of choices; after each, the caller runs the operation."""
        self.picks = []
        while True:
            self.at = 0
            yield
            while self.picks and self.picks[-1][0] + 1 == self.picks[-1][1]:
                self.picks.pop()
            if not self.picks:
                return
            self.picks[-1][0] += 1

    def free_slot(self, st, pool):
        free = [
            i
            for i in range(1, pool.size + 1)
            if not pool.is_live(i) and (pool.name, i) not in st.freed
        ]
        if not free:
            return 0
        if self.at == len(self.picks):
            self.picks.append([0, len(free)])
        pick = self.picks[self.at][0]
        self.at += 1
        return free[pick]
