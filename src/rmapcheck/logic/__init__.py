"""A small logic for statements about any number of processes, VMAs, pages and anon_vmas.

A formula is used in three ways: it is evaluated on a finite structure (`finite`), translated for
solvers (in `rmapcheck.prove`), and printed for people (`terms.text`). `lint` reports whether a
solver is certain to decide it.
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
