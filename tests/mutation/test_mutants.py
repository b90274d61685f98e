"""The mutants themselves: each differs in one line, and one is killed as an author's would be."""

import ast

from rmapcheck.explore import explore
from rmapcheck.search.native.translator.source import REPLACED, definition
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import LADDER
from tests.mutation.mutants import SCHEMES, mutants

ALL = mutants()


def test_there_are_enough_of_all_families():
    assert len(ALL) >= 150
    assert {m.scheme for m in ALL if not m.core} == set(SCHEMES)
    assert any(m.core for m in ALL)


def test_each_differs_from_the_function_and_from_the_others():
    assert len({(m.scheme, m.function, m.place) for m in ALL}) == len(ALL)
    for mutant in ALL:
        node, _, what = mutant.changed()
        assert what
        assert ast.unparse(node.body) != ast.unparse(definition(mutant.function).node.body)


def test_they_are_the_same_every_time():
    assert [m.name for m in mutants()] == [m.name for m in ALL]


def test_a_mutant_is_found_and_leaves_the_scheme_as_it_was():
    mutant = next(m for m in ALL if m.name.endswith("without st.folio[folio].mapcount -= 1"))
    before = mutant.function.__code__
    scheme = mutant.install()
    assert mutant.function.__code__ is before
    assert vars(scheme)[mutant.function.__name__] in REPLACED
    for engine in ("python", "native"):
        verdict = explore(scheme, LADDER[0], engine=engine).verdict
        assert verdict.status is Status.VIOLATED
        assert "mapcount" in [v.invariant for v in verdict.violations]
