"""Turns a Python function into C functions, one for each different use of it.

Two calls share a C function if their arguments have the same kinds. Arguments that are known while
translating (the scheme, a pool, a part) must also have the same values.
"""

import ast
from collections.abc import Sequence

from rmapcheck.search.native.translator.body import Body, Grammar
from rmapcheck.search.native.translator.constants import constant
from rmapcheck.search.native.translator.kinds import MISSING, TUPLE, WORDS, Kind, Value
from rmapcheck.search.native.translator.program import Instance, Program
from rmapcheck.search.native.translator.resolve import Callee
from rmapcheck.search.native.translator.source import Definition, Untranslatable, definition


def call(body: Body, callee: Callee, node: ast.Call) -> Value:
    """Translate a call of a function of the model."""
    called = definition(callee.function)
    values = bind(body, called, callee.bound, node)
    if called.generator:
        body.refuse(node, "a generator can only be called with `yield from`")
    return invoke(body, called, values, "plain", node)


def bind(
    body: Body,
    called: Definition,
    bound: Sequence[Value],
    node: ast.Call,
    drop: tuple[str, ...] = (),
) -> dict[str, Value]:
    """Return the value of each parameter, in the order in which Python evaluates the arguments."""
    names = called.parameters()
    values: dict[str, Value] = dict(zip(names, bound, strict=False))
    for name, arg in zip(names[len(bound) :], node.args, strict=False):
        if name not in drop:
            values[name] = body.expr(arg)
    if len(bound) + len(node.args) > len(names):
        body.refuse(node, f"{called.node.name}() gets too many arguments")
    for keyword in node.keywords:
        if keyword.arg not in names:
            body.refuse(node, f"{called.node.name}() has no parameter {keyword.arg}")
        values[str(keyword.arg)] = body.expr(keyword.value)
    for name in names:
        if name not in values and name not in drop:
            values[name] = _default(body, called, name, node)
    return values


def _default(body: Body, called: Definition, name: str, node: ast.Call) -> Value:
    function = called.function
    value = (function.__kwdefaults__ or {}).get(name, MISSING)
    positional = [p.arg for p in called.node.args.args]
    defaults = dict(zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False))
    value = defaults.get(name, value)
    if value is MISSING:
        body.refuse(node, f"{called.node.name}() needs an argument {name}")
    return constant(body.program, value)


def invoke(
    body: Body, called: Definition, values: dict[str, Value], mode: str, node: ast.AST
) -> Value:
    """Return a call of the C function for arguments of these kinds."""
    order = called.parameters()
    for name in order:
        if values[name].kind in (TUPLE, WORDS):
            body.refuse(node, f"argument {name} of {called.node.name}() cannot be passed in C")
    ours = [values[n] for n in order]
    instance = _instance(body.program, body.grammar, called, ours, mode)
    passed = [(n, v) for n, v in values.items() if v.kind.ctype]
    holes = {n: f"{{{i}}}" for i, (n, _) in enumerate(passed)}
    args = ["st", *(holes[n] for n in order if n in holes)]
    if instance.result.name in ("list", "rows"):
        to = body.new_list()
        args.append(f"&{to}")
    code = body.ordered([v for _, v in passed], f"{instance.name}({', '.join(args)})")
    if instance.result == WORDS:
        return Value("", WORDS)
    return Value(code, instance.result, busy=True)


def root(
    program: Program, grammar: Grammar, called: Definition, values: dict[str, Value], mode: str
) -> str:
    """Return the name of the C function that the engine calls."""
    for name in called.parameters():
        if name not in values:
            raise Untranslatable(
                called.file, called.node.lineno, f"nothing passes {name} to this function"
            )
    given = [values[n] for n in called.parameters()]
    return _instance(program, grammar, called, given, mode).name


def _instance(
    program: Program, grammar: Grammar, called: Definition, values: list[Value], mode: str
) -> Instance:
    """Return the C function of `called` for such arguments; write it if it is new."""
    kinds = tuple(_kind(v) for v in values)
    key = (called.function, kinds, mode)
    if key in program.instances:
        known = program.instances[key]
        known.recursive |= not known.done
        return known
    names = called.parameters()
    pairs = [(n, k) for n, k in zip(names, kinds, strict=True) if k.ctype]
    instance = Instance(called, f"{called.node.name}_{len(program.instances)}", pairs)
    program.instances[key] = instance
    body = Body(program, instance, mode, grammar)
    for name, kind, value in zip(names, kinds, values, strict=True):
        body.variables[name] = Value(f"p_{name}", kind) if kind.ctype else value
    body.block(called.node.body)
    program.functions.append(_text(body))
    instance.done = True
    return instance


def _kind(value: Value) -> Kind:
    """Return the kind of an argument. If it has no C type, the kind also identifies its value."""
    if value.kind.ctype:
        return value.kind
    return Kind(value.kind.name, value.kind.of or repr(value.const))


def _text(body: Body) -> str:
    """Return the function in C."""
    lists = body.instance.result.name in ("list", "rows")
    last = "return result;" if lists else "return 0;"
    guard = ["count_call(st);"] if body.instance.recursive else []
    head = body.instance.prototype() + " {"
    return "\n".join([head, *body.declared, *guard, *body.lines, last, "}"])
