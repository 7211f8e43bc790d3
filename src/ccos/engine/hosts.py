"""Host functions: what a script can ask the machine for, in the terms of every language.

A module is a table of functions. The broker decides which of them exist for an execution, charges
them, records them, and calls them; a function only does its work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from ccos.engine.budget import Dimension
from ccos.engine.policy import SecurityPolicy


class Effect(StrEnum):
    """What a host function does to the world."""

    PURE = "pure"
    """Computes, tells the time, or says something to whoever listens. Answered at once."""
    READ = "read"
    """Looks at something outside; doing it again does no harm."""
    ACT = "act"
    """Changes something outside."""


class HostFunctionError(Exception):
    """A host function failed; the script is told why and can deal with it."""


class HostContext(Protocol):
    """What the functions of one execution may use."""

    @property
    def policy(self) -> SecurityPolicy:
        """The policy that the script runs under."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the script may see; never those of this process."""
        ...

    @property
    def working_directory(self) -> Path | None:
        """What relative paths start from; None refuses them."""
        ...

    @property
    def requests(self) -> HttpRequests:
        """The way out."""
        ...

    def now(self) -> float:
        """Seconds since the Unix epoch. A replay sees the same."""
        ...

    def log(self, level: str, message: str) -> None:
        """Say something; ``level`` is debug, info, warn or error."""
        ...

    def progress(self, fraction: float, message: str) -> None:
        """Say how far the script is, from 0 to 1."""
        ...

    async def charge(self, dimension: Dimension, amount: float) -> None:
        """Count a use against the budget, before it happens where that can be.

        Raises:
            BudgetExhaustedError: if it does not cover ``amount``; nothing may be used then.
        """
        ...


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP response that was read whole."""

    status: int
    headers: Mapping[str, str]
    text: str
    network_bytes: int
    """Sent and received."""


class HttpRequests(Protocol):
    """Sends HTTP requests under the one policy for what leaves this process."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float | None,
        allowed_hosts: frozenset[str],
    ) -> HttpAnswer:
        """Send one request.

        Args:
            method: Such as ``GET``.
            url: Where to; HTTP or HTTPS.
            headers: By name.
            body: What is sent; None for nothing.
            timeout: Seconds; None leaves it to the policy.
            allowed_hosts: Nothing else may be contacted, on any hop; empty for the policy's own.

        Raises:
            EgressError: if it is refused or fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a host function."""

    name: str
    kind: str
    """``string``, ``integer``, ``number``, ``boolean``, ``array``, ``object`` or ``any``."""
    required: bool = True


@dataclass(frozen=True, slots=True)
class HostFunction:
    """One function of a host module.

    Attributes:
        module: Such as ``crucible.http``.
        name: Such as ``http_get``.
        parameters: In order; optional ones last.
        returns: The kind of its value, as in :class:`Parameter`, or ``none``.
        effect: What it does to the world; the most it does, where that depends on its arguments.
        summary: One line.
        handler: Called with a :class:`HostContext` and the arguments by name, whose kinds were
            checked. A pure one returns its value, the others are coroutines. It raises
            :class:`HostFunctionError` for what the script should hear, and
            ``SecurityViolationError`` for what the policy forbids.
        effect_by_arguments: Tells the effect of one call from its arguments, where that depends
            on them.
    """

    module: str
    name: str
    parameters: tuple[Parameter, ...]
    returns: str
    effect: Effect
    summary: str
    handler: Callable[..., Any]
    effect_by_arguments: Callable[[Mapping[str, Any]], Effect] | None = None

    @property
    def target(self) -> str:
        """Its full name, such as ``crucible.http.http_get``."""
        return f"{self.module}.{self.name}"

    def effect_of(self, arguments: Mapping[str, Any]) -> Effect:
        """What a call with these arguments, as :func:`bound` gives them, does to the world."""
        if self.effect_by_arguments is None:
            return self.effect
        return self.effect_by_arguments(arguments)


def bound(
    function: HostFunction, positional: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by parameter name, of the kinds that the function declares.

    A truth value is no integer and no number, and a float is no integer. An integer fits into 64
    bits with a sign. None for an optional parameter leaves it out, unless its kind is ``any``.

    Raises:
        HostFunctionError: for an argument that is missing, unknown, given twice, or of another
            kind; the message names it.
    """
    return bound_values(function.name, function.parameters, positional, named)


def bound_values(
    name: str,
    parameters: Sequence[Parameter],
    positional: Sequence[Any],
    named: Mapping[str, Any],
) -> dict[str, Any]:
    """As :func:`bound`, for whatever takes ``parameters`` and is called ``name`` in messages.

    Raises:
        HostFunctionError: as :func:`bound`.
    """
    given = _by_name(name, parameters, positional, named)
    values = {}
    for parameter in parameters:
        left_out = parameter.name not in given
        if not left_out and not parameter.required and parameter.kind != "any":
            left_out = given[parameter.name] is None
        if left_out:
            if parameter.required:
                raise HostFunctionError(f"{name}() lacks the argument {parameter.name!r}.")
            continue
        value = given[parameter.name]
        if not _is_of_kind(value, parameter.kind):
            raise HostFunctionError(
                f"{name}() takes {_WITH_ARTICLE[parameter.kind]} as {parameter.name!r}, "
                f"not {_described(value)}."
            )
        values[parameter.name] = value
    return values


def _by_name(
    name: str,
    parameters: Sequence[Parameter],
    positional: Sequence[Any],
    named: Mapping[str, Any],
) -> dict[str, Any]:
    names = [parameter.name for parameter in parameters]
    if len(positional) > len(names):
        raise HostFunctionError(
            f"{name}() takes {len(names)} arguments; {len(positional)} were given."
        )
    given = dict(zip(names, positional, strict=False))
    for key, value in named.items():
        if key not in names:
            raise HostFunctionError(f"{name}() has no parameter {key[:100]!a}.")
        if key in given:
            raise HostFunctionError(f"{name}() was given {key!r} twice.")
        given[key] = value
    return given


INTEGERS: Final = range(-(2**63), 2**63)
"""The integers that every language has."""

_WITH_ARTICLE: Final[Mapping[str, str]] = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
    "any": "JSON data",
}


def _is_of_kind(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer" | "number" if isinstance(value, int):
            return not isinstance(value, bool) and value in INTEGERS
        case "number":
            return isinstance(value, float)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "any":
            return value is None or isinstance(value, str | int | float | list | dict)
    return False


def _described(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer" if value in INTEGERS else "an integer beyond 64 bits"
        case float():
            return "a floating-point number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
    return f"a value of type {type(value).__name__}"


class HostModules:
    """All host modules there are."""

    def __init__(self, functions: tuple[HostFunction, ...]) -> None:
        self._functions = {function.target: function for function in functions}
        self.modules = frozenset(function.module for function in functions)

    def granted(self, policy: SecurityPolicy) -> Mapping[str, HostFunction]:
        """The functions that exist under ``policy``, by full name."""
        return {
            target: function
            for target, function in self._functions.items()
            if policy.allows_module(function.module) and target not in policy.denied_functions
        }

    def __iter__(self) -> Any:
        return iter(self._functions.values())
