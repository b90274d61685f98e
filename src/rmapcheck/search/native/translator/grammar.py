"""The subset of Python that is translated: each node type, and the function that translates it."""

import ast

from rmapcheck.search.native.translator import (
    arithmetic,
    assignments,
    calls,
    conditions,
    fields,
    lists,
    loops,
    statements,
)
from rmapcheck.search.native.translator.body import Grammar

GRAMMAR = Grammar(
    expressions={
        ast.Attribute: fields.attribute,
        ast.BinOp: arithmetic.binary,
        ast.BoolOp: conditions.either,
        ast.Call: calls.call,
        ast.Compare: conditions.comparison,
        ast.IfExp: conditions.conditional,
        ast.JoinedStr: fields.message,
        ast.List: lists.list_display,
        ast.ListComp: loops.list_comprehension,
        ast.Name: fields.variable,
        ast.Set: lists.set_display,
        ast.SetComp: loops.set_comprehension,
        ast.Subscript: fields.element,
        ast.Tuple: fields.several,
        ast.UnaryOp: arithmetic.unary,
    },
    statements={
        ast.AnnAssign: assignments.annotated,
        ast.Assign: assignments.assign,
        ast.AugAssign: assignments.augmented,
        ast.Break: statements.break_,
        ast.Continue: statements.continue_,
        ast.Expr: statements.alone,
        ast.For: statements.for_,
        ast.If: statements.if_,
        ast.Pass: statements.pass_,
        ast.Return: statements.return_,
        ast.While: statements.while_,
    },
)
