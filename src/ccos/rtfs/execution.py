"""Run a compiled program in a Monty worker and answer what it gives.

This is the plain way: one worker, a host that is a function. The engine does it with journals,
policies and parking; both speak the same words with the program.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pydantic_monty as monty

from ccos.rtfs.compiler import ANSWER_TAGGED, LIMITS, CompiledModule
from ccos.rtfs.prelude import is_arity

HOST_NAMES: Final = ("rtfs_call", "rtfs_calls", "rtfs_event")
CONTEXT: Final = "rtfs_context"

Outcome: TypeAlias = dict[str, Any]
"""``{"value": data}`` or ``{"error": {"kind", "type", "message", "data"}}``."""

_NATIVE: Final = {
    "ZeroDivisionError": "DivisionByZero",
    "NameError": "UndefinedSymbol",
    "UnboundLocalError": "UndefinedSymbol",
    "OverflowError": "ArithmeticError",
    "ValueError": "InvalidArgument",
    "AttributeError": "TypeError",
    "RecursionError": "BudgetExhausted",
    "MemoryError": "BudgetExhausted",
    "TimeoutError": "BudgetExhausted",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a program ended with instead of a value.

    Attributes:
        kind: Kind of the error, such as ``DivisionByZero``.
        message: For people; not part of the definition of the language.
        type: The finer cause; the kind if there is none.
        data: What the error carries, as JSON data.
        line: Of the RTFS text, counted from 1; None if it is not known.
        column: Of the RTFS text, counted from 1.
    """

    kind: str
    message: str
    type: str
    data: Any = None
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class HostRequest:
    """One host call; see ``rtfs_call`` in :mod:`ccos.rtfs.prelude`."""

    key: str
    target: str
    arguments: list[Any]
    line: int
    keywords: list[int] = field(default_factory=list)
    hints: dict[str, Any] | None = None
    steps: list[str] = field(default_factory=list)


class Host:
    """Answers what a program asks for.

    Args:
        call: Performs one call.
        event: Takes notice of steps, log lines and context values.
        context: The run's context, JSON data.
    """

    def __init__(
        self,
        call: Callable[[HostRequest], Outcome] | None = None,
        event: Callable[[dict[str, Any]], None] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self._perform = call or _refuse
        self._event = event
        self.context = dict(context or {})

    def answers(self) -> dict[str, Any]:
        """The names that a program may ask for, with what they stand for."""
        return {
            "rtfs_call": self._call,
            "rtfs_calls": self._calls,
            "rtfs_event": self._notice,
            CONTEXT: self.context,
        }

    def _call(self, *request: Any) -> Outcome:
        return self._perform(HostRequest(*request))

    def _calls(self, requests: list[Any]) -> dict[str, Outcome]:
        return {request[0]: self._call(*request) for request in requests}

    def _notice(self, event: dict[str, Any]) -> None:
        if self._event is not None:
            self._event(event)


def _refuse(request: HostRequest) -> Outcome:
    """What a run without a host does."""
    words = f"no call is allowed here: {request.target}"
    return {"error": {"kind": "SecurityViolation", "message": words}}


def run(
    module: CompiledModule,
    pool: monty.Monty,
    *,
    host: Host | None = None,
    answer: str = ANSWER_TAGGED,
    limits: monty.ResourceLimits | None = None,
) -> Any:
    """Run a program to its end.

    Args:
        module: The program.
        pool: Where a worker is taken from.
        host: Answers its calls; without one every call is a SecurityViolation.
        answer: What becomes of the value; see :meth:`CompiledModule.source`.
        limits: Monty's limits; :data:`ccos.rtfs.compiler.LIMITS` if left out.

    Returns:
        The answer, or a :class:`Failure`.
    """
    lookup = (host or Host()).answers()
    with pool.checkout(limits=limits or LIMITS) as session:
        try:
            return session.feed_run(module.source(answer), external_lookup=lookup)
        except monty.MontyError as error:
            return failure(error, module)


def failure(error: monty.MontyError, module: CompiledModule) -> Failure:
    """The failure that an error of Monty stands for."""
    line, column = place_of(error, module)
    if isinstance(error, monty.MontyRuntimeError):
        kind, _, message = str(error).partition(": ")
        if kind == "RuntimeError" and message.startswith('{"kind": '):
            data = json.loads(message)
            cause = data.get("type", data["kind"])
            return Failure(data["kind"], data["message"], cause, data.get("data"), line, column)
        if kind == "TypeError":
            kind = "ArityMismatch" if is_arity(message) else "TypeError"
        else:
            kind = _NATIVE.get(kind, "InternalError")
        return Failure(kind, message, kind, None, line, column)
    # A run that cannot even be stopped in time is ended with its worker.
    kind = "BudgetExhausted" if "exceeding request timeout" in str(error) else "InternalError"
    return Failure(kind, str(error), kind, None, line, column)


def place_of(error: monty.MontyError, module: CompiledModule) -> tuple[int | None, int | None]:
    """The innermost place of the program on the way to the error."""
    if isinstance(error, monty.MontyRuntimeError | monty.MontySyntaxError):
        for frame in reversed(error.traceback()):
            found = module.place(frame.line, frame.column)
            if found is not None:
                return found
    return None, None
