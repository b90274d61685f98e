"""A counterexample to induction leads to a real run if there is one."""

import json

import pytest

from rmapcheck.cli import run
from rmapcheck.plugins.find import find_scheme
from rmapcheck.prove.find_run import find_run, most_concrete, targets
from rmapcheck.prove.proving import prove
from rmapcheck.prove.registry import find_spec
from rmapcheck.run import replay
from rmapcheck.verdict import Status


@pytest.mark.parametrize(
    ("name", "lemma", "steps"),
    [
        ("B29", "swapped_is_faulted", 5),
        ("B23", "same_anon_vma_same_chain", 11),
        ("B21", "num_active_vmas", 3),
        ("E33", "at_virtual", 6),
    ],
)
def test_a_failed_lemma_leads_to_a_run(name, lemma, steps):
    cls = find_scheme(name)
    found = find_run(cls, lemma, seconds=120)
    assert found.verdict.status is Status.VIOLATED
    assert len(found.verdict.trace) == steps
    again = replay(cls, found.verdict.scope, found.verdict.trace, target=found.targets[0])
    assert again.step == steps
    assert again.violations


def test_without_a_run_the_counterexample_stays_one():
    found = find_run(find_scheme("avc-7.0"), "coverage", seconds=2)
    assert found.verdict.status is Status.UNKNOWN
    assert "no run was found in 2 s" in found.verdict.why


def test_a_lemma_without_invariant_means_any_violation():
    assert targets(find_scheme("avc-7.0"), "one_root") == ("one_root", "")
    assert targets(find_scheme("avc-7.0"), "num_children") == ("anon_vma_counts", "")
    assert targets(find_scheme("pte_chain-2.6.0"), "one_root") == ("",)


def test_the_lemma_comes_before_what_follows_from_it():
    report = prove(find_spec("B29"))
    assert most_concrete(report.failures).goal.name != "walk_complete"


def test_prove_shows_the_run(capsys):
    assert run(["prove", "B29", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["pursuit"]
    assert found["scheme"] == "B29"
    assert found["replayed"]
    assert len(found["run"]["trace"]) == 5
    assert run(["prove", "B29", "--run-seconds", "-1"]) == 2
    assert "--run-seconds must be 0 or more" in capsys.readouterr().err
