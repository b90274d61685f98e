"""Calls: functions of the model, methods found along the MRO, and the intrinsics."""

import ast
from types import FunctionType
from typing import Any

from rmapcheck.model.machine import cost, events, heap, locks
from rmapcheck.model.machine.state import RmapWalkControl
from rmapcheck.model.operations import Operation
from rmapcheck.search.native.translator.kinds import (
    INT,
    LIST,
    MISSING,
    NONE,
    TUPLE,
    WALK,
    WORDS,
    Kind,
    Value,
)
from rmapcheck.search.native.translator.lists import Lists
from rmapcheck.search.native.translator.parts import is_own, is_part
from rmapcheck.search.native.translator.source import Definition, definition

LOCKS = {
    locks.acquire: ("lock_acquire", ("kind", "index", "write")),
    locks.release: ("lock_release", ("kind", "index")),
    locks.assert_held: ("lock_assert_held", ("kind", "index")),
    locks.assert_held_write: ("lock_assert_held_write", ("kind", "index")),
    locks.might_sleep: ("lock_might_sleep", ()),
    locks.held_index: ("lock_held_index", ("kind",)),
    locks.trylock: ("lock_try", ("kind", "index")),
}
UNSEEN = (events.tell, cost.count_nodes, cost.count_entries)
"""What only the interpreted model does: observers and counters."""


