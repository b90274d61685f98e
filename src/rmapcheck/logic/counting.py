"""Proof obligations which say that a counter equals what it counts, without cardinalities.

First-order logic cannot count. But each `++` and `--` of an operation names the element that
joins or leaves the counted set (`Entry`). The obligations, for every key that is alive afterwards:

1. an element joins the set if and only if some `++` names it and no `--`, and leaves if and only
   if some `--` names it and no `++`; an element that both name stays inside or outside;
2. no two entries with the same sign name the same element;
3. if an element replaces another (an entry that mremap moves), the counter is not written; then
   the replacement must be one to one;
4. a new key counts nothing yet (its counter starts at 0), and no counter of a key that is dead
   before and after is written.

So counter and set change by the same number, and by induction the counter is exact, for sets of
any size. A missing `--` violates the first rule, a double `++` the second.
"""

from collections.abc import Sequence

from rmapcheck.logic.terms import (
    EXISTS,
    FORALL,
    TRUE,
    Expr,
    conj,
    disj,
    equal,
    implies,
    negate,
    quantify,
    variable,
)
from rmapcheck.logic.working import Counter, Entry, Summand, Working


def exactness(counter: Counter, ledger: Sequence[Entry], before: Working, after: Working) -> Expr:
    """Return rules 1 to 4 for `counter`, as a formula over the state before."""
    if _untouched(counter, ledger, before, after):
        return TRUE
    parts = []
    for i, summand in enumerate(counter.summands):
        entries = [e for e in ledger if e.counter is counter and e.summand == i]
        parts.append(_matched(counter, summand, entries, before, after))
        parts += [_one_to_one(counter, summand, e, after) for e in entries if e.sign == 0]
    return conj(*parts)


def _untouched(counter: Counter, ledger: Sequence[Entry], before: Working, after: Working) -> bool:
    """Return whether neither the counter nor anything that it counts has been written."""
    said = {before._symbols[counter.alive]}  # noqa: SLF001 - the logic's own
    for summand in counter.summands:
        key = variable(counter.per, "k")
        said |= summand.member(before, *_element(summand), key).symbols
    return said.isdisjoint(after._macros) and all(  # noqa: SLF001 - the same
        e.counter is not counter for e in ledger
    )


def _lives(counter: Counter, st: Working, key: Expr) -> Expr:
    return st.read(st._symbols[counter.alive], (key,))  # noqa: SLF001 - the logic's own


def _element(summand: Summand) -> tuple[Expr, ...]:
    return tuple(variable(s, "e") for s in summand.elements)


def _matched(
    counter: Counter, summand: Summand, entries: list[Entry], before: Working, after: Working
) -> Expr:
    element, key = _element(summand), variable(counter.per, "k")
    was, now = (summand.member(st, *element, key) for st in (before, after))
    lived, lives = (_lives(counter, st, key) for st in (before, after))
    joins = [e.condition(*element, key) for e in entries if e.sign == 1]
    leaves = [e.condition(*element, key) for e in entries if e.sign == -1]
    written, kept = disj(*joins, *leaves), []
    for e in entries:
        if e.sign == 0:
            other = _element(summand)
            out = quantify(EXISTS, other, e.condition(*element, *other, key))
            into = quantify(EXISTS, other, e.condition(*other, *element, key))
            leaves.append(out)
            joins.append(into)
            kept.append(implies(conj(lives, out, into), conj(was, now)))
    more, less = disj(*joins), disj(*leaves)
    rules = [
        implies(conj(negate(lived), lives), negate(was)),
        implies(lives, equal(conj(more, negate(less)), conj(negate(was), now))),
        implies(lives, equal(conj(less, negate(more)), conj(was, negate(now)))),
        implies(written, disj(lived, lives)),
        *kept,
    ]
    for found in (joins, leaves):
        rules += [
            implies(lives, negate(conj(a, b))) for i, a in enumerate(found) for b in found[i + 1 :]
        ]
    return conj(*(quantify(FORALL, (*element, key), rule) for rule in rules))


def _one_to_one(counter: Counter, summand: Summand, entry: Entry, after: Working) -> Expr:
    a, b, c = _element(summand), _element(summand), _element(summand)
    key = variable(counter.per, "k")
    same = conj(*(equal(x, y) for x, y in zip(b, c, strict=True)))
    both_out = conj(entry.condition(*a, *b, key), entry.condition(*a, *c, key))
    both_in = conj(entry.condition(*b, *a, key), entry.condition(*c, *a, key))
    lives = _lives(counter, after, key)
    rule = implies(conj(lives, disj(both_out, both_in)), same)
    return quantify(FORALL, (*a, *b, *c, key), rule)
