"""One RTFS program in one Monty worker.

A program is compiled to text that computes and calls ``rtfs_call`` (one host call), ``rtfs_calls``
(those of parallel branches) and ``rtfs_event``; see :mod:`ccos.rtfs.prelude`. All else is as for
Python: the worker, its limits, its snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pydantic_monty as monty

from ccos.engine.asked import Asked
from ccos.engine.hosts import HostFunction, HostFunctionError, bound
from ccos.engine.languages import HostCall, Settled
from ccos.engine.python import SLEEP, PythonSession
from ccos.engine.python.naming import full_name
from ccos.engine.rtfs import services
from ccos.engine.rtfs.failures import as_script_error, outcome_of, refused
from ccos.engine.rtfs.program import RtfsProgram
from ccos.engine.values import json_data
from ccos.errors import CapabilityError, ScriptError
from ccos.rtfs.execution import HOST_NAMES, HostRequest, Outcome, failure, place_of
from ccos.rtfs.targets import target_of

EVENT: Final = "ccos.event"
"""The name of what a program tells its host, as a journal has it."""

_CALL, _CALLS, _EVENT = HOST_NAMES


class RtfsSession(PythonSession):
    """One program in one worker; see :class:`ccos.engine.languages.Session`."""

    _program: RtfsProgram

    def _known_names(self) -> dict[str, Any]:
        return {name: _function(name) for name in HOST_NAMES}

    def _call(
        self, request: monty.FunctionSnapshot, calls: list[HostCall]
    ) -> monty.SyncSnapshot | None:
        try:
            given = json_data(request.args)
        except TypeError as error:
            return request.resume({"exc_type": "TypeError", "message": str(error)})
        match request.function_name:
            case "rtfs_call":
                wanted = [given]
            case "rtfs_calls":
                wanted = given[0]
            case "rtfs_event":
                told = HostCall(self._next_number(), EVENT, given[0], 0)
                self._request.host.notice(told)
                return request.resume({"return_value": None})
            case name:
                words = f"name {name!r} is not defined"
                return request.resume({"exc_type": "NameError", "message": words})
        answers: dict[str, Outcome] = {}
        for one in wanted:
            outcome = self._ask(HostRequest(*one), calls)
            if outcome is not None:
                answers[one[0]] = outcome
        return _resumed(request, answers) if answers else None

    def _answered(self, settled: Mapping[Any, Settled]) -> monty.SyncSnapshot:
        assert isinstance(self._snapshot, monty.FunctionSnapshot)
        return _resumed(self._snapshot, {key: outcome_of(one) for key, one in settled.items()})

    def _ask(self, wanted: HostRequest, calls: list[HostCall]) -> Outcome | None:
        """Put a call to the host; None if the program has to wait for it."""
        if wanted.key in self._numbers:
            return None
        try:
            target = target_of(wanted.target)
        except CapabilityError as error:
            return refused("UnknownCapability", error.message)
        said = self._said(target.identifier, wanted.arguments)
        if said is not None:
            return said
        asked = Asked(
            values=wanted.arguments,
            keywords=wanted.keywords,
            hints=wanted.hints or {},
            version=target.version,
        )
        functions = self._request.functions
        name = host_function(target.identifier, functions)
        try:
            if target.identifier == services.SLEEP_MS:
                arguments = {"seconds": _seconds(wanted.arguments)}
                call = HostCall(self._next_number(), SLEEP, arguments, wanted.line)
            elif name is not None:
                arguments = _bound(functions[name], asked)
                call = HostCall(self._next_number(), name, arguments, wanted.line)
            else:
                identifier = target.identifier
                call = HostCall(self._next_number(), identifier, asked.packed(), wanted.line)
        except HostFunctionError as error:
            return refused("TypeValidationError", str(error), {"id": target.identifier})
        answer = self._request.host.answer(call)
        if answer is not None:
            return outcome_of(answer)
        calls.append(call)
        self._numbers[wanted.key] = call.sequence
        return None

    def _said(self, identifier: str, values: Sequence[Any]) -> Outcome | None:
        """Do what every host does; None for all else."""
        match identifier:
            case services.PRINTLN:
                self._print("stdout", services.line_of(values))
            case services.LOG:
                self._print("stderr", services.log_line(values))
            case services.CLOCK:
                return {"value": int(self._request.host.clock(self._next_number()) * 1000)}
            case _:
                return None
        return {"value": None}

    def _raised(self, error: monty.MontyRuntimeError, text: str) -> ScriptError:
        return as_script_error(failure(error, self._program.compiled), self._program.name)

    def _place(self, error: monty.MontyRuntimeError | monty.MontySyntaxError) -> dict[str, Any]:
        line, column = place_of(error, self._program.compiled)
        return {} if line is None else {"line": line, "column": column}


def host_function(identifier: str, functions: Mapping[str, HostFunction]) -> str | None:
    """The full name of the host function that an id means; None if it means none."""
    wanted = services.HOST_FUNCTIONS.get(identifier, identifier)
    return full_name(wanted, functions) or full_name(wanted.replace("-", "_"), functions)


def _bound(function: HostFunction, asked: Asked) -> dict[str, Any]:
    names = [one.name for one in function.parameters]
    if len(asked.values) > len(names) and not asked.keywords:
        return bound(function, asked.values, {})  # which says what is wrong
    whole = asked.values[0] if len(asked.values) == 1 else None
    if isinstance(whole, dict) and not set(whole) <= set(names) and len(names) == 1:
        return bound(function, [whole], {})
    return bound(function, (), asked.named(names))


def _seconds(values: Sequence[Any]) -> float:
    if len(values) != 1 or isinstance(values[0], bool) or not isinstance(values[0], int | float):
        raise HostFunctionError("a pause is one number of milliseconds.")
    return max(0.0, values[0] / 1000)


def _resumed(request: monty.FunctionSnapshot, answers: dict[str, Outcome]) -> monty.SyncSnapshot:
    """Let the program have the outcomes of its calls, by key."""
    if request.function_name == _CALLS:
        return request.resume({"return_value": answers})
    [outcome] = answers.values()
    return request.resume({"return_value": outcome})


def _function(name: str) -> Any:
    def function(*_: Any) -> None:
        """Its calls only ever come to the session."""

    function.__name__ = name
    return function
