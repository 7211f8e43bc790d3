"""Code as the analysers see it: one small tree, whatever language it was written in.

Each node says what happens, not how it is spelled. Comments, types and layout are gone, so that
nothing can be found in them and nothing hidden behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A text that stands in the code."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the code and is no text."""

    value: object
    line: int


@dataclass(frozen=True, slots=True)
class Use:
    """The value of a variable."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Join:
    """A text made of parts."""

    parts: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class HostCall:
    """A call of a capability; ``identifier`` is None where its id is computed from ``target``."""

    identifier: str | None
    target: Expression
    arguments: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function; ``function`` is None where that is not a name."""

    function: str | None
    arguments: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Bind:
    """Variables get a value; ``named`` is the one that gets all of it, if there is one."""

    names: tuple[str, ...]
    value: Expression
    line: int
    named: str | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """A map: keys that stand in the code, or None, with their values."""

    entries: tuple[tuple[str | None, Expression], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Several values that become one, such as a list or a sum."""

    parts: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """Several in turn; the value is that of the last."""

    parts: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A test, and then exactly one of the ways."""

    test: Expression
    ways: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Loop:
    """A body that runs again; ``until`` is the condition to go on, None where ``Again`` decides.

    ``bounded`` says that it runs once for each element of something.
    """

    until: Expression | None
    body: Expression
    bounded: bool
    line: int


@dataclass(frozen=True, slots=True)
class Again:
    """Once more from the start of the loop around it."""

    arguments: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Out of the loop or function around it, with a value."""

    value: Expression | None
    line: int


@dataclass(frozen=True, slots=True)
class Guard:
    """Errors of the body are caught."""

    body: Expression
    handlers: tuple[Expression, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function. ``parameters`` are the names that its caller fills."""

    name: str
    parameters: tuple[str, ...]
    body: Expression
    line: int


Expression: TypeAlias = (
    Text
    | Constant
    | Use
    | Join
    | HostCall
    | Call
    | Bind
    | Pairs
    | Parts
    | Block
    | Branch
    | Loop
    | Again
    | Leave
    | Guard
    | Function
)


@dataclass(frozen=True, slots=True)
class Code:
    """Code to be validated.

    Attributes:
        language: ``python`` or ``rtfs``.
        source: Its text.
        function: The function that does the work, where the language names it.
    """

    language: str
    source: str
    function: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """Code that was read.

    Attributes:
        body: All of it.
        entry: Name of the function that does the work.
        depth: How deep its text is nested.
    """

    body: Expression
    entry: str
    depth: int


def children(node: Expression) -> tuple[Expression, ...]:
    """What a node consists of, in the order in which it happens."""
    match node:
        case Join(parts=parts) | Parts(parts=parts) | Block(parts=parts):
            return parts
        case HostCall(target=target, arguments=arguments):
            return (target, *arguments)
        case Call(arguments=arguments) | Again(arguments=arguments):
            return arguments
        case Bind(value=value):
            return (value,)
        case Pairs(entries=entries):
            return tuple(value for _, value in entries)
        case Branch(test=test, ways=ways):
            return (test, *ways)
        case Loop(until=until, body=body):
            return (body,) if until is None else (until, body)
        case Leave(value=value):
            return () if value is None else (value,)
        case Guard(body=body, handlers=handlers):
            return (body, *handlers)
        case Function(body=body):
            return (body,)
        case Text() | Constant() | Use():
            return ()


def walk(node: Expression) -> Iterator[Expression]:
    """The node and everything in it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(children(current)))
