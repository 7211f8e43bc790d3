"""Python as the tree of the analysers."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Final

from ccos.capabilities import canonical_id
from ccos.engine.plans import CALL
from ccos.errors import InvalidIdentifierError
from ccos.resolution.validation import code as tree
from ccos.resolution.validation.findings import Issue, at_line, issue

_JOINING: Final = frozenset({"join", "format"})
_NESTING: Final = (ast.stmt, ast.Call, ast.List, ast.Dict, ast.Tuple, ast.Set, ast.BinOp)
_GO_ON: Final = tree.Constant(True, 0)


def read_python(code: tree.Code) -> tuple[tree.Read | None, list[Issue]]:
    """The code as a tree; None with the findings that say why there is none."""
    try:
        module = ast.parse(code.source)
    except SyntaxError as error:
        return None, [issue("SYNTAX002", f"{error.msg}.", at_line(error.lineno or 0))]
    except (ValueError, RecursionError, MemoryError) as error:
        return None, [issue("SYNTAX001", f"It cannot be read: {error}")]
    functions = [
        one for one in module.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    if code.function and code.function not in {one.name for one in functions}:
        return None, [issue("SYNTAX005", f"There is no function {code.function}.")]
    try:
        body = _Reader(_bound(module)).block(module.body)
        return tree.Read(body, code.function, _depth(module)), []
    except RecursionError:
        return None, [issue("SYNTAX001", "It is nested too deeply.")]


def _bound(module: ast.Module) -> frozenset[str]:
    """Names that the code itself defines, so that they are not capabilities."""
    found: set[str] = set()
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {(one.asname or one.name).partition(".")[0] for one in names}
            case _:
                pass
    return frozenset(found)


def _depth(module: ast.Module) -> int:
    deepest, waiting = 0, [(child, 0) for child in module.body]
    nodes: list[tuple[ast.AST, int]] = list(waiting)
    while nodes:
        node, depth = nodes.pop()
        depth += isinstance(node, _NESTING) and not isinstance(node, ast.Expr)
        deepest = max(deepest, depth)
        nodes += [(child, depth) for child in ast.iter_child_nodes(node)]
    return deepest


class _Reader:
    def __init__(self, bound: frozenset[str]) -> None:
        self._bound = bound

    def block(self, statements: Sequence[ast.stmt]) -> tree.Block:
        line = statements[0].lineno if statements else 0
        return tree.Block(tuple(self._statement(one) for one in statements), line)

    def _statement(self, node: ast.stmt) -> tree.Expression:
        line = node.lineno
        match node:
            case ast.Expr(value=value):
                return self._value(value)
            case ast.Assign(targets=targets, value=value):
                return self._bind(targets, value, line)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self._bind([target], value, line)
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                both = tree.Parts((tree.Use(name, line), self._value(value)), line)
                return tree.Bind((name,), both, line, name)
            case ast.Return(value=value):
                return tree.Leave(None if value is None else self._value(value), line)
            case ast.Break() | ast.Raise():
                return tree.Leave(None, line)
            case ast.Continue():
                return tree.Again((), line)
            case ast.If(test=test, body=body, orelse=orelse):
                return tree.Branch(self._value(test), (self.block(body), self.block(orelse)), line)
            case ast.While(test=test, body=body):
                return tree.Loop(self._value(test), self.block(body), False, line)
            case (
                ast.For(target=target, iter=items, body=body, orelse=orelse)
                | ast.AsyncFor(target=target, iter=items, body=body, orelse=orelse)
            ):
                each = tree.Bind(_names([target]), self._value(items), line)
                loop = tree.Loop(None, self.block(body), True, line)
                return tree.Block((each, loop, self.block(orelse)), line)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                inner: tree.Expression = self.block([*body, *orelse])
                if handlers:
                    caught = tuple(self.block(one.body) for one in handlers)
                    inner = tree.Guard(inner, caught, line)
                return tree.Block((inner, self.block(finalbody)), line)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                opened = tuple(self._value(one.context_expr) for one in items)
                return tree.Block((*opened, self.block(body)), line)
            case (
                ast.FunctionDef(name=name, args=args, body=body)
                | ast.AsyncFunctionDef(name=name, args=args, body=body)
            ):
                return tree.Function(name, _parameters(args), self.block(body), line)
            case ast.Match(subject=subject, cases=cases):
                ways = tuple(self.block(one.body) for one in cases)
                return tree.Branch(self._value(subject), ways, line)
            case _:
                return tree.Block(self._values(_expressions(node)), line)

    def _bind(self, targets: Sequence[ast.expr], value: ast.expr, line: int) -> tree.Bind:
        whole = targets[0].id if isinstance(targets[0], ast.Name) else None
        if isinstance(targets[0], ast.Subscript) and isinstance(targets[0].slice, ast.Constant):
            whole = str(targets[0].slice.value)
        if isinstance(targets[0], ast.Attribute):
            whole = targets[0].attr
        return tree.Bind(_names(targets), self._value(value), line, whole)

    def _values(self, nodes: Iterable[ast.expr]) -> tuple[tree.Expression, ...]:
        return tuple(self._value(one) for one in nodes)

    def _value(self, node: ast.expr) -> tree.Expression:
        line = node.lineno
        match node:
            case ast.Constant(value=str(text)):
                return tree.Text(text, line)
            case ast.Constant(value=value):
                return tree.Constant(value, line)
            case ast.Name(id=name):
                return tree.Use(name, line)
            case ast.Await(value=value) | ast.Starred(value=value) | ast.NamedExpr(value=value):
                return self._value(value)
            case ast.JoinedStr(values=values):
                return tree.Join(self._values(values), line)
            case ast.FormattedValue(value=value):
                return self._value(value)
            case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
                parts = self._values((left, right))
                textual = any(isinstance(one, tree.Text | tree.Join) for one in parts)
                return tree.Join(parts, line) if textual else tree.Parts(parts, line)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return tree.Branch(self._value(test), self._values((body, orelse)), line)
            case ast.BoolOp(values=[first, *rest]):
                ways = (tree.Block(self._values(rest), line), tree.Constant(None, line))
                return tree.Branch(self._value(first), ways, line)
            case ast.Dict(keys=keys, values=values):
                return tree.Pairs(
                    tuple(
                        (
                            key.value
                            if isinstance(key, ast.Constant) and isinstance(key.value, str)
                            else None,
                            self._value(value),
                        )
                        for key, value in zip(keys, values, strict=True)
                    ),
                    line,
                )
            case ast.Lambda(args=args, body=body):
                return tree.Function("", _parameters(args), self._value(body), line)
            case ast.Call():
                return self._call(node, line)
            case _:
                return tree.Parts(self._values(_expressions(node)), line)

    def _call(self, node: ast.Call, line: int) -> tree.Expression:
        path = _dotted(node.func)
        named = tuple((one.arg, self._value(one.value)) for one in node.keywords)
        given = self._values(node.args)
        keywords = (tree.Pairs(named, line),) if named else ()
        if path == [CALL] and CALL not in self._bound:
            target = given[0] if given else tree.Constant(None, line)
            identifier = _id(target.value) if isinstance(target, tree.Text) else None
            return tree.HostCall(identifier, target, (*given[1:], *keywords), line)
        if len(path) > 1 and path[0] not in self._bound:
            name = ".".join(path)
            return tree.HostCall(_id(name), tree.Text(name, line), (*given, *keywords), line)
        if isinstance(node.func, ast.Attribute):
            owner = self._value(node.func.value)
            if node.func.attr in _JOINING:
                return tree.Join((owner, *given, *keywords), line)
            return tree.Call(node.func.attr, (owner, *given, *keywords), line)
        name_of = path[0] if len(path) == 1 else None
        before = () if name_of else (self._value(node.func),)
        return tree.Call(name_of, (*before, *given, *keywords), line)


def _expressions(node: ast.AST) -> list[ast.expr]:
    """The nearest expressions in a node."""
    found: list[ast.expr] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            found.append(child)
        else:
            found += _expressions(child)
    return found


def _parameters(args: ast.arguments) -> tuple[str, ...]:
    listed = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    listed += [one for one in (args.vararg, args.kwarg) if one is not None]
    return tuple(one.arg for one in listed)


def _names(targets: Iterable[ast.expr]) -> tuple[str, ...]:
    return tuple(
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    )


def _dotted(node: ast.expr) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _id(text: str) -> str:
    try:
        return canonical_id(text)
    except InvalidIdentifierError:
        return text
