"""Questions about nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.forms import Keyword, Literal
from ccos.rtfs.nodes import Node


def chain_length(node: Node) -> int:
    """How many choices follow each other, each in place of the last ``else``."""
    length = 0
    while isinstance(node, nodes.If):
        node, length = node.otherwise, length + 1
    return length


def is_plain_key(node: Node) -> bool:
    """Whether a node is a constant that is its own key in a dict."""
    return isinstance(node, nodes.Const) and (
        isinstance(node.form, Keyword)
        or (isinstance(node.form, Literal) and node.form.kind not in ("float",))
    )


def is_nonzero(node: Node) -> bool:
    """Whether a node is an integer other than zero."""
    match node:
        case nodes.Const(Literal("integer", value)):
            return value != 0
    return False


def parameter_text(parameter: nodes.Parameter) -> str:
    """A parameter as a Python definition writes it."""
    star = "*" if parameter.rest else ""
    return star + parameter_name(parameter)


def parameter_name(parameter: nodes.Parameter) -> str:
    """The Python name that a parameter is given under."""
    if isinstance(parameter.pattern, nodes.Name):
        return parameter.pattern.variable.python
    return parameter.variable.python


def tail_recurs(node: Any) -> Iterator[nodes.Recur]:
    """The tail ``recur`` nodes below a node."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        match one:
            case nodes.Recur():
                yield one
            case nodes.If(_, then, otherwise):
                waiting += [then, otherwise]
            case nodes.Do(body):
                waiting.append(body[-1])
            case nodes.Let(_, body):
                waiting.append(body)
            case nodes.And(parts) | nodes.Or(parts):
                waiting.append(parts[-1])
            case nodes.Match(_, _, clauses):
                waiting += [clause.body for clause in clauses]


def always_recurs(node: Any, loop: nodes.Loop) -> bool:
    """Whether a node always ends by going round in ``loop``."""
    match node:
        case nodes.Recur(target):
            return target is loop
        case nodes.If(_, then, otherwise):
            return always_recurs(then, loop) and always_recurs(otherwise, loop)
        case nodes.Do(body):
            return always_recurs(body[-1], loop)
        case nodes.Let(_, body):
            return always_recurs(body, loop)
    return False
