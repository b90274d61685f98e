"""Expressions: numbers, fields, comparisons, and what `and` and `or` are worth."""

import ast
from itertools import pairwise

from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.kinds import (
    INT,
    LIST,
    MISSING,
    TEXT,
    TUPLE,
    WORDS,
    Kind,
    Value,
)

BINARY = {
    ast.Add: "{0} + {1}",
    ast.Sub: "{0} - {1}",
    ast.Mult: "{0} * {1}",
    ast.FloorDiv: "floor_div(st, {0}, {1})",
    ast.Mod: "floor_mod(st, {0}, {1})",
    ast.BitAnd: "{0} & {1}",
    ast.BitOr: "{0} | {1}",
    ast.BitXor: "{0} ^ {1}",
}
COMPARE = {
    ast.Eq: "{0} == {1}",
    ast.NotEq: "{0} != {1}",
    ast.Lt: "{0} < {1}",
    ast.LtE: "{0} <= {1}",
    ast.Gt: "{0} > {1}",
    ast.GtE: "{0} >= {1}",
}
UNARY = {ast.USub: "(-({0}))", ast.UAdd: "({0})", ast.Invert: "(~({0}))"}
STATE_NUMBERS = ("spare", "nr_allocs", "fail_at")


class Expressions(Body):
    """Translates expressions other than calls and lists."""

    def expr(self, node: ast.expr) -> Value:
        folded = self.fold(node)
        if folded is not MISSING:
            return self.constant(folded)
        method = getattr(self, f"expr_{type(node).__name__.lower()}", None)
        if method is None:
            self.refuse(node, f"{type(node).__name__} expressions are not translated")
        value: Value = method(node)
        return value

    def test(self, node: ast.expr) -> str:
        """Return the C condition for an expression of which only the truth matters."""
        if isinstance(node, ast.BoolOp):
            return self._test_bool(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.test(node.operand)
            return {"0": "1", "1": "0"}.get(inner, f"!({inner})")
        return self.truth(self.expr(node), node)

    def _test_bool(self, node: ast.BoolOp) -> str:
        """Join conditions; one that is known decides, or drops out, before C sees the rest."""
        ends, sign = ("0", " && ") if isinstance(node.op, ast.And) else ("1", " || ")
        parts = []
        for operand in node.values:
            test = self.test(operand)
            if test == ends:
                parts.append(ends)
                break
            if test not in ("0", "1"):
                parts.append(test)
        if not parts:
            return "1" if ends == "0" else "0"
        if parts == [ends]:
            return ends
        return f"({sign.join(f'({p})' for p in parts)})"

    def expr_name(self, node: ast.Name) -> Value:
        """A variable."""
        if node.id in self.variables:
            return self.variables[node.id]
        return self.refuse(node, f"{node.id} is no variable with a value here")

    def expr_attribute(self, node: ast.Attribute) -> Value:
        """A field of an object, or a number that the state or a pool keeps."""
        base = self.expr(node.value)
        name = base.kind.name
        if name == "object":
            return self.field(base, node)
        if name == "operation":
            return self.operation_field(base, node)
        if name == "pool" and node.attr in ("live", "high"):
            count = "alive" if node.attr == "live" else "high"
            return Value(f"st->{base.kind.of}.{count}", INT)
        if name == "walk":
            if node.attr == "visited":
                return Value(f"(&({base.code})->visited)", LIST, busy=base.busy)
            if node.attr in ("nodes", "limit"):
                return Value(f"({base.code})->{node.attr}", INT, busy=base.busy)
        if name == "state" and node.attr in STATE_NUMBERS:
            return Value(f"st->{node.attr}", INT)
        if name == "state" and node.attr == "exhausted":
            return Value("st->exhausted", TEXT)
        return self.refuse(node, f"a {name} has no {node.attr!r} that C can read")

    def field(self, base: Value, node: ast.Attribute) -> Value:
        """A field of a struct; one that the scheme does not have is always 0."""
        struct = self.program.structs[base.kind.of]
        pointer = f"{struct.name}_ok(st, {base.code})"
        if base.code.startswith(f"{struct.name}_at(st, "):
            pointer = base.code.replace("_at(", "_ok_at(", 1)
        if node.attr in struct.arrays:
            kind = Kind("array", struct.name, struct.arrays[node.attr])
            return Value(f"{pointer}->{node.attr}", kind, busy=base.busy)
        if node.attr in struct.numbers:
            return Value(f"{pointer}->{node.attr}", INT, busy=base.busy)
        if node.attr in struct.absent:
            return Value(f"((void){pointer}, 0)", INT, busy=base.busy)
        return self.refuse(node, f"{struct.name} has no field {node.attr!r}")

    def operation_field(self, base: Value, node: ast.Attribute) -> Value:
        """An argument of an operation."""
        kinds = self.program.operation_fields
        if node.attr not in kinds:
            self.refuse(node, f"operations have no {node.attr!r}")
        return Value(f"({base.code})->{node.attr}", kinds[node.attr])

    def expr_subscript(self, node: ast.Subscript) -> Value:
        """An object of a pool, an element of a list, or a look-up in a constant."""
        base = self.expr(node.value)
        if isinstance(node.slice, ast.Slice):
            return self.part_of(base, node.slice, node)
        if base.kind.name == "constant":
            return self.look_up(base, node)
        if base.kind.name not in ("pool", "list", "array"):
            self.refuse(node, f"a {base.kind.name} has no elements")
        index = self._index(base, node.slice)
        busy = base.busy or index.busy
        if base.kind.name == "pool":
            pool = base.kind.of
            return Value(f"{pool}_at(st, {index.code})", Kind("object", pool), busy=busy)
        if base.kind.name == "list":
            code = self.ordered([base, index], "*list_at(st, {0}, {1})")
        else:
            code = self.ordered([base, index], f"*array_at(st, {{0}}, {base.kind.size}, {{1}})")
        return Value(f"({code})", INT, busy=busy)

    def _index(self, base: Value, node: ast.expr) -> Value:
        """An index; only a constant one may count from the end."""
        index = self.number(node)
        if not (index.known and index.const < 0):
            return index
        if base.kind.name == "list":
            return Value(f"({base.code})->n - {-index.const}", INT, busy=base.busy)
        if base.kind.name == "array":
            return Value(str(base.kind.size + index.const), INT)
        return self.refuse(node, "a pool has no negative references")

    def part_of(self, base: Value, part: ast.Slice, node: ast.expr) -> Value:
        """A slice, as a list of its own."""
        if base.kind.name not in ("list", "array") or part.step is not None:
            self.refuse(node, f"a {base.kind.name} cannot be sliced like this")
        low = self.number(part.lower).code if part.lower else "0"
        high = self.number(part.upper).code if part.upper else "CAPACITY"
        to = self.new_list()
        return Value(
            f"list_slice(st, &{to}, {self.as_list(base)}, {low}, {high})", LIST, busy=True
        )

    def as_list(self, value: Value) -> str:
        """Return C code of type List * for a list or an array field."""
        if value.kind.name == "array":
            name = self.new_list()
            return f"list_of(st, &{name}, {value.code}, {value.kind.size})"
        return value.code

    def look_up(self, base: Value, node: ast.Subscript) -> Value:
        """An element of a constant dict or tuple under a key known only in C."""
        key = self.number(node.slice)
        items = base.const
        if not isinstance(items, dict):
            items = dict(enumerate(items))
        code = {k: self.constant(k).code for k in items}
        width = {len(v) if isinstance(v, tuple) else 0 for v in items.values()}
        if width == {0}:
            values = {code[k]: self.constant(v).code for k, v in items.items()}
            return Value(self.program.table(values, key.code), INT, busy=key.busy)
        parts = []
        for i in range(width.pop()):
            values = {code[k]: self.constant(v[i]).code for k, v in items.items()}
            parts.append(Value(self.program.table(values, key.code), INT, busy=key.busy))
        return Value("", TUPLE, parts=tuple(parts))

    def expr_binop(self, node: ast.BinOp) -> Value:
        """Arithmetic on numbers, and lists put together."""
        if isinstance(node.left, ast.List) or self._is_list(node.left):
            return self.join(node)
        text = BINARY.get(type(node.op))
        if text is None:
            self.refuse(node, f"the operator {type(node.op).__name__} is not translated")
        both = [self.number(node.left), self.number(node.right)]
        return Value(f"({self.ordered(both, text)})", INT, busy=any(v.busy for v in both))

    def _is_list(self, node: ast.expr) -> bool:
        """Tell whether an operand is a list variable."""
        return (
            isinstance(node, ast.Name)
            and node.id in self.variables
            and (self.variables[node.id].kind == LIST)
        )

    def join(self, node: ast.BinOp) -> Value:
        """``[0] * n`` and ``a + b``."""
        raise NotImplementedError

    def expr_unaryop(self, node: ast.UnaryOp) -> Value:
        """``not x``, ``-x``, ``~x``."""
        if isinstance(node.op, ast.Not):
            test = self.test(node)
            return Value(test, INT, int(test) if test in ("0", "1") else MISSING)
        value = self.number(node.operand)
        return Value(UNARY[type(node.op)].format(value.code), INT, busy=value.busy)

    def expr_boolop(self, node: ast.BoolOp) -> Value:
        """``a or b`` is a if that is true, else b; ``a and b`` the other way round."""
        first = self.expr(node.values[0])
        rest = node.values[1] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[1:])
        ast.copy_location(rest, node)
        takes_rest = isinstance(node.op, ast.And)
        if first.known or first.kind.name in ("pool", "state", "scheme"):
            return self.expr(rest) if bool(first.const) == takes_rest else first
        second = self.expr(rest)
        if WORDS in (first.kind, second.kind):
            return Value("", WORDS)
        if first.kind not in (INT, TEXT) or second.kind not in (INT, TEXT):
            self.refuse(node, "`and` and `or` give numbers only")
        t = self.temp()
        pick = f"{second.code} : {t}" if takes_rest else f"{t} : {second.code}"
        code = f"({{ int {t} = {first.code}; {t} ? {pick}; }})"
        return Value(code, first.kind, busy=first.busy or second.busy)

    def expr_ifexp(self, node: ast.IfExp) -> Value:
        """``a if c else b``; of a known condition only the branch taken is translated."""
        test = self.test(node.test)
        if test in ("0", "1"):
            return self.expr(node.body if test == "1" else node.orelse)
        a = self.expr(node.body)
        b = self.expr(node.orelse)
        if WORDS in (a.kind, b.kind) or a.kind == TUPLE:
            return Value("", WORDS)
        if not a.kind.ctype or a.kind.ctype != b.kind.ctype:
            self.refuse(node, f"the two values are a {a.kind.name} and a {b.kind.name}")
        return Value(f"(({test}) ? {a.code} : {b.code})", a.kind, busy=True)

    def expr_joinedstr(self, _node: ast.JoinedStr) -> Value:
        """An f-string: only a message can want it."""
        return Value("", WORDS)

    def expr_tuple(self, node: ast.Tuple) -> Value:
        """Several values, to be unpacked; or the witness of a violation, which C drops."""
        parts = tuple(self.expr(e) for e in node.elts)
        return Value("", TUPLE, parts=parts, busy=any(p.busy for p in parts))

    def expr_compare(self, node: ast.Compare) -> Value:
        """One comparison, or a chain of them."""
        if len(node.ops) == 1:
            return self._compare(node.ops[0], node.left, node.comparators[0], node)
        values = [self.number(e) for e in (node.left, *node.comparators)]
        names = [self.temp() for _ in values]
        sets = [f"int {n} = {v.code};" for n, v in zip(names, values, strict=True)]
        tests = []
        for op, (a, b) in zip(node.ops, pairwise(names), strict=True):
            if type(op) not in COMPARE:
                self.refuse(node, "a chain of comparisons has numbers only")
            tests.append(f"({COMPARE[type(op)].format(a, b)})")
        # Python looks at the third only if the first two are in order, and so does this.
        code = f"({{ {sets[0]} {sets[1]} {tests[0]} && "
        for i, test in enumerate(tests[1:], 2):
            code += f"({{ {sets[i]} {test}" + " && " * (i < len(tests))
        return Value(code + "; })" * (len(tests)), INT, busy=any(v.busy for v in values))

    def _compare(self, op: ast.cmpop, left: ast.expr, right: ast.expr, node: ast.Compare) -> Value:
        if isinstance(op, ast.In | ast.NotIn):
            return self.contains(left, right, node, negated=isinstance(op, ast.NotIn))
        a, b = self.expr(left), self.expr(right)
        if {a.kind.name, b.kind.name} <= {"list", "rows", "array"}:
            if not isinstance(op, ast.Eq | ast.NotEq):
                self.refuse(node, "lists are compared for equality only")
            lists = [Value(self.as_list(v), LIST, busy=True) for v in (a, b)]
            sign = "" if isinstance(op, ast.Eq) else "!"
            return Value(f"({self.ordered(lists, sign + 'list_equal({0}, {1})')})", INT, busy=True)
        if type(op) not in COMPARE or {a.kind.name, b.kind.name} - {"int", "text"}:
            self.refuse(node, f"a {a.kind.name} and a {b.kind.name} are not compared like this")
        text = COMPARE[type(op)]
        return Value(f"({self.ordered([a, b], text)})", INT, busy=a.busy or b.busy)

    def contains(
        self, left: ast.expr, right: ast.expr, node: ast.Compare, *, negated: bool
    ) -> Value:
        """``x in list`` and ``x in (a, b)``."""
        raise NotImplementedError
