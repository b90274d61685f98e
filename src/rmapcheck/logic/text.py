"""Formulas printed for people: `∀ v w a. avc(v, a) ∧ v ≠ w → anon_vma(a)`."""

from rmapcheck.logic.terms import (
    AND,
    APP,
    EQ,
    EXISTS,
    FORALL,
    IMPLIES,
    ITE,
    NOT,
    OR,
    TRUE,
    VAR,
    Bool,
    Expr,
)

_LEVEL = {FORALL: 0, EXISTS: 0, IMPLIES: 1, OR: 2, AND: 3, NOT: 4, EQ: 5}
_SIGN = {OR: " ∨ ", AND: " ∧ ", IMPLIES: " → "}


def text(e: Expr) -> str:
    """Return the formula or term in one line."""
    return _Printer(e).show(e, 0)


class _Printer:
    """Gives variables their short names, with primes where two would be the same."""

    def __init__(self, e: Expr) -> None:
        self.names: dict[Expr, str] = {}
        for v in sorted(e.free, key=lambda v: v.name):
            self.name(v)

    def name(self, v: Expr) -> str:
        short = v.name.partition("#")[0]
        taken = set(self.names.values())
        while short in taken:
            short += "′"
        self.names[v] = short
        return short

    def show(self, e: Expr, level: int) -> str:
        if e.kind is VAR:
            return self.names.get(e) or self.name(e)
        if e.kind is APP and e.symbol is not None:
            return f"{e.symbol.name}({', '.join(self.show(a, 0) for a in e.args)})"
        if e.kind is ITE:
            return "({1} if {0} else {2})".format(*(self.show(a, 1) for a in e.args))
        if e.kind not in _LEVEL:
            return "true" if e is TRUE else "false"
        own = _LEVEL[e.kind]
        shown = self.compound(e, own)
        return f"({shown})" if own < level else shown

    def compound(self, e: Expr, own: int) -> str:
        if e.bound:
            kept = dict(self.names)
            names = " ".join(self.name(v) for v in e.bound)
            body = self.show(e.args[0], 0)
            self.names = kept
            return f"{'∀' if e.kind is FORALL else '∃'} {names}. {body}"
        if e.kind is NOT:
            inner = e.args[0]
            if inner.kind is EQ and inner.args[0].sort is not Bool:
                return " ≠ ".join(self.show(a, 6) for a in inner.args)
            return f"¬{self.show(inner, 4)}"
        if e.kind is EQ:
            sign = " ↔ " if e.args[0].sort is Bool else " = "
            return sign.join(self.show(a, 6) for a in e.args)
        return _SIGN[e.kind].join(self.show(a, own + 1) for a in e.args)
