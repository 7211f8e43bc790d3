"""Running the script: its text, then the function that is asked for."""

from __future__ import annotations

import ast
import math
import os
import resource
import sys
from io import TextIOWrapper
from types import CodeType, CoroutineType, ModuleType
from typing import Any

from .channel import Channel
from .host_modules import install
from .values import plain

_SPARE_BYTES = 1_000_000
_VALUE = "<value>"
"""Name of the variable that takes the value of the last expression; no script can spell it."""


def run(reading: int, writing: int) -> None:
    """Get a script from the host, run it, tell what came of it, and end the process."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that it is seen while it happens
    channel = Channel(reading, writing)
    channel.send({"kind": "ready", "process": _own_id()})
    order = channel.receive()
    channel.maximum_bytes = order["maximum_bytes"]
    _limit(order["memory_bytes"], order["cpu_seconds"])
    spare = bytearray(_SPARE_BYTES)
    try:
        outcome = _outcome(order, channel)
        _flush()
        _tell(outcome, channel)
    except MemoryError:
        del spare
        channel.send(_fault("MemoryError", "there is no memory left"))
    os._exit(0)


def _tell(outcome: dict[str, Any], channel: Channel) -> None:
    try:
        channel.send(outcome)
    except (ValueError, RecursionError) as error:  # too large, or too many digits for a number
        channel.send(_unusable(error))


def _unusable(error: Exception) -> dict[str, Any]:
    return _fault("TypeError", f"the script's value is not JSON data: {error}")


def _fault(kind: str, words: str) -> dict[str, Any]:
    return {
        "kind": "raised",
        "type": kind,
        "message": words,
        "line": 0,
        "column": 0,
        "traceback": "",
    }


def _own_id() -> int:
    """The id of this process as the service sees it, which a namespace hides from getpid()."""
    try:
        return int(os.readlink("/proc/self"))  # noqa: PTH115 - pathlib is slow to import
    except OSError:
        return os.getpid()


def _limit(memory_bytes: int | None, cpu_seconds: float | None) -> None:
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if cpu_seconds is not None:
        seconds = math.ceil(cpu_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def _outcome(order: dict[str, Any], channel: Channel) -> dict[str, Any]:
    name, source = order["name"], order["source"]
    try:
        code = _compiled(source, name, with_value=order["function"] is None)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        from .faults import rejected

        return rejected(error)
    process = os.getpid()
    try:
        install(order["functions"], channel, name)
        value = _value(code, order, channel)
        _join_threads()
    except BaseException as error:  # whatever a script raises is its outcome
        from .faults import raised

        outcome = raised(error, name, source)
    else:
        try:
            outcome = {"kind": "result", "value": plain(value)}
        except (TypeError, RecursionError) as error:
            outcome = _unusable(error)
    if os.getpid() != process:
        os._exit(0)  # a fork that ran to the end of the script; its outcome is nobody's
    return outcome


def _compiled(source: str, name: str, *, with_value: bool) -> CodeType:
    tree = ast.parse(source, name)
    last = tree.body[-1] if tree.body else None
    if with_value and isinstance(last, ast.Expr):
        variable = ast.copy_location(ast.Name(_VALUE, ast.Store()), last)
        tree.body[-1] = ast.copy_location(ast.Assign([variable], last.value), last)
    code: CodeType = compile(
        tree, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    return code


def _value(code: CodeType, order: dict[str, Any], channel: Channel) -> Any:
    # As everywhere in Python, only a text that is run for itself is the main module.
    whole = order["function"] is None
    module = ModuleType("__main__" if whole else "script")
    sys.modules[module.__name__] = module
    sys.argv = [order["name"]]
    variables = module.__dict__
    variables["__file__"] = order["name"]
    if whole:
        variables.update(order["arguments"])
    if "async" in order["source"] or "await" in order["source"]:
        from .loop import use_host_loop

        use_host_loop(channel)
    _finished(eval(code, variables))  # noqa: S307 - this is what the process is for
    if whole:
        return variables.pop(_VALUE, None)
    return _finished(_function(variables, order["function"])(**order["arguments"]))


def _function(variables: dict[str, Any], name: str) -> Any:
    function = variables.get(name)
    if not callable(function):
        raise NameError(f"The script defines no function {name!r}.")
    return function


def _finished(value: Any) -> Any:
    if not isinstance(value, CoroutineType):
        return value
    import asyncio

    return asyncio.run(value)


def _join_threads() -> None:
    """Wait for threads as the interpreter does at its end."""
    threading = sys.modules["threading"]
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except BaseException:  # noqa: S112 - a script may have put anything there
            continue
