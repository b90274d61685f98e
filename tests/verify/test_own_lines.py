"""HOLDS is about the author's own lines: each must have run in a search that was completed."""

import textwrap

import attrs
import pytest

from rmapcheck.explore import explore
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.plugins.find import find_scheme
from rmapcheck.search.arms import ran
from rmapcheck.search.coverage import measured
from rmapcheck.verdict import Status
from rmapcheck.verify.climb import Climber
from rmapcheck.verify.expectation import Shown, claim
from rmapcheck.verify.ladder import LADDER, required
from rmapcheck.verify.own_lines import not_run, own_functions

SMALL = LADDER[1]
"""One page of a family, which is forked and goes to swap."""

MINE = """\
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish


def helper(st, vma):
    return 1 if vma else 0


class Mine(AvcPublish):
    name = "mine"

    def clone_nth(self, length, i):
        return i

    def anon_vma_fork(self, st, vma, pvma):
        if st.vma[pvma].vm_start:
            passing = 0
        for _ in range(helper(st, vma)):
            result = super().anon_vma_fork(st, vma, pvma)
        if result:  # pragma: no cover
            return result
        return 0 if st.vma[vma].anon_vma else self.nothing(st)

    def nothing(self, st):
        while st.vma[1].anon_vma == 99:
            return 1
        return 0
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE, encoding="utf-8")
    return find_scheme(str(path))


def missed(scheme, scope, engine):
    with measured(own_functions(scheme)) as arms:
        done = explore(scheme, scope, engine=engine)
    assert done.verdict.exhaustive
    return [(arm.line, arm.what) for arm in not_run(arms, done.arms)]


@pytest.mark.parametrize("engine", ["python", "native"])
def test_both_engines_name_the_same_lines(engine, mine):
    assert missed(mine, SMALL, engine) == [
        (5, "false"),
        (11, "runs"),
        (15, "true"),
        (24, "body"),
    ]


@pytest.mark.parametrize("engine", ["python", "native"])
def test_a_wider_scope_runs_more(engine, mine):
    forks = LADDER[7]
    assert (15, "true") not in missed(mine, forks, engine)


def test_functions_are_as_before_at_the_end(mine):
    before = {f: f.__code__ for f in own_functions(mine)}
    plain = explore(mine, SMALL, engine="native")
    with measured(before):
        assert all(f.__code__ is not code for f, code in before.items())
        assert all(f.__code__.co_qualname == c.co_qualname for f, c in before.items())
        counted = explore(mine, SMALL, engine="native")
    assert all(f.__code__ is code for f, code in before.items())
    assert not [name for f in before for name in f.__globals__ if "covered" in name]
    assert (plain.distinct, plain.generated) == (counted.distinct, counted.generated)
    assert not any("mine.py" in arm for arm in plain.arms)


def test_a_method_may_name_its_own_class(tmp_path):
    """Of a module, of a function, and with super(): the name leads where it did before."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish

            class Mine(AvcPublish):
                name = "mine"

                def folio_free(self, st, folio):
                    super(Mine, self).folio_free(st, folio)

                def anon_vma_prepare(self, st, vma):
                    return super().anon_vma_prepare(st, vma) if issubclass(type(self), Mine) else 1

            def inner():
                class Inner(AvcPublish):
                    name = "inner"

                    def folio_free(self, st, folio):
                        super(Inner, self).folio_free(st, folio)

                return Inner
            """)
    )
    scheme = find_scheme(f"{tmp_path / 'mine.py'}:Mine")
    inner = scheme.folio_free.__globals__["inner"]()
    for cls in (scheme, inner):
        with measured(own_functions(cls)) as arms:
            assert arms
            assert explore(cls, SMALL, engine="python").verdict.status is Status.HOLDS


def test_a_search_forgets_what_an_earlier_one_ran(mine):
    with measured(own_functions(mine)):
        explore(mine, SMALL, engine="python")
        assert ran()
        assert not explore(AvcPublish, SMALL, engine="python").arms & ran()


def test_a_line_that_never_ran_is_the_reason_of_unknown(mine):
    with measured(own_functions(mine)) as arms:
        lines = not_run(arms, frozenset(arm.key for arm in arms if arm.what != "runs"))
    shown = Shown(exhausted=required(mine), missed=(), not_run=lines, flaws=())
    verdict = claim(mine, shown, budget=1, seed=0)
    assert verdict.status is Status.UNKNOWN
    assert "mine.py, line 4: helper() never runs" in verdict.why
    assert verdict.why.endswith("and 3 more such places")
    everything = claim(mine, attrs.evolve(shown, not_run=()), budget=1, seed=0)
    assert everything.status is Status.HOLDS


@pytest.mark.nightly
def test_verify_names_a_hook_that_the_era_never_calls(tmp_path):
    path = tmp_path / "mine.py"
    body = "def clone_nth(self, length, i):\n    return i\n"
    text = "from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish\n\n\n"
    text += 'class Mine(AvcPublish):\n    name = "mine"\n\n' + textwrap.indent(body, "    ")
    path.write_text(text, encoding="utf-8")
    report = Climber(find_scheme(str(path)), budget=60).climb()
    assert report.verdict.status is Status.UNKNOWN
    assert "mine.py, line 7: Mine.clone_nth() never runs" in report.verdict.why
    assert [arm.line for arm in report.not_run] == [7]


def test_built_in_schemes_are_not_measured():
    climber = Climber(AvcPublish, budget=1)
    climber.climb()
    assert climber.arms == ()
