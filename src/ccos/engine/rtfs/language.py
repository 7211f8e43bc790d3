"""RTFS, as a language of the engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from typing import Any, Final

from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled, Diagnostic, Session, SessionRequest, Severity
from ccos.engine.policy import SecurityPolicy
from ccos.engine.python import PythonWorkers
from ccos.engine.python.naming import HOST
from ccos.engine.python.session import FORMAT
from ccos.engine.rtfs.program import RtfsProgram, exported, program_of
from ccos.engine.rtfs.session import RtfsSession, host_function
from ccos.errors import CapabilityError, CompilationError, SecurityViolationError
from ccos.rtfs import RtfsSyntaxError, compile_module
from ccos.rtfs import diagnostics as rtfs
from ccos.rtfs.compiler import CompiledModule, Dependency, run_macro_in
from ccos.rtfs.stored import as_data, compiler_version, from_data

_PROGRAMS_KEPT: Final = 1000


class RtfsLanguage:
    """Scripts in RTFS, on the workers that run Python.

    Args:
        workers: The pool, shared with whoever else runs Python.
    """

    name = "rtfs"
    suffixes = (".rtfs",)

    def __init__(self, workers: PythonWorkers) -> None:
        self._workers = workers
        self._programs = lru_cache(maxsize=_PROGRAMS_KEPT)(_program)

    @property
    def format(self) -> str:
        """Version of the interpreter and of the compiler."""
        return f"{FORMAT}, rtfs {compiler_version()}"

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Refuse a level that promises what this machine cannot keep; may block."""
        self._workers.check_isolation(policy)

    async def compile(
        self, source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
    ) -> Compiled:
        """Read a script; see :class:`ccos.engine.languages.Language`."""
        module = await compiled(self._workers, source, name)
        refuse_unknown_host_functions(module, functions, level)
        used = (host_function(one, functions) for one in identifiers(module))
        return Compiled(
            source=source,
            name=name,
            unit=json.dumps(as_data(module), separators=(",", ":")).encode(),
            exports=exported(module),
            modules=frozenset(functions[one].module for one in used if one is not None),
            warnings=tuple(_diagnostics(rtfs.Report(name, source, module.warnings))),
        )

    def session(
        self, compiled: Compiled, request: SessionRequest
    ) -> AbstractAsyncContextManager[Session]:
        """A worker of the pool; see :class:`ccos.engine.languages.Language`."""
        program = self._programs(compiled.source, compiled.name, compiled.unit)
        return self._workers.session_of(RtfsSession, program, request)

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of all living workers."""
        return self._workers.worker_ids()


async def compiled(workers: PythonWorkers, source: str, name: str) -> CompiledModule:
    """Compile a text; its macros run in a worker.

    Raises:
        CompilationError: with every diagnostic.
    """
    try:
        source.encode()
    except UnicodeEncodeError:
        raise CompilationError(f"{name} has a lone surrogate, which is no text.") from None
    work = partial(compile_module, source, name, run_macro=partial(run_macro_in, workers))
    try:
        module = await asyncio.to_thread(work)
    except RtfsSyntaxError as error:
        found = [one.as_dict() for one in _diagnostics(error.report)]
        raise CompilationError(
            error.message,
            next_step=error.next_step,
            details={**error.details, "diagnostics": found},
        ) from error
    fault = await workers.diagnose(module.source())
    if fault is not None:
        raise CompilationError(f"{name} cannot be run: {str(fault)[:500]}.")
    return module


def identifiers(module: CompiledModule) -> Iterator[str]:
    """The ids that a program calls, as far as its text tells and capabilities can have them."""
    for one in module.dependencies:
        identifier = _canonical(one)
        if identifier is not None:
            yield identifier


def refuse_unknown_host_functions(
    module: CompiledModule, functions: Mapping[str, HostFunction], level: str
) -> None:
    """Make sure that every host function which is called exists for the program.

    Raises:
        SecurityViolationError: for the first one that does not, naming it and the level.
    """
    for one in module.dependencies:
        identifier = _canonical(one)
        if identifier is None or identifier.partition(".")[0] != HOST:
            continue
        if host_function(identifier, functions) is None:
            raise SecurityViolationError(
                f"{module.name}, line {one.line}: {identifier} does not exist at level {level}.",
                details={
                    "line": one.line,
                    "column": one.column,
                    "module": identifier,
                    "level": level,
                    "violation": "module",
                },
            )


def _canonical(dependency: Dependency) -> str | None:
    try:
        return dependency.canonical
    except CapabilityError:
        return None


def _program(source: str, name: str, unit: bytes) -> RtfsProgram:
    data: dict[str, Any] = json.loads(unit)
    return program_of(from_data(data, source, name))


def _diagnostics(report: rtfs.Report) -> Iterator[Diagnostic]:
    for one in report.as_data():
        hint = f" ({one['hint']})" if one["hint"] else ""
        yield Diagnostic(
            message=f"{one['message']}{hint}",
            code=one["kind"],
            severity=Severity(one["severity"]),
            file=report.name,
            line=one["line"],
            column=one["column"],
        )
