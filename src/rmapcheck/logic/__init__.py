"""A small logic for what must hold of any number of processes, VMAs, pages and anon_vmas.

One formula, three readings: evaluated on a finite structure (`finite`), translated for solvers
(only `rmapcheck.prove` does), and printed for people (`terms.text`). `lint` says whether a solver
is certain to decide it.
"""

from rmapcheck.logic.declare import (
    Function,
    Predicate,
    counts,
    function,
    invariant,
    operation,
    relation,
)
from rmapcheck.logic.macros import define
from rmapcheck.logic.spec import Spec
from rmapcheck.logic.terms import If, Sort, SpecError, exists, forall

__all__ = [
    "Function",
    "If",
    "Predicate",
    "Sort",
    "Spec",
    "SpecError",
    "counts",
    "define",
    "exists",
    "forall",
    "function",
    "invariant",
    "operation",
    "relation",
]
