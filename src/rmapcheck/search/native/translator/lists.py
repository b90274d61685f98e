"""Lists of numbers, loops over them, and comprehensions."""

import ast
from typing import Any

from rmapcheck.search.native.translator.expressions import Expressions
from rmapcheck.search.native.translator.kinds import INT, LIST, TEXT, Kind, Value

Loop = tuple[list[str], list[str]]
"""What opens a loop in C, up to the first line of its body, and what closes it."""


class Lists(Expressions):
    """Translates lists; sets of numbers are lists in which nothing comes twice."""

    def contains(
        self, left: ast.expr, right: ast.expr, node: ast.Compare, *, negated: bool
    ) -> Value:
        sign = "!" if negated else ""
        x = self.number(left)
        box = self.expr(right)
        if box.kind.name in ("list", "array"):
            inside = Value(self.as_list(box), LIST, busy=box.busy)
            code = self.ordered([x, inside], sign + "list_has({1}, {0})")
            return Value(f"({code})", INT, busy=x.busy or box.busy)
        if box.kind.name == "tuple":
            codes = [p.code for p in box.parts]
        elif box.kind.name == "constant":
            codes = [self.constant(v).code for v in box.const]
        else:
            self.refuse(node, f"nothing can be looked for in a {box.kind.name}")
        t = self.temp()
        tests = " || ".join(f"{t} == {c}" for c in codes) or "0"
        return Value(f"({{ int {t} = {x.code}; {sign}({tests}); }})", INT, busy=x.busy or box.busy)

    def join(self, node: ast.BinOp) -> Value:
        """``[0] * n`` and ``a + b``."""
        to = self.new_list()
        a = self.expr(node.left)
        if isinstance(node.op, ast.Mult) and isinstance(node.left, ast.List):
            b = self.number(node.right)
            return Value(f"list_repeat(st, &{to}, {a.code}, {b.code})", LIST, busy=True)
        b = self.expr(node.right)
        if not isinstance(node.op, ast.Add) or b.kind != LIST:
            self.refuse(node, "lists can be added, and repeated from a display, only")
        code = f"list_extend(st, list_copy(st, &{to}, {{0}}), {{1}})"
        return Value(self.ordered([a, b], code), LIST, busy=True)

    def expr_list(self, node: ast.List) -> Value:
        """``[a, b]``."""
        to = self.new_list()
        adds = [f"list_add(st, &{to}, {self.number(e).code});" for e in node.elts]
        return Value(f"({{ {to}.n = 0; {' '.join(adds)} &{to}; }})", LIST, busy=True)

    def expr_set(self, node: ast.Set) -> Value:
        """``{a, b}``."""
        to = self.new_list()
        adds = [f"set_add(st, &{to}, {self.number(e).code});" for e in node.elts]
        return Value(f"({{ {to}.n = 0; {' '.join(adds)} &{to}; }})", LIST, busy=True)

    def expr_listcomp(self, node: ast.ListComp) -> Value:
        """``[f(x) for x in list if c]``."""
        to = self.new_list()
        body = self._nest(node, lambda v: f"list_add(st, &{to}, {v.code});")
        return Value(f"({{ {to}.n = 0; {body} &{to}; }})", LIST, busy=True)

    def expr_setcomp(self, node: ast.SetComp) -> Value:
        """``{f(x) for x in list if c}``."""
        to = self.new_list()
        body = self._nest(node, lambda v: f"set_add(st, &{to}, {v.code});")
        return Value(f"({{ {to}.n = 0; {body} &{to}; }})", LIST, busy=True)

    def over_generator(self, name: str, node: ast.GeneratorExp) -> Value:
        """any(), all() and sum() of a generator expression."""
        t = self.temp()
        if name == "sum":
            body = self._nest(node, lambda v: f"{t} += {v.code};")
            return Value(f"({{ int {t} = 0; {body} {t}; }})", INT, busy=True)
        start, sign = ("0", "") if name == "any" else ("1", "!")
        done = f"done_{t}"
        body = self._nest(
            node, lambda v: f"if ({sign}({v.code})) {{ {t} = !{start}; goto {done}; }}"
        )
        return Value(f"({{ int {t} = {start}; {body} {done}:; {t}; }})", INT, busy=True)

    def _nest(self, node: Any, use: Any) -> str:  # noqa: ANN401 - any comprehension
        """Return the loops of a comprehension around `use` of its element."""
        outer = dict(self.variables)
        opening: list[str] = []
        closing: list[str] = []
        for part in node.generators:
            for name in ast.walk(part.target):
                if isinstance(name, ast.Name):
                    self.variables.pop(name.id, None)
            start, end = self.loop(part.target, part.iter)
            opening += start
            closing = end + closing
            for test in part.ifs:
                opening.append(f"if ({self.test(test)}) {{")
                closing.insert(0, "}")
        element = self.expr(node.elt)
        if element.kind not in (INT, TEXT, LIST):
            self.refuse(node, f"a comprehension gives numbers, not {element.kind.name}s")
        if element.kind == LIST:
            element = Value(f"({element.code})->n", INT)
        self.variables = outer
        return " ".join([*opening, use(element), *closing])

    # Loops.

    def loop(self, target: ast.expr, over: ast.expr) -> Loop:
        """Return the C loop for ``for target in over``."""
        if isinstance(over, ast.Call) and isinstance(over.func, ast.Name):
            if over.func.id == "range":
                return self._count(target, [self.number(a) for a in over.args], over)
            if over.func.id == "enumerate" and isinstance(target, ast.Tuple):
                return self._enumerate(target, over)
            if over.func.id == "reversed" and isinstance(over.args[0], ast.Call):
                return self._count_down(target, over.args[0])
        box = self.expr(over)
        if box.kind.name == "constant":
            return self._each_constant(target, list(box.const), over)
        if box.kind.name not in ("list", "array"):
            self.refuse(over, f"a loop over a {box.kind.name} is not translated")
        i, s = self.temp(), self.temp()
        x = self._loop_variable(target, INT)
        opening = [
            f"{{ List *{s} = {self.as_list(box)};",
            f"for (int {i} = 0; {i} < {s}->n; {i}++) {{ {x} = {s}->v[{i}];",
        ]
        return opening, ["}", "}"]

    def _loop_variable(self, target: ast.expr, kind: Kind) -> str:
        if not isinstance(target, ast.Name):
            self.refuse(target, "a loop over numbers has one variable")
        return self.declare(target.id, kind, target).code

    def _count(self, target: ast.expr, args: list[Value], node: ast.Call) -> Loop:
        """``range()``: evaluated once, and the body cannot disturb it."""
        start = args[0].code if len(args) > 1 else "0"
        step = args[2].const if len(args) > 2 else 1
        if not isinstance(step, int) or step == 0:
            self.refuse(node, "the step of range() must be a constant")
        i, end = self.temp(), self.temp()
        stop = args[1 if len(args) > 1 else 0].code
        x = self._loop_variable(target, INT)
        sign = "<" if step > 0 else ">"
        opening = [
            f"{{ int {i} = {start}, {end} = {stop};",
            f"for (; {i} {sign} {end}; {i} += {step}) {{ {x} = {i};",
        ]
        return opening, ["}", "}"]

    def _count_down(self, target: ast.expr, call: ast.Call) -> Loop:
        if not (
            isinstance(call.func, ast.Name) and call.func.id == "range" and len(call.args) < 3
        ):
            self.refuse(call, "reversed() takes a range() here")
        args = [self.number(a) for a in call.args]
        start = args[0].code if len(args) > 1 else "0"
        i, low = self.temp(), self.temp()
        x = self._loop_variable(target, INT)
        opening = [
            f"{{ int {low} = {start}, {i} = {args[-1].code};",
            f"while (--{i} >= {low}) {{ {x} = {i};",
        ]
        return opening, ["}", "}"]

    def _enumerate(self, target: ast.Tuple, call: ast.Call) -> Loop:
        start = self.number(call.args[1]).code if len(call.args) > 1 else "0"
        n = self._loop_variable(target.elts[0], INT)
        opening, closing = self.loop(target.elts[1], call.args[0])
        i = self.temp()
        opening = [f"{{ int {i} = {start};", *opening, f"{n} = {i}++;"]
        return opening, [*closing, "}"]

    def _each_constant(self, target: ast.expr, items: list[Any], node: ast.expr) -> Loop:
        """A loop over a constant tuple or dict."""
        values = [self.constant(v) for v in items]
        kinds = {v.kind for v in values}
        if len(kinds) > 1 or not kinds <= {INT, TEXT}:
            self.refuse(node, "a loop over constants has numbers only, or strings only")
        x = self._loop_variable(target, kinds.pop() if kinds else INT)
        i, table = self.temp(), self.temp()
        codes = ", ".join(v.code for v in values) or "0"
        opening = [
            f"{{ static const int {table}[] = {{{codes}}};",
            f"for (int {i} = 0; {i} < {len(values)}; {i}++) {{ {x} = {table}[{i}];",
        ]
        return opening, ["}", "}"]
