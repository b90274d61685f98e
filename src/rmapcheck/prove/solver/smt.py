"""Translates formulas to SMT-LIB 2 text, for Z3, cvc5 and export.

All names get a prefix, since words like `par` are reserved in SMT-LIB 2.7. Bound variables are
numbered by depth, so that equal formulas have equal texts.
"""

from collections.abc import Iterable, Mapping

from rmapcheck.logic.terms import (
    APP,
    EQ,
    EXISTS,
    FORALL,
    IMPLIES,
    ITE,
    NOT,
    TRUE,
    VAR,
    Bool,
    Expr,
    Sort,
    Symbol,
)

_WORD = {NOT: "not", "and": "and", "or": "or", IMPLIES: "=>", EQ: "=", ITE: "ite"}


def sort_name(sort: type[Sort]) -> str:
    """Return the name of a sort in SMT-LIB."""
    return "Bool" if sort is Bool else f"S_{sort.__name__}"


def symbol_name(symbol: Symbol) -> str:
    """Return the name of a relation or function in SMT-LIB."""
    return f"{'r' if symbol.range is Bool else 'f'}_{symbol.name}"


def translate(e: Expr, names: Mapping[Expr, str]) -> str:
    """Return `e` as SMT-LIB; `names` are its free variables."""
    return _Writer(dict(names)).write(e, 0)


class _Writer:
    def __init__(self, names: dict[Expr, str]) -> None:
        self.names = names

    def write(self, e: Expr, depth: int) -> str:
        kind = e.kind
        if kind is VAR:
            return self.names[e]
        if kind is APP:
            assert e.symbol is not None  # noqa: S101 - an application has one
            name = symbol_name(e.symbol)
            if not e.args:
                return name
            return f"({name} {' '.join([self.write(a, depth) for a in e.args])})"
        if kind is FORALL or kind is EXISTS:
            bound = []
            for i, v in enumerate(e.bound):
                self.names[v] = f"x_{depth + i}"
                bound.append(f"(x_{depth + i} {sort_name(v.sort)})")
            body = self.write(e.args[0], depth + len(e.bound))
            return f"({'forall' if kind is FORALL else 'exists'} ({' '.join(bound)}) {body})"
        if not e.args:
            return "true" if e is TRUE else "false"
        return f"({_WORD[kind]} {' '.join([self.write(a, depth) for a in e.args])})"


def declarations(
    sorts: Iterable[type[Sort]], symbols: Iterable[Symbol], constants: Mapping[str, type[Sort]]
) -> str:
    """Return the declarations that must come before the first assertion."""
    lines = [f"(declare-sort {sort_name(s)} 0)" for s in sorts]
    for s in symbols:
        domain = " ".join(sort_name(d) for d in s.domain)
        lines.append(f"(declare-fun {symbol_name(s)} ({domain}) {sort_name(s.range)})")
    lines += [f"(declare-const {name} {sort_name(sort)})" for name, sort in constants.items()]
    return "\n".join(lines) + "\n"
