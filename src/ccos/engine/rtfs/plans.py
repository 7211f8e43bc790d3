"""Plans in RTFS: they call capabilities, and the host functions of the production level."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from ccos.engine.hosts import HostModules
from ccos.engine.plan_languages import RunnablePlan
from ccos.engine.plans import MAXIMUM_BYTES, Plan, StaticCall
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.python import PythonWorkers
from ccos.engine.rtfs.language import (
    RtfsLanguage,
    compiled,
    refuse_unknown_host_functions,
)
from ccos.engine.rtfs.program import program_of
from ccos.engine.rtfs.services import SERVICES
from ccos.engine.rtfs.session import RtfsSession, host_function
from ccos.errors import CapabilityError, CompilationError, PlanError
from ccos.rtfs.compiler import CompiledModule

_PLANS_KEPT: Final = 128


class RtfsPlans:
    """Plans in RTFS, in the interpreters of a pool.

    Args:
        workers: The pool, shared with whoever else runs Python.
        modules: All host modules; a plan has those of the production level.
    """

    suffixes = RtfsLanguage.suffixes

    def __init__(self, workers: PythonWorkers, modules: HostModules) -> None:
        self._workers = workers
        self._functions = modules.granted(level_policy(SecurityLevel.PRODUCTION))
        self._read: OrderedDict[tuple[str, str], RunnablePlan] = OrderedDict()

    async def read(self, source: str, *, name: str) -> RunnablePlan:
        """Read a plan; see :class:`ccos.engine.plan_languages.PlanLanguage`."""
        known = self._read.get((source, name))
        if known is None:
            known = self._runnable(await self._compiled(source, name))
            self._read[source, name] = known
            while len(self._read) > _PLANS_KEPT:
                self._read.popitem(last=False)
        return known

    async def _compiled(self, source: str, name: str) -> CompiledModule:
        size = len(source.encode("utf-8", "surrogatepass"))
        if size > MAXIMUM_BYTES:
            raise PlanError(f"{name} has {size} bytes; a plan has at most {MAXIMUM_BYTES}.")
        try:
            module = await compiled(self._workers, source, name)
        except CompilationError as error:
            raise PlanError(
                error.message, next_step=error.next_step, details=error.details
            ) from error
        refuse_unknown_host_functions(module, self._functions, SecurityLevel.PRODUCTION.value)
        return module

    def _runnable(self, module: CompiledModule) -> RunnablePlan:
        digest = "sha256:" + hashlib.sha256(module.text.encode()).hexdigest()
        plan = Plan(module.text, module.name, digest, frozenset(), self._calls(module))
        program = program_of(module)
        return RunnablePlan(
            plan,
            self._functions,
            lambda request: self._workers.session_of(RtfsSession, program, request),
            packs_calls=True,
        )

    def _calls(self, module: CompiledModule) -> tuple[StaticCall, ...]:
        calls = []
        for one in module.dependencies:
            try:
                identifier = one.canonical
            except CapabilityError as error:
                raise PlanError(
                    f"{module.name}, line {one.line}, column {one.column}: {error.message}",
                    details={"line": one.line, "column": one.column},
                ) from error
            if identifier is None or not self._is_hosts(identifier):
                calls.append(StaticCall(identifier, one.line, one.column))
        return tuple(sorted(calls, key=lambda call: (call.line, call.column)))

    def _is_hosts(self, identifier: str) -> bool:
        return identifier in SERVICES or host_function(identifier, self._functions) is not None
