"""The original runtime of Rune tools: it finds them, keeps them in a registry, and calls them.

It stands beside the script engine and knows nothing of it; the engine never falls back to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ccos.audit import AuditTrail
from ccos.engine.budget import ExtensionApprover
from ccos.engine.executions import ExecutionContext, ExecutionResult
from ccos.engine.health import Meters, ServiceHealth, ServiceStatus, WorkerMeters
from ccos.engine.hosts import HostModules, HttpRequests
from ccos.engine.rune import RuneLanguage
from ccos.errors import (
    CcosError,
    ConfigurationError,
    EngineStoppedError,
    ScriptError,
)
from ccos.events import EventBus
from ccos.migration.calls import bound_arguments, checked_result
from ccos.migration.definitions import RuneTool, ToolDefinition, shown_path
from ccos.migration.inspection import Inspector, RuneInspector
from ccos.migration.loading import ToolLoader, place
from ccos.migration.registry import ToolRegistry
from ccos.migration.rune_service_config import RuneServiceConfig
from ccos.migration.sandbox import ToolSandbox
from ccos.migration.tool_service import (
    ServiceMetrics,
    ToolExecutionRequest,
    ToolExecutionResult,
    ToolValidation,
)
from ccos.storage import Storage

_log = logging.getLogger(__name__)


class RuneService:
    """Finds Rune tools, keeps them, and calls them. Use it as an async context manager.

    Args:
        config: How it works.
        inspector: Reads the sources.
        sandbox: Runs the tools, under ``config.security``.
        rune_version: Tells that of the language, for :meth:`system_info`; may block.

    Raises:
        ConfigurationError: if the sandbox has another policy than the configuration.
    """

    def __init__(
        self,
        config: RuneServiceConfig,
        *,
        inspector: Inspector,
        sandbox: ToolSandbox,
        rune_version: Callable[[], str],
    ) -> None:
        if sandbox.policy != config.security:
            raise ConfigurationError("The sandbox has another policy than the configuration.")
        self.config = config
        self.registry = ToolRegistry(config.cache)
        self._loader = ToolLoader(config.discovery, inspector, self.registry, sandbox.compile)
        self._sandbox = sandbox
        self._rune_version = rune_version
        self._meters = Meters()
        self._worker_meters = WorkerMeters()
        self._since: float | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RuneService:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Lifecycle

    async def start(self) -> None:
        """Accept calls, and look for changes if that is asked for; does nothing if it runs."""
        if self._since is not None:
            return
        self._since = time.time()
        wanted = self.config.hot_reload and self.config.discovery.hot_reload
        if wanted and self.config.cache.enable_hot_reload:
            self._watcher = asyncio.create_task(self._loader.watch(), name="ccos-rune-watch")

    async def stop(self) -> None:
        """Accept no more calls, cancel what runs and wait for it; harmless twice."""
        self._since = None
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await self._sandbox.stop()

    def is_running(self) -> bool:
        """Whether it accepts calls."""
        return self._since is not None

    def system_info(self) -> dict[str, Any]:
        """What it is and where it looks, as JSON data.

        The first time it may block for some milliseconds, in which a worker is asked.

        Raises:
            ConfigurationError: if no worker is installed.
        """
        directories = self._loader.roots or self.config.discovery.directories
        return {
            "service_name": self.config.service_name,
            "version": self.config.version,
            "rune_version": self._rune_version(),
            "extensions": list(self.config.discovery.extensions),
            "directories": [shown_path(one) for one in directories],
            "security_level": self.config.security.level.value,
        }

    # Discovery

    async def discover_tools_from_directory(self, path: Path) -> int:
        """Look for tools in a folder and register them; returns how many are new."""
        return await self._loader.discover([path])

    async def discover_tools_from_directories(self, paths: Sequence[Path] = ()) -> int:
        """Look for tools in folders, or in those of the configuration; returns how many are new.

        A tool that is registered already is loaded anew if its text changed. One that cannot be
        used, or whose name another file has, is in the log, and in the loading history if it was
        refused.
        """
        return await self._loader.discover(paths)

    async def reload_tools(self) -> int:
        """Look again where tools were found; returns how many were loaded, anew or given up.

        A tool whose file is gone is given up; one whose file is bad now goes on as it was.
        """
        return await self._loader.reload_all()

    async def reload_tool(self, name: str) -> bool:
        """Load a tool anew from its file; False if its text has not changed.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
            ScriptError: if the file is gone or its text cannot be used; the old one stays.
        """
        return await self._loader.reload(name)

    # Tools

    async def list_tools(self) -> list[ToolDefinition]:
        """The tools, by name."""
        return [tool.definition for tool in self.registry.list_tools()]

    async def get_tool(self, name: str) -> ToolDefinition | None:
        """One tool; None if there is none of this name."""
        tool = self.registry.get_tool(name)
        return None if tool is None else tool.definition

    async def execute_tool(self, request: ToolExecutionRequest) -> ToolExecutionResult:
        """Call a tool; its failure is a result too, and so are arguments that it does not take.

        Raises:
            EngineStoppedError: if the service does not run.
            ScriptToolNotFoundError: if there is none of this name.
        """
        if self._since is None:
            raise EngineStoppedError(f"The service {self.config.service_name} is not running.")
        tool = await self._current(request.tool_name)
        started = time.perf_counter()
        run: ExecutionResult | None = None
        value, failure = None, None
        try:
            run = await self._run(tool, request)
            if run.error is not None:
                raise run.error
            value = checked_result(tool.definition, run.value)
        except CcosError as error:
            failure = error
        seconds = time.perf_counter() - started
        self._meters.seconds += seconds
        self._meters.succeeded += failure is None
        self._meters.failed += failure is not None
        return ToolExecutionResult(
            tool_name=tool.name,
            success=failure is None,
            result=value,
            error=failure,
            execution_time=seconds,
            context_ref=request.context.context_ref,
            metadata=self._metadata(run),
        )

    async def validate_tool(self, name: str) -> ToolValidation:
        """Whether a tool can be used as its file is now, under the policy of the service."""
        tool = self.registry.get_tool(name)
        if tool is None:
            return ToolValidation(valid=False, errors=(f"Tool not found: {name[:100]!r}.",))
        errors: list[str] = []
        warnings = [] if tool.enabled else [f"Tool {name!r} is disabled."]
        current = tool
        if tool.file_path is not None:
            report = await self._loader.report(tool)
            if report is None:
                errors.append(f"Its file is gone: {place(tool)}.")
            else:
                errors += [str(one) for one in report.problems if one.tool in ("", tool.name)]
                warnings += report.warnings
                current = next((one for one in report.tools if one.name == tool.name), tool)
            if current.source_hash != tool.source_hash:
                warnings.append("Its file changed since it was loaded.")
        try:
            await self._sandbox.compile(current)
        except ScriptError as error:
            errors.append(error.message)
        return ToolValidation(
            valid=not errors,
            errors=tuple(errors),
            warnings=tuple(warnings),
            metadata={
                "version": tool.definition.version,
                "form": tool.definition.form.value,
                "source_hash": tool.source_hash,
                "security_level": self.config.security.level.value,
            },
        )

    # Observing

    async def service_health(self) -> ServiceHealth:
        """How it is, by figures measured now."""
        stats = self.registry.get_stats()
        active = self._sandbox.active
        most = self.config.security.max_concurrent_operations
        if not self.is_running():
            status, message = ServiceStatus.UNHEALTHY, "The service does not run."
        elif most is not None and active >= most:
            status, message = ServiceStatus.DEGRADED, f"{active} of {most} calls run."
        else:
            status, message = ServiceStatus.HEALTHY, "The service runs."
        details = {
            "active_executions": active,
            "tools": stats.total_tools,
            "enabled_tools": stats.enabled_tools,
            "total_executions": self._meters.total,
            "success_rate": self._meters.success_rate,
        }
        return ServiceHealth(status, message, time.time(), details)

    async def get_metrics(self) -> ServiceMetrics:
        """What it counted since it was made, and what its workers use now."""
        meters, workers = self._meters, self._sandbox.worker_ids()
        memory, share = await asyncio.to_thread(self._worker_meters.measure, workers)
        return ServiceMetrics(
            total_requests=meters.total,
            successful_requests=meters.succeeded,
            failed_requests=meters.failed,
            average_response_time=meters.seconds / meters.total if meters.total else None,
            uptime=None if self._since is None else time.time() - self._since,
            memory_usage=memory if workers else None,
            cpu_usage=share,
        )

    async def _current(self, name: str) -> RuneTool:
        """A tool, loaded anew if it was not looked at for too long and its text changed."""
        tool = self.registry.find(name)
        if self.registry.is_stale(tool.name):
            try:
                await self.reload_tool(tool.name)
            except ScriptError as error:
                self.registry.looked_at(tool.name)
                _log.warning("%s: %s", place(tool), error.message)
        return self.registry.find(name)

    async def _run(self, tool: RuneTool, request: ToolExecutionRequest) -> ExecutionResult:
        given, execution = request.context, self.config.execution
        timeout = execution.default_timeout if given.timeout is None else given.timeout
        if not (timeout > 0 and math.isfinite(timeout)):
            raise ConfigurationError("The timeout of a call is a number of seconds above 0.")
        context = ExecutionContext(
            execution_id=given.execution_id,
            environment={**execution.default_environment, **given.environment},
            caller=given.user_context or self.config.service_name,
        )
        bound = bound_arguments(tool.definition, request.parameters)
        timeout = min(timeout, execution.max_timeout)
        return await self._sandbox.run(tool, bound, timeout=timeout, context=context)

    def _metadata(self, run: ExecutionResult | None) -> dict[str, Any]:
        known: dict[str, Any] = {
            "migrated_execution": False,
            "service": self.config.service_name,
            "security_level": self.config.security.level.value,
        }
        if run is not None and self.config.execution.capture_output:
            known |= {"stdout": run.stdout, "stderr": run.stderr}
        return known


def rune_service(
    config: RuneServiceConfig,
    *,
    language: RuneLanguage,
    modules: HostModules,
    storage: Storage,
    audit: AuditTrail,
    events: EventBus,
    requests: HttpRequests,
    approver: ExtensionApprover | None = None,
) -> RuneService:
    """A service over the parts that the script engine is made of; it is not started yet.

    Args:
        config: How it works.
        language: Reads and runs the tools.
        modules: All host modules, or doubles of them.
        storage, audit, events, requests, approver: As for :class:`ToolSandbox`.
    """
    sandbox = ToolSandbox(
        config.security,
        language=language,
        modules=modules,
        storage=storage,
        audit=audit,
        events=events,
        requests=requests,
        approver=approver,
        max_memory_bytes=config.execution.max_memory,
    )
    return RuneService(
        config,
        inspector=RuneInspector(language, modules),
        sandbox=sandbox,
        rune_version=lambda: language.format,
    )
