"""Running tools apart from the script engine: nothing is stored, cached or registered there.

The language, the broker, the limits and the audit trail are the same as the engine's, so that a
tool is held as tightly here as there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from ccos.audit import AuditTrail
from ccos.engine.budget import ExtensionApprover, NobodyExtends
from ccos.engine.executions import ExecutionContext, ExecutionResult
from ccos.engine.hosts import HostModules, HttpRequests
from ccos.engine.languages import Language
from ccos.engine.ledger import Ledger
from ccos.engine.library import CompiledScript
from ccos.engine.limits import DEFAULT_BUDGETS, Effective
from ccos.engine.places import Places
from ccos.engine.policy import MIB, SecurityPolicy
from ccos.engine.running import Executions
from ccos.engine.scripts import Script, script_id
from ccos.engine.store import ScriptStore
from ccos.engine.terms import Terms
from ccos.events import EventBus
from ccos.migration.definitions import RuneTool, file_name
from ccos.storage import Storage

_COMPILED_KEPT: Final = 1000
_MAX_WAITING: Final = 1000
_MOST_AT_ONCE: Final = 50


class ToolSandbox:
    """Compiles and runs tools under one policy.

    Args:
        policy: What they may use.
        language: What runs them.
        modules: All host modules; the policy decides which exist. Doubles can stand in for them.
        storage, audit, events: Where what they did is written down and told.
        requests: The way out for the http module.
        approver: Asks a person for more of a budget; by default the answer is no.
        max_memory_bytes: Most memory of a tool; the policy may allow less.
        max_output_bytes: Most that one call may print and log.
    """

    def __init__(
        self,
        policy: SecurityPolicy,
        *,
        language: Language,
        modules: HostModules,
        storage: Storage,
        audit: AuditTrail,
        events: EventBus,
        requests: HttpRequests,
        approver: ExtensionApprover | None = None,
        max_memory_bytes: int = 100 * MIB,
        max_output_bytes: int = MIB,
    ) -> None:
        self.policy = policy
        self._language = language
        self._ledger = Ledger(storage, audit, ScriptStore(storage))
        self._executions = Executions(
            self._ledger,
            events,
            requests,
            approver or NobodyExtends(),
            output_bytes=max_output_bytes,
        )
        at_once = policy.max_concurrent_operations or _MOST_AT_ONCE
        self._terms = Terms(
            policy,
            modules.granted(policy),
            _limits(policy, max_memory_bytes),
            DEFAULT_BUDGETS[policy.level],
            (Places(at_once, waiting=_MAX_WAITING, purpose="a place in the tool service"),),
        )
        self._compiled: OrderedDict[tuple[str, str], CompiledScript] = OrderedDict()

    @property
    def active(self) -> int:
        """Calls that run or wait for their turn."""
        return self._executions.active

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of the living workers of the language."""
        return self._language.worker_ids()

    async def compile(self, tool: RuneTool) -> CompiledScript:
        """Compile the text of a tool, or find what was made of it before.

        Raises:
            CompilationError: if the text is not accepted.
            SecurityViolationError: if it uses what the policy does not have.
        """
        key = (tool.name, tool.source_hash)
        made = self._compiled.get(key)
        if made is None:
            made = self._compiled[key] = await self._make(tool)
            while len(self._compiled) > _COMPILED_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return made

    def adopt(self, tool: RuneTool, made: CompiledScript) -> None:
        """Use what somebody else compiled of a tool for the host functions that exist here."""
        self._compiled[(tool.name, tool.source_hash)] = made
        while len(self._compiled) > _COMPILED_KEPT:
            self._compiled.popitem(last=False)

    async def run(
        self,
        tool: RuneTool,
        bound: Mapping[str, Any],
        *,
        timeout: float,
        context: ExecutionContext,
    ) -> ExecutionResult:
        """Call the function of a tool; its failure is a result too.

        Args:
            tool: The tool.
            bound: The arguments by parameter of its function.
            timeout: Seconds; the policy may allow less.
            context: Who calls, and the rest; its function, arguments and timeout do not count.

        Raises:
            ScriptError: as :meth:`compile`.
            EngineBusyError: if too many calls wait.
            IsolationError: if this machine cannot isolate it as the level promises.
        """
        made = await self.compile(tool)
        if not self._terms.isolated:
            await asyncio.to_thread(self._language.check_isolation, self.policy)
            self._terms.isolated.add(self._language.name)
        call = dataclasses.replace(
            context, function=tool.definition.entry.function, arguments=dict(bound)
        )
        limits = self._terms.limits.within(timeout)
        return await self._executions.run(made, call, self._terms, limits)

    async def stop(self) -> None:
        """Cancel what runs, wait for it, and write down what is left."""
        await self._executions.cancel_all()
        await self._ledger.flush()

    async def _make(self, tool: RuneTool) -> CompiledScript:
        started, now = time.perf_counter(), time.time()
        name = file_name(tool)
        compiled = await self._language.compile(
            tool.source_code, name=name, functions=self._terms.functions, level=self.policy.name
        )
        options = {"policy": self.policy.options()}
        script = Script(
            script_id=script_id(tool.source_code, self._language.name, options),
            language=self._language.name,
            name=name,
            source=tool.source_code,
            level=self.policy.level,
            options=options,
            created_at=now,
            updated_at=now,
        )
        seconds = time.perf_counter() - started
        return CompiledScript(script, self.policy, self._language, compiled, False, seconds)


def _limits(policy: SecurityPolicy, max_memory_bytes: int) -> Effective:
    share = policy.max_cpu_percentage
    return Effective(
        memory_bytes=min(policy.max_memory_bytes or max_memory_bytes, max_memory_bytes),
        cpu_share=None if share is None else share / 100,
        timeout=policy.execution_timeout,
        waiting=policy.operation_timeout,
    )
