"""Rune, as a language of the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Final

from ccos.engine.hosts import HostFunction, HostModules
from ccos.engine.languages import Compiled, Diagnostic, Session, SessionRequest
from ccos.engine.policy import SecurityPolicy
from ccos.engine.rune.client import Declared, Finding, Inspection, NamedCall, Refused
from ccos.engine.rune.naming import declared, full_name
from ccos.engine.rune.session import Program, RuneSession
from ccos.engine.rune.workers import RuneWorkers
from ccos.errors import CompilationError, ScriptError, SecurityViolationError

MAXIMUM_BYTES: Final = 10 * 1024 * 1024
_SECURITY: Final = "security"
_DECLARED_KEPT: Final = 64
_PROGRAMS_KEPT: Final = 1000


class RuneLanguage:
    """Scripts in Rune, on the Rune virtual machine in worker processes.

    Args:
        workers: The pool.
        modules: All host modules, to tell what a script lacks from what there is.
    """

    name = "rune"
    suffixes = (".rn", ".rune")

    def __init__(self, workers: RuneWorkers, modules: HostModules) -> None:
        self._workers = workers
        self._modules = modules
        self._declared = lru_cache(maxsize=_DECLARED_KEPT)(self._declared_to)
        self._programs = lru_cache(maxsize=_PROGRAMS_KEPT)(_program)

    @property
    def format(self) -> str:
        """Version of Rune and of what the worker makes of a text.

        Raises:
            ConfigurationError: if no worker is installed.
        """
        return self._workers.format

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Refuse a level that promises what this machine cannot keep; may block."""
        self._workers.check_isolation(policy)

    async def compile(
        self, source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
    ) -> Compiled:
        """Read a script; see :class:`ccos.engine.languages.Language`.

        Raises:
            ConfigurationError: if no worker is installed.
        """
        compiled, _ = await self.compile_naming_calls(
            source, name=name, functions=functions, level=level
        )
        return compiled

    async def compile_naming_calls(
        self, source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
    ) -> tuple[Compiled, tuple[NamedCall, ...]]:
        """As :meth:`compile`, with the calls that can be seen in the text."""
        _check_text(source, name)
        told = self._declared(_Functions(functions))
        made = await self._workers.compile(source, name, told)
        if isinstance(made, Refused):
            raise _rejection(made.findings, name, level)
        uses = {full_name(one) for one in made.uses}
        exports = {one.path: one.parameters for one in made.functions}
        compiled = Compiled(
            source=source,
            name=name,
            unit=json.dumps({"unit": made.unit, "functions": exports}).encode(),
            exports=exports,
            modules=frozenset(functions[one].module for one in uses if one in functions),
            warnings=tuple(_with_hint(one) for one in made.findings),
        )
        return compiled, made.calls

    async def inspect(
        self,
        source: str,
        *,
        name: str,
        functions: Mapping[str, HostFunction],
        constants: Sequence[str] = (),
    ) -> Inspection:
        """What a text says of itself; see :meth:`RuneWorkers.inspect`.

        Args:
            source: The text.
            name: What people call it, for messages.
            functions: The host functions that it may name.
            constants: Names whose values are wanted.

        Raises:
            CompilationError: for a text that cannot be read at all.
            ConfigurationError: if no worker is installed.
        """
        _check_text(source, name)
        told = self._declared(_Functions(functions))
        return await self._workers.inspect(source, name, told, constants=constants)

    def session(
        self, compiled: Compiled, request: SessionRequest
    ) -> AbstractAsyncContextManager[Session]:
        """A worker of the pool; see :class:`ccos.engine.languages.Language`."""
        return self.plan_session(compiled, request)

    def plan_session(
        self, compiled: Compiled, request: SessionRequest
    ) -> AbstractAsyncContextManager[RuneSession]:
        """As :meth:`session`, for whoever wants to dump and restore it."""
        told = self._declared(_Functions(request.functions))
        program = self._programs(compiled.source, compiled.name, compiled.unit, told)
        return self._workers.session(program, request)

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of all living workers."""
        return self._workers.worker_ids()

    def _declared_to(self, functions: _Functions) -> Declared:
        return declared(functions.by_name, self._modules)


class _Functions:
    """Granted functions that can be looked up by who they are; equal if their names are."""

    __slots__ = ("_names", "by_name")

    def __init__(self, by_name: Mapping[str, HostFunction]) -> None:
        self.by_name = by_name
        self._names = frozenset(by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Functions) and self._names == other._names

    def __hash__(self) -> int:
        return hash(self._names)


def _program(source: str, name: str, unit: bytes, told: Declared) -> Program:
    known: dict[str, Any] = json.loads(unit)
    functions = {path: tuple(names) for path, names in known["functions"].items()}
    return Program(source, name, known["unit"], functions, told)


def _check_text(source: str, name: str) -> None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise CompilationError(f"{name} has a lone surrogate, which is no text.") from None
    if size > MAXIMUM_BYTES:
        raise CompilationError(f"{name} has {size} bytes; at most {MAXIMUM_BYTES} are read.")


def _rejection(findings: Sequence[Finding], name: str, level: str) -> ScriptError:
    """What stands against a text: what it may not have, before what is wrong with it."""
    for one in findings:
        if one.diagnostic.code == _SECURITY and one.path is not None:
            return _violation(one, name, level)
    details: dict[str, Any] = {"diagnostics": [one.as_dict() for one in findings]}
    errors = [one for one in findings if one.diagnostic.severity in ("error", "fatal")]
    if not errors:
        return CompilationError(f"{name} does not compile.", details=details)
    first = errors[0].diagnostic
    place = {"line": first.line, "column": first.column} if first.line else {}
    where = f", line {first.line}, column {first.column}" if first.line else ""
    return CompilationError(
        f"{name}{where}: {first.message.removesuffix('.')}.",
        next_step=errors[0].hint,
        details=place | details,
    )


def _violation(one: Finding, name: str, level: str) -> SecurityViolationError:
    assert one.path is not None
    found = one.diagnostic
    having = f"level {one.level} has it" if one.level else "no level has it"
    return SecurityViolationError(
        f"{name}, line {found.line}: {one.path} does not exist at level {level}; {having}.",
        details={
            "line": found.line,
            "column": found.column,
            "module": full_name(one.path),
            "level": level,
            "available_at": one.level or None,
            "violation": "module",
            "diagnostics": [one.as_dict()],
        },
    )


def _with_hint(one: Finding) -> Diagnostic:
    found = one.diagnostic
    if one.hint is None:
        return found
    return Diagnostic(
        f"{found.message} {one.hint}",
        found.code,
        found.severity,
        found.file,
        found.line,
        found.column,
    )
