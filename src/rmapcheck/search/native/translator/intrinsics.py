"""Calls for which C has its own code: allocation, locks, pools, notes of a step, builtins.

Their Python source is not translated. The code is in c/runtime.c and layout/heap.py.
"""

import ast
from typing import Any

from rmapcheck.model import branches
from rmapcheck.model.machine import cost, events, heap, locks
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.search.arms import covered
from rmapcheck.search.native.translator import on_stack
from rmapcheck.search.native.translator.body import Body
from rmapcheck.search.native.translator.conditions import truth
from rmapcheck.search.native.translator.functions import bind
from rmapcheck.search.native.translator.kinds import INT, LIST, NONE, WALK, WORDS, Value
from rmapcheck.search.native.translator.lists import as_list, empty_list
from rmapcheck.search.native.translator.loops import over_generator
from rmapcheck.search.native.translator.source import definition

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


def of_model(body: Body, function: Any, node: ast.Call) -> Value | None:  # noqa: ANN401
    """Translate a call of a function of model/machine that C has, too; None for other calls."""
    if function is heap.kmem_cache_alloc:
        pool = _pool(body, node.args[1])
        return Value(f"{pool}_alloc(st)", INT, busy=True)
    if function is heap.kmem_cache_free:
        pool = _pool(body, node.args[1])
        return Value(f"{pool}_free(st, {body.number(node.args[2]).code})", NONE, busy=True)
    if function is heap.claim:
        pool = _pool(body, node.args[0])
        return Value(f"{pool}_claim(st, {body.number(node.args[1]).code})", NONE, busy=True)
    if function is heap.bug:
        what = body.expr(node.args[1])
        return Value(f"stop(st, OOPS_BUG, {what.code}, 0)", NONE, busy=True)
    if function is RmapWalkControl:
        return _walk(body)
    if on_stack.is_local(function):
        return on_stack.make(body, function, node)
    if function in LOCKS:
        return _lock(body, function, node)
    if function is branches.passed:
        return _passed(body, node.args[1])
    if function is covered:
        return Value(f"reach(st, {body.number(node.args[0]).code})", NONE, busy=True)
    if function in UNSEEN:
        return Value("", NONE)
    return None


def _pool(body: Body, node: ast.expr) -> str:
    pool = body.expr(node)
    if pool.kind.name != "pool":
        body.refuse(node, "a pool is needed here")
    return pool.kind.of


def _walk(body: Body) -> Value:
    """``RmapWalkControl()``."""
    name = body.temp()
    body.declared.append(f"Walk {name};")
    body.program.walks += 1
    code = f"walk_start(&{name}, st->walk[{body.program.walks - 1}])"
    return Value(code, WALK, busy=True)


def _lock(body: Body, function: Any, node: ast.Call) -> Value:  # noqa: ANN401
    name, wanted = LOCKS[function]
    values = bind(body, definition(function), (), node, drop=("what",))
    args = [values[w] for w in wanted]
    holes = "".join(f", {{{i}}}" for i in range(len(args)))
    text = f"{name}(st{holes})"
    result = INT if function in (locks.held_index, locks.trylock) else NONE
    body.program.asks_locks |= result is INT
    if not body.program.locks:
        # Locks are not tracked, but finding the lock's owner may still access freed memory.
        text = " ".join(f"(void)({{{i}}});" for i in range(len(args)))
        text = f"({{{{ {text} 0; }}}})"
    return Value(body.ordered(args, text), result, busy=True)


def _passed(body: Body, branch: ast.expr) -> Value:
    """Translate ``passed(st, "split")``. C notes only branches that are goals of the search."""
    names = {c.value for c in ast.walk(branch) if isinstance(c, ast.Constant)}
    if not any(isinstance(name, str) for name in names):
        body.refuse(branch, "passed() must get the name of a branch as a string literal")
    if not names & body.program.branches:
        return Value("", NONE)
    return Value(f"reach(st, {body.number(branch).code})", NONE, busy=True)


# Methods of what the state keeps.


def of_state(body: Body, func: ast.Attribute, node: ast.Call) -> Value | None:
    """Translate ``st.splats.append()`` and its like; None if it is no such call."""
    inner = func.value
    if not isinstance(inner, ast.Attribute) or not isinstance(inner.value, ast.Name):
        return None
    base = body.variables.get(inner.value.id)
    if base is None or base.kind.name != "state":
        return None
    what = f"{inner.attr}.{func.attr}"
    if what == "splats.append":
        return Value("(void)st->splats++", NONE, busy=True)
    if what in ("layout.dangling", "layout.leaked"):
        return Value(f"{func.attr}(st)", INT, busy=True)
    return None


def of_pool(body: Body, base: Value, name: str, node: ast.Call) -> Value:
    """Translate ``st.vma.is_live(v)`` and similar calls."""
    pool = base.kind.of
    if name == "is_live":
        index = body.number(node.args[0])
        return Value(f"{pool}_is_live(st, {index.code})", INT, busy=index.busy)
    if name == "indices":
        return Value(f"{pool}_indices(st, &{body.new_list()})", LIST, busy=True)
    return body.refuse(node, f"a pool has no method {name}() in C")


# Builtins.


def builtin(body: Body, name: str, node: ast.Call) -> Value:
    """Translate ``len(found)``, ``min(a, b)``, ``any(… for … in …)`` and similar calls."""
    if name in ("any", "all", "sum") and isinstance(node.args[0], ast.GeneratorExp):
        return over_generator(body, name, node.args[0])
    if name == "set" and not node.args:
        return empty_list(body)
    if name in ("min", "max") and len(node.args) == 2 and not node.keywords:
        both = [body.number(a) for a in node.args]
        code = body.ordered(both, f"{name}_of({{0}}, {{1}})")
        return Value(code, INT, busy=any(v.busy for v in both))
    if len(node.args) != 1 or node.keywords:
        body.refuse(node, f"{name}() with these arguments is not translated")
    return _builtin_of_one(body, name, body.expr(node.args[0]), node)


def _builtin_of_one(body: Body, name: str, value: Value, node: ast.Call) -> Value:
    if name == "bool":
        return Value(f"(({truth(body, value, node)}) != 0)", INT, busy=value.busy)
    if name == "int" and value.kind == INT:
        return value
    if name == "str":
        return Value("", WORDS)
    if value.kind.name not in ("list", "array"):
        body.refuse(node, f"{name}() of {value.kind.noun} is not translated")
    code = as_list(body, value)
    if name == "len":
        return Value(f"({code})->n", INT, busy=value.busy)
    if name in ("list", "tuple", "set", "sorted"):
        word = {"set": "set_copy", "sorted": "list_sorted"}.get(name, "list_copy")
        return Value(f"{word}(st, &{body.new_list()}, {code})", LIST, busy=True)
    if name == "any":
        return Value(f"list_any({code})", INT, busy=value.busy)
    return body.refuse(node, f"{name}() is not translated")