class Calls(Lists):
    """Translates calls."""

    def expr_call(self, node: ast.Call) -> Value:
        func = node.func
        if isinstance(func, ast.Name):
            variable = self.variables.get(func.id)
            if variable is not None and variable.kind.name == "class":
                return self.make_operation(variable.const, node)
            if variable is not None:
                self.refuse(node, f"{func.id} is a variable and cannot be called")
            return self._call_global(self.lookup(func.id), node)
        if isinstance(func, ast.Attribute):
            return self._call_attribute(func, node)
        return self.refuse(node, "only named functions can be called")

    def _call_global(self, function: Any, node: ast.Call) -> Value:  # noqa: ANN401
        if function is heap.kmem_cache_alloc:
            pool = self._pool(node.args[1])
            return Value(f"{pool}_alloc(st)", INT, busy=True)
        if function is heap.kmem_cache_free:
            pool = self._pool(node.args[1])
            return Value(f"{pool}_free(st, {self.number(node.args[2]).code})", NONE, busy=True)
        if function is heap.claim:
            pool = self._pool(node.args[0])
            return Value(f"{pool}_claim(st, {self.number(node.args[1]).code})", NONE, busy=True)
        if function in LOCKS:
            return self._lock(function, node)
        if function in UNSEEN:
            return Value("", NONE)
        if function is heap.bug:
            what = self.expr(node.args[1])
            return Value(f"stop(st, OOPS_BUG, {what.code}, 0)", NONE, busy=True)
        if function is RmapWalkControl:
            name = self.temp()
            self.declared.append(f"Walk {name};")
            self.program.walks += 1
            code = f"walk_start(&{name}, st->walk[{self.program.walks - 1}])"
            return Value(code, WALK, busy=True)
        if isinstance(function, FunctionType):
            return self.call_function(function, [], node)
        if isinstance(function, type) and issubclass(function, Operation):
            return self.make_operation(function, node)
        return self._builtin(getattr(function, "__name__", ""), node)

    def _pool(self, node: ast.expr) -> str:
        pool = self.expr(node)
        if pool.kind.name != "pool":
            self.refuse(node, "a pool is wanted here")
        return pool.kind.of

    def _lock(self, function: Any, node: ast.Call) -> Value:  # noqa: ANN401
        name, wanted = LOCKS[function]
        values = self.bind(definition(function), [], node, drop=("what",))
        args = [values[w] for w in wanted]
        holes = "".join(f", {{{i}}}" for i in range(len(args)))
        text = f"{name}(st{holes})"
        result = INT if function in (locks.held_index, locks.trylock) else NONE
        self.program.asks_locks |= result is INT
        if not self.program.locks:
            # Nobody asks for lock_discipline; but whose lock it is may lead through freed memory.
            text = " ".join(f"(void)({{{i}}});" for i in range(len(args)))
            text = f"({{{{ {text} 0; }}}})"
        return Value(self.ordered(args, text), result, busy=True)

    def _builtin(self, name: str, node: ast.Call) -> Value:
        if name in ("any", "all", "sum") and isinstance(node.args[0], ast.GeneratorExp):
            return self.over_generator(name, node.args[0])
        if name == "set" and not node.args:
            return self.expr_list(ast.List([], ast.Load()))
        if name in ("min", "max") and len(node.args) == 2 and not node.keywords:
            both = [self.number(a) for a in node.args]
            code = self.ordered(both, f"{name}_of({{0}}, {{1}})")
            return Value(code, INT, busy=any(v.busy for v in both))
        if len(node.args) != 1 or node.keywords:
            self.refuse(node, f"{name or 'this'}() is not translated, at least not like this")
        return self._builtin_of_one(name, self.expr(node.args[0]), node)

    def _builtin_of_one(self, name: str, value: Value, node: ast.Call) -> Value:
        if name == "bool":
            return Value(f"(({self.truth(value, node)}) != 0)", INT, busy=value.busy)
        if name == "int" and value.kind == INT:
            return value
        if name == "str":
            return Value("", WORDS)
        if value.kind.name not in ("list", "array"):
            self.refuse(node, f"{name}() of a {value.kind.name} is not translated")
        code = self.as_list(value)
        if name == "len":
            return Value(f"({code})->n", INT, busy=value.busy)
        if name in ("list", "tuple", "set", "sorted"):
            word = {"set": "set_copy", "sorted": "list_sorted"}.get(name, "list_copy")
            return Value(f"{word}(st, &{self.new_list()}, {code})", LIST, busy=True)
        if name == "any":
            return Value(f"list_any({code})", INT, busy=value.busy)
        return self.refuse(node, f"{name}() is not translated")

    # Methods.

    def _call_attribute(self, func: ast.Attribute, node: ast.Call) -> Value:
        special = self._state_method(func, node)
        if special is not None:
            return special
        if isinstance(func.value, ast.Call) and _is_super(func.value):
            return self._call_super(func.attr, node)
        folded = self.fold(func.value)
        if isinstance(folded, type):
            bound = [self.expr(func.value)] if _is_classmethod(folded, func.attr) else []
            return self.call_function(self._static(folded, func.attr, node), bound, node)
        if isinstance(folded, str):
            return Value("", WORDS)
        if is_part(folded):
            return self._call_part(folded, func, node)
        if isinstance(getattr(folded, func.attr, None), FunctionType):
            return self.call_function(getattr(folded, func.attr), [], node)
        base = self.expr(func.value)
        if base.kind.name == "scheme":
            return self.call_method(type(base.const), func.attr, base, node)
        if base.kind.name == "operation":
            return self.call_method(self.program.operations[base.kind.of], func.attr, base, node)
        if base.kind.name == "pool":
            return self._pool_method(base, func.attr, node)
        if base.kind.name in ("list", "rows", "array"):
            return self._list_method(base, func.attr, node)
        return self.refuse(node, f"a {base.kind.name} has no method {func.attr}() in C")

    def _call_part(self, part: object, func: ast.Attribute, node: ast.Call) -> Value:
        """A method of a part of the scheme: `self` in it is that part."""
        if is_own(part, func.attr):
            self.refuse(node, f"{func.attr} of this {type(part).__name__} is not of its class")
        if _is_classmethod(type(part), func.attr):
            base = self.constant(type(part))
        else:
            base = self.constant(part)
        return self.call_method(type(part), func.attr, base, node)

    def _state_method(self, func: ast.Attribute, node: ast.Call) -> Value | None:
        """``st.reached.append()`` and its like, or None."""
        inner = func.value
        if not isinstance(inner, ast.Attribute) or not isinstance(inner.value, ast.Name):
            return None
        base = self.variables.get(inner.value.id)
        if base is None or base.kind.name != "state":
            return None
        what = f"{inner.attr}.{func.attr}"
        if what == "reached.append":
            return Value(f"reach(st, {self.number(node.args[0]).code})", NONE, busy=True)
        if what == "rules.append":
            return Value("(void)0", NONE, busy=True)
        if what == "splats.append":
            return Value("(void)st->splats++", NONE, busy=True)
        if what in ("layout.dangling", "layout.leaked"):
            return Value(f"{func.attr}(st)", INT, busy=True)
        return None

    def _pool_method(self, base: Value, name: str, node: ast.Call) -> Value:
        pool = base.kind.of
        if name == "is_live":
            index = self.number(node.args[0])
            return Value(f"{pool}_is_live(st, {index.code})", INT, busy=index.busy)
        if name == "indices":
            return Value(f"{pool}_indices(st, &{self.new_list()})", LIST, busy=True)
        return self.refuse(node, f"a pool has no method {name}() in C")

    def _list_method(self, base: Value, name: str, node: ast.Call) -> Value:
        code = self.as_list(base)
        item = self.expr(node.args[0]) if node.args else self.constant(0)
        if name == "append" and item.kind == TUPLE and base.kind.name == "rows":
            adds = " ".join(f"list_add(st, {code}, {p.code});" for p in item.parts)
            return Value(f"({{ {adds} }})", NONE, busy=True)
        if name in ("append", "add") and base.kind == LIST and item.kind == INT:
            word = "list_add" if name == "append" else "set_add"
            return Value(f"{word}(st, {code}, {item.code})", NONE, busy=True)
        if name == "discard":
            return Value(f"set_discard({code}, {item.code})", NONE, busy=True)
        if name == "count":
            return Value(f"list_count({code}, {item.code})", INT, busy=base.busy or item.busy)
        return self.refuse(node, f"{name}() of a {base.kind.name} is not translated")

    def _static(self, cls: type, name: str, node: ast.AST) -> FunctionType:
        """Return method `name` of class `cls`, found along its MRO."""
        for base in cls.__mro__:
            if name in vars(base):
                function = getattr(vars(base)[name], "__func__", vars(base)[name])
                if isinstance(function, FunctionType):
                    return function
        return self.refuse(node, f"{cls.__name__} has no method {name}()")

    def call_method(self, cls: type, name: str, base: Value, node: ast.Call) -> Value:
        """Call the method that an object of class `cls` has under `name`."""
        function = self._static(cls, name, node)
        owner = next(c for c in cls.__mro__ if name in vars(c))
        bound = [] if isinstance(vars(owner)[name], staticmethod) else [base]
        return self.call_function(function, bound, node)

    def _call_super(self, name: str, node: ast.Call) -> Value:
        """super().name(): the next class along the MRO after the one this function is in."""
        here = self.definition.function.__qualname__.rpartition(".")[0]
        values = self.variables.values()
        self_ = next((v for v in values if v.kind.name in ("scheme", "part")), None)
        mro = type(self_.const).__mro__ if self_ else ()
        own = self.definition.function
        at = next(
            (i for i, c in enumerate(mro) if vars(c).get(self.definition.node.name) is own), -1
        )
        for cls in mro[at + 1 :] if at >= 0 else []:
            if self_ and name in vars(cls):
                return self.call_function(vars(cls)[name], [self_], node)
        return self.refuse(node, f"super() of {here} has no {name}()")

    # Functions of the model.

    def bind(
        self,
        called: Definition,
        bound: list[Value],
        node: ast.Call,
        drop: tuple[str, ...] = (),
    ) -> dict[str, Value]:
        """Return the value of each parameter, in the order in which Python evaluates them."""
        names = called.parameters()
        values: dict[str, Value] = dict(zip(names, bound, strict=False))
        for name, arg in zip(names[len(bound) :], node.args, strict=False):
            if name not in drop:
                values[name] = self.expr(arg)
        if len(bound) + len(node.args) > len(names):
            self.refuse(node, f"{called.node.name}() gets too many arguments")
        for keyword in node.keywords:
            if keyword.arg not in names:
                self.refuse(node, f"{called.node.name}() has no parameter {keyword.arg}")
            values[str(keyword.arg)] = self.expr(keyword.value)
        for name in names:
            if name not in values and name not in drop:
                values[name] = self._default(called, name, node)
        return values

    def _default(self, called: Definition, name: str, node: ast.Call) -> Value:
        function = called.function
        value = (function.__kwdefaults__ or {}).get(name, MISSING)
        positional = [p.arg for p in called.node.args.args]
        defaults = dict(
            zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False)
        )
        value = defaults.get(name, value)
        if value is MISSING:
            self.refuse(node, f"{called.node.name}() gets no {name}")
        return self.constant(value)

    def call_function(
        self,
        function: FunctionType,
        bound: list[Value],
        node: ast.Call,
    ) -> Value:
        called = definition(function)
        values = self.bind(called, bound, node)
        if called.generator:
            self.refuse(node, "a generator can only be handed on with `yield from`")
        return self.invoke(called, values, "plain", node)

    def invoke(
        self, called: Definition, values: dict[str, Value], mode: str, node: ast.AST
    ) -> Value:
        """Return the call of the C function for these kinds of arguments."""
        order = called.parameters()
        for name in order:
            if values[name].kind in (TUPLE, WORDS):
                self.refuse(node, f"{name} of {called.node.name}() cannot be passed in C")
        kinds = tuple(
            v.kind if v.kind.ctype else Kind(v.kind.name, _identity(v))
            for v in (values[name] for name in order)
        )
        instance = self.program.instance(called, kinds, [values[n] for n in order], mode)
        passed = [(n, v) for n, v in values.items() if v.kind.ctype]
        holes = {n: f"{{{i}}}" for i, (n, _) in enumerate(passed)}
        args = ["st", *(holes[n] for n in order if n in holes)]
        if instance.result.name in ("list", "rows"):
            to = self.new_list()
            args.append(f"&{to}")
        code = self.ordered([v for _, v in passed], f"{instance.name}({', '.join(args)})")
        if instance.result == WORDS:
            return Value("", WORDS)
        return Value(code, instance.result, busy=True)

    def make_operation(self, cls: type[Operation], node: ast.Call) -> Value:
        """``cls(mm=mm, …)``."""
        name = self.temp()
        self.declared.append(f"Op {name};")
        parts = [f".type = {self.program.operation_number(cls)}"]
        given = {k.arg: self.number(k.value) for k in node.keywords}
        for field, default in self.program.arguments(cls).items():
            value = given.pop(field, None)
            if value is None:
                value = self.constant(default)
            parts.append(f".{field} = {value.code}")
        if given or node.args:
            self.refuse(node, f"{cls.__name__} has no such arguments")
        code = f"({{ {name} = (Op){{{', '.join(parts)}}}; &{name}; }})"
        return Value(code, Kind("operation", cls.__name__), busy=True)


def _identity(value: Value) -> str:
    """Return what tells apart two values of a kind that exists only while translating."""
    return value.kind.of or repr(value.const)


def _is_classmethod(cls: type, name: str) -> bool:
    return any(isinstance(vars(c).get(name), classmethod) for c in cls.__mro__)


def _is_super(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "super" and not call.args
