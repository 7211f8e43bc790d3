"""Python on Monty, as a language of the engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Final

import pydantic_monty as monty

from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled, Diagnostic, Session, SessionRequest, Severity
from ccos.engine.policy import SecurityPolicy
from ccos.engine.python.naming import external_modules, with_interpreter_names
from ccos.engine.python.reading import parse, read, refuse_forbidden_imports
from ccos.engine.python.session import FORMAT, Program, place
from ccos.engine.python.workers import PythonWorkers
from ccos.errors import CompilationError

_MODULES_KEPT: Final = 64


class PythonLanguage:
    """Scripts in Python, on an interpreter that has no way to the machine.

    Args:
        workers: The pool, shared with whoever else runs Python.
    """

    name = "python"
    suffixes = (".py",)
    format = FORMAT

    def __init__(self, workers: PythonWorkers) -> None:
        self._workers = workers
        self._programs = lru_cache(maxsize=1000)(_program)
        self._modules = lru_cache(maxsize=_MODULES_KEPT)(external_modules)

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Refuse a level that promises what this machine cannot keep; may block."""
        self._workers.check_isolation(policy)

    async def compile(
        self, source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
    ) -> Compiled:
        """Read a script; see :class:`ccos.engine.languages.Language`."""
        try:
            tree = parse(source, name)
        except CompilationError as error:
            raise _with_diagnostic(error, name) from error
        refuse_forbidden_imports(tree, name, functions, level)
        text = with_interpreter_names(source, tree)
        fault = await self._workers.diagnose(text)
        if fault is not None:
            raise _with_diagnostic(_rejection(fault, name), name)
        reading = read(tree)
        unit = {
            "asynchronous": sorted(reading.asynchronous),
            "text": None if text == source else text,
        }
        return Compiled(
            source=source,
            name=name,
            unit=json.dumps(unit).encode(),
            exports=reading.exports,
            modules=reading.modules,
        )

    def session(
        self, compiled: Compiled, request: SessionRequest
    ) -> AbstractAsyncContextManager[Session]:
        """A worker of the pool; see :class:`ccos.engine.languages.Language`."""
        program = self._programs(compiled.source, compiled.name, compiled.unit)
        modules = self._modules(frozenset(request.functions))
        return self._workers.session(program, request, modules=modules)

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of all living workers."""
        return self._workers.worker_ids()


def _program(source: str, name: str, unit: bytes) -> Program:
    digest = "sha256:" + hashlib.sha256(source.encode()).hexdigest()
    known = json.loads(unit)
    asynchronous = frozenset(known["asynchronous"])
    return Program(known["text"] or source, name, digest, asynchronous=asynchronous)


def _rejection(error: monty.MontyError, name: str) -> CompilationError:
    found = {}
    if isinstance(error, monty.MontySyntaxError | monty.MontyRuntimeError):
        found = place(error)
        # The text was compiled below a line of ours.
        found = {"line": found["line"] - 1, "column": found["column"]} if found else {}
    words = str(error).removeprefix("NotImplementedError: ")
    where = f", line {found['line']}, column {found['column']}" if found else ""
    return CompilationError(f"{name}{where}: {words}.", details=found | {"message": words})


def _with_diagnostic(error: CompilationError, name: str) -> CompilationError:
    message = error.details.pop("message", error.message)
    diagnostic = Diagnostic(
        message=message,
        code="syntax",
        severity=Severity.ERROR,
        file=name,
        line=error.details.get("line", 0),
        column=error.details.get("column", 0),
    )
    error.details["diagnostics"] = [diagnostic.as_dict()]
    return error
