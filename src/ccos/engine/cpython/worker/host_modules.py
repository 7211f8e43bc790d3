"""The host functions as modules that a script can import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .channel import Channel
from .values import plain

HOST = "crucible"


def install(functions: list[dict[str, Any]], channel: Channel, script: str) -> None:
    """Make modules of the functions that exist for the script.

    Args:
        functions: Of each its ``module``, ``name``, ``parameters`` (names in order), ``summary``
            and whether it is ``pure``.
        channel: To the host.
        script: File name of the script, to find its line in a call.
    """
    root = _module(HOST)
    for one in functions:
        module = _module(one["module"])
        function = _function(one, channel, script)
        setattr(module, one["name"], function)
        if not hasattr(root, one["name"]):
            setattr(root, one["name"], function)


def _module(name: str) -> ModuleType:
    """The module of this name, made with all its parents if it is not there."""
    if name not in sys.modules:
        module = sys.modules[name] = ModuleType(name, "Functions of the host.")
        module.__path__ = []
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(_module(parent), own, module)
    return sys.modules[name]


def _function(described: dict[str, Any], channel: Channel, script: str) -> Callable[..., Any]:
    target = f"{described['module']}.{described['name']}"
    names = described["parameters"]
    call = channel.call if described["pure"] else channel.call_async

    def function(*positional: Any, **named: Any) -> Any:
        arguments = _bound(described["name"], names, positional, named)
        return call(target, arguments, _line(script))

    function.__name__ = described["name"]
    function.__qualname__ = described["name"]
    function.__module__ = described["module"]
    function.__doc__ = described["summary"]
    return function


def _bound(
    name: str, names: list[str], positional: tuple[Any, ...], named: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name. Whether they are complete and of the right kinds, the host says."""
    if len(positional) > len(names):
        raise TypeError(f"{name}() takes {len(names)} arguments; {len(positional)} were given.")
    arguments = dict(zip(names, positional, strict=False))
    for key, value in named.items():
        if key not in names:
            raise TypeError(f"{name}() has no parameter {key!r}.")
        if key in arguments:
            raise TypeError(f"{name}() was given {key!r} twice.")
        arguments[key] = value
    try:
        return {key: plain(value) for key, value in arguments.items()}
    except TypeError as error:
        raise TypeError(f"{name}() takes JSON data: {error}.") from None


def _line(script: str) -> int:
    """The line of the script that the innermost call comes from; 0 if it is not there."""
    frame = sys._getframe(1)
    found: Any = frame
    while found is not None and found.f_code.co_filename != script:
        found = found.f_back
    return found.f_lineno if found is not None else 0
