"""Statements, and the C function that they make."""

import ast
from typing import Any

from rmapcheck.search.native.translator.calls import Calls
from rmapcheck.search.native.translator.expressions import BINARY, STATE_NUMBERS
from rmapcheck.search.native.translator.kinds import (
    INT,
    LIST,
    NONE,
    ROWS,
    TEXT,
    TUPLE,
    WORDS,
    Value,
)
from rmapcheck.search.native.translator.source import definition


class Statements(Calls):
    """Translates the body of one function."""

    def block(self, body: list[ast.stmt]) -> bool:
        """Translate statements up to one that never goes on; True if there is one."""
        for statement in body:
            method = getattr(self, f"stmt_{type(statement).__name__.lower()}", None)
            if method is None:
                self.refuse(statement, f"{type(statement).__name__} statements are not translated")
            if method(statement):
                return True
        return False

    def stmt_pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def stmt_expr(self, node: ast.Expr) -> None:
        """A call, a docstring or a yield."""
        if isinstance(node.value, ast.Constant):
            return
        if isinstance(node.value, ast.Yield):
            self._yield(node.value)
        elif isinstance(node.value, ast.YieldFrom):
            self._yield_from(node.value)
        else:
            value = self.expr(node.value)
            if value.code:
                self.emit(f"{value.code};")

    def _yield(self, node: ast.Yield) -> None:
        if self.mode == "check":
            self.emit("return 1;")
        elif self.mode == "offer" and node.value is not None:
            op = self.expr(node.value)
            if op.kind.name != "operation":
                self.refuse(node, "what is possible must be an operation")
            self.emit(f"*offer(st) = *({op.code});")
        else:
            self.refuse(node, "a generator is translated only as an invariant or as possible()")

    def _yield_from(self, node: ast.YieldFrom) -> None:
        call = node.value
        if not isinstance(call, ast.Call):
            self.refuse(node, "`yield from` takes a call")
        bound, function = self._generator(call)
        called = definition(function)
        value = self.invoke(called, self.bind(called, bound, call), self.mode, call)
        if self.mode == "check":
            self.emit(f"if ({value.code}) return 1;")
        else:
            self.emit(f"{value.code};")

    def _generator(self, call: ast.Call) -> tuple[list[Value], Any]:
        if isinstance(call.func, ast.Name):
            return [], self.lookup(call.func.id)
        if isinstance(call.func, ast.Attribute):
            base = self.expr(call.func.value)
            if base.kind.name in ("class", "operation", "scheme", "part"):
                cls = base.const if base.kind.name == "class" else type(base.const)
                return [base], self._static(cls, call.func.attr, call)
        return self.refuse(call, "this generator is not translated")

    # Assignments.

    def stmt_annassign(self, node: ast.AnnAssign) -> None:
        """``found: list[int] = []``."""
        if node.value is None:
            return
        rows = isinstance(node.annotation, ast.Subscript) and "tuple" in ast.dump(
            node.annotation.slice
        )
        self.assign(node.target, self.expr(node.value), node.value, rows=rows)

    def stmt_assign(self, node: ast.Assign) -> None:
        """``a = b``, ``a.x = b``, ``a, b = c``."""
        if len(node.targets) != 1:
            self.refuse(node, "one assignment, one target")
        target = node.targets[0]
        value = self.expr(node.value)
        if isinstance(target, ast.Tuple):
            self._unpack(target, value, node.value)
        else:
            self.assign(target, value, node.value)

    def _unpack(self, target: ast.Tuple, value: Value, source: ast.expr) -> None:
        if value.kind != TUPLE:
            # What dangling() and leaked() found is for messages only.
            for name in target.elts:
                self.assign(name, Value("", WORDS), source)
            return
        if len(value.parts) != len(target.elts):
            self.refuse(target, "the numbers of targets and values differ")
        names = []
        for part in value.parts:
            if part.kind.ctype and part.kind.name not in ("list", "rows"):
                names.append(Value(self.temp(), part.kind, part.const, busy=part.busy))
                self.emit(f"{part.kind.ctype}{names[-1].code} = {part.code};")
            else:
                names.append(part)
        for name, part in zip(target.elts, names, strict=True):
            self.assign(name, part, source)

    def assign(
        self, target: ast.expr, value: Value, source: ast.expr, *, rows: bool = False
    ) -> None:
        """Assign a value to a variable, a field or an element."""
        if isinstance(target, ast.Name):
            self._assign_name(target, value, source, rows=rows)
        elif isinstance(target, ast.Attribute):
            self._assign_field(target, value)
        elif isinstance(target, ast.Subscript):
            self._assign_element(target, value)
        else:
            self.refuse(target, f"a {type(target).__name__} cannot be assigned to")

    def _assign_name(
        self, target: ast.Name, value: Value, source: ast.expr, *, rows: bool
    ) -> None:
        kind = value.kind
        if kind in (TUPLE, NONE) or kind.name == "constant":
            kind = WORDS
        if rows and kind == LIST:
            kind = ROWS
        if kind.name in ("list", "rows"):
            if isinstance(source, ast.Name | ast.Attribute):
                self.refuse(target, "two names of one list are not translated; copy it")
            to = self.declare(target.id, kind, target)
            self.emit(f"list_copy(st, {to.code}, {value.code});")
        elif kind.name == "operation":
            self.emit(f"{self.declare(target.id, kind, target).code[1:]} = *({value.code});")
        elif kind.ctype:
            self.emit(f"{self.declare(target.id, kind, target).code} = {value.code};")
        elif kind == WORDS:
            self.declare(target.id, WORDS, target)
        elif kind.name == "part":
            self.declare(target.id, kind, target)
            self.variables[target.id] = value
        else:
            self.refuse(target, f"a {kind.name} cannot be kept in a variable")

    def _assign_field(self, target: ast.Attribute, value: Value) -> None:
        base = self.expr(target.value)
        if value.kind not in (INT, TEXT):
            self.refuse(target, f"a field holds numbers, not a {value.kind.name}")
        if base.kind.name == "state" and target.attr in (*STATE_NUMBERS, "exhausted"):
            self.emit(f"st->{target.attr} = {value.code};")
            return
        if base.kind.name == "walk" and target.attr in ("nodes", "limit"):
            self.emit(f"({base.code})->{target.attr} = {value.code};")
            return
        if base.kind.name != "object":
            self.refuse(target, f"{target.attr} of a {base.kind.name} cannot be assigned to")
        t = self.temp()
        if target.attr in self.program.structs[base.kind.of].absent:
            self.emit(f"{{ int {t} = {value.code}; {base.kind.of}_ok(st, {base.code});")
            self.emit(f"if ({t}) no_such_field(st); }}")
            return
        field = self.field(base, target)
        self.emit(f"{{ int {t} = {value.code}; {field.code} = {t}; }}")

    def _assign_element(self, target: ast.Subscript, value: Value) -> None:
        if value.kind != INT:
            self.refuse(target, f"an element is a number, not a {value.kind.name}")
        element = self.expr_subscript(target)
        if element.kind != INT:
            self.refuse(target, "only elements of lists and arrays can be assigned to")
        t = self.temp()
        self.emit(f"{{ int {t} = {value.code}; {element.code} = {t}; }}")

    def stmt_augassign(self, node: ast.AugAssign) -> None:
        """``a.x += b``: the target is looked up once, before b is worked out."""
        if isinstance(node.target, ast.Name) and self._is_list(node.target):
            to = self.variables[node.target.id]
            self.emit(f"list_extend(st, {to.code}, {self.expr(node.value).code});")
            return
        text = BINARY.get(type(node.op))
        if text is None:
            self.refuse(node, f"the operator {type(node.op).__name__} is not translated")
        load = ast.parse(ast.unparse(node.target), mode="eval").body
        ast.copy_location(load, node)
        target = self.expr(load)
        if isinstance(node.target, ast.Attribute) and "_ok" not in target.code:
            base = self.expr(node.target.value)
            if base.kind.name not in ("walk", "state"):
                self.refuse(node, f"{node.target.attr} cannot be assigned to")
        value = self.number(node.value)
        if target.kind != INT or target.code.startswith("((void)"):
            self.refuse(node, "only numbers that the scheme has can be counted up")
        if isinstance(node.target, ast.Name):
            self.emit(f"{target.code} = {text.format(target.code, value.code)};")
            return
        p, old, t = self.temp(), self.temp(), self.temp()
        self.emit(f"{{ __auto_type {p} = &({target.code}); int {old} = *{p};")
        self.emit(f"int {t} = {value.code}; *{p} = {text.format(old, t)}; }}")

    # Flow.

    def stmt_if(self, node: ast.If) -> bool:
        """Of a known condition only the branch taken is translated."""
        test = self.test(node.test)
        if test in ("0", "1"):
            return self.block(node.body if test == "1" else node.orelse)
        self.emit(f"if ({test}) {{")
        ends = self.block(node.body)
        if node.orelse:
            self.emit("} else {")
        ends &= self.block(node.orelse)
        self.emit("}")
        return ends

    def stmt_while(self, node: ast.While) -> None:
        """A loop; one that never ends is reported."""
        if node.orelse:
            self.refuse(node, "`else` of a loop is not translated")
        turns = self.temp()
        self.emit(f"{{ int {turns} = 0;")
        self.emit(f"while ({self.test(node.test)}) {{ count_turn(st, ++{turns});")
        self.block(node.body)
        self.emit("} }")

    def stmt_for(self, node: ast.For) -> None:
        """A loop over numbers."""
        if node.orelse:
            self.refuse(node, "`else` of a loop is not translated")
        opening, closing = self.loop(node.target, node.iter)
        self.lines += opening
        self.block(node.body)
        self.lines += closing

    def stmt_break(self, _node: ast.Break) -> bool:
        """Leave the loop."""
        self.emit("break;")
        return True

    def stmt_continue(self, _node: ast.Continue) -> bool:
        """Go on with the loop."""
        self.emit("continue;")
        return True

    def stmt_return(self, node: ast.Return) -> bool:
        """Return a number, a list or an object."""
        if self.mode != "plain":
            self.emit("return 0;")
        else:
            self._return_value(node)
        return True

    def _return_value(self, node: ast.Return) -> None:
        value = self.expr(node.value) if node.value else Value("0", NONE)
        kind = WORDS if value.kind == TUPLE else value.kind
        if kind == NONE:
            self.emit("return 0;")
            return
        self.instance.settle(kind, lambda reason: self.refuse(node, reason))
        if kind.name in ("list", "rows"):
            self.emit(f"return list_copy(st, result, {value.code});")
        elif kind.ctype:
            self.emit(f"return {value.code};")
        else:
            self.emit("return 0;")

    def function(self) -> str:
        """Return the function in C."""
        self.block(self.definition.node.body)
        kind = self.instance.result
        lists = kind.name in ("list", "rows")
        last = "return result;" if lists else "return 0;"
        guard = ["count_call(st);"] if self.instance.recursive else []
        head = self.instance.prototype() + " {"
        return "\n".join([head, *self.declared, *guard, *self.lines, last, "}"])
