"""The ScriptEngine: compiles, keeps, runs, limits, observes and stops scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ccos.audit import AuditTrail
from ccos.engine.broker import SOURCE, Emit
from ccos.engine.budget import ExtensionApprover, NobodyExtends
from ccos.engine.cache import CacheConfig, CompileCache
from ccos.engine.executions import (
    ChunkType,
    CompilationContext,
    ExecutionChunk,
    ExecutionContext,
    ExecutionResult,
)
from ccos.engine.health import (
    Meters,
    PerformanceMetrics,
    ResourceUsage,
    ServiceHealth,
    ServiceStatus,
    WorkerMeters,
)
from ccos.engine.hosts import HostModules, HttpRequests
from ccos.engine.languages import Language
from ccos.engine.ledger import Ledger
from ccos.engine.library import CompiledScript, Library, SecurityValidation
from ccos.engine.limits import (
    NO_BUDGET,
    ResourceLimits,
    ScriptEngineConfig,
    check_limits,
    effective,
)
from ccos.engine.places import Places
from ccos.engine.policy import SecurityLevel, SecurityPolicy
from ccos.engine.running import Executions
from ccos.engine.scripts import (
    CacheStatistics,
    Script,
    ScriptExecutionStats,
    ScriptInfo,
    ScriptTool,
)
from ccos.engine.snapshots import SnapshotSeal
from ccos.engine.store import ScriptStore
from ccos.engine.terms import Terms
from ccos.engine.units import CompiledUnits
from ccos.errors import (
    CompilationError,
    EngineStoppedError,
    ScriptNotFoundError,
    StorageError,
)
from ccos.events import Event, EventBus, EventType, Subscription
from ccos.storage import Storage

SERVICE_NAME: Final = "script_engine"
_READ_LIMIT_FACTOR: Final = 4


class ScriptEngine:
    """Runs scripts of every language under security policies.

    Use it as an async context manager, or with :meth:`start` and :meth:`stop`.

    Args:
        config: How it works.
        storage: Where scripts, tools and counts are kept.
        audit: The audit trail.
        events: Hears of everything.
        languages: The adapters.
        modules: The host modules.
        requests: The way out for the http module.
        seal: Of this installation, for what is compiled.
        approver: Asks a person for more of a budget; by default the answer is no.
        reload: Reads the configuration anew, for :meth:`reload_config`.
    """

    def __init__(
        self,
        config: ScriptEngineConfig,
        *,
        storage: Storage,
        audit: AuditTrail,
        events: EventBus,
        languages: Sequence[Language],
        modules: HostModules,
        requests: HttpRequests,
        seal: SnapshotSeal,
        approver: ExtensionApprover | None = None,
        reload: Callable[[], ScriptEngineConfig] | None = None,
    ) -> None:
        config.validate()
        self._config = config
        self._limits: ResourceLimits | None = None
        self._events = events
        self._languages = languages
        self._storage = storage
        self._modules = modules
        self._requests = requests
        self._approver = approver or NobodyExtends()
        self._reload = reload
        self._store = ScriptStore(storage, max_source_bytes=config.max_source_size)
        self._ledger = Ledger(storage, audit, self._store)
        self._units = CompiledUnits(storage, seal)
        self._terms: dict[SecurityPolicy, Terms] = {}
        self._own_places: dict[SecurityPolicy, Places] = {}
        self._all_places = Places(
            config.resource_limits.max_concurrent_operations,
            waiting=config.resource_limits.max_queue_size,
            purpose="a place in the engine",
        )
        self._meters = Meters()
        self._worker_meters = WorkerMeters()
        self._running_since: float | None = None
        self._status: ServiceStatus | None = None
        self._configure(config)

    def _configure(self, config: ScriptEngineConfig) -> None:
        self._config = config
        self._policy = config.policy
        self._cache = CompileCache(
            self._units,
            max_entries=config.max_cache_size,
            max_bytes=config.max_cache_bytes,
            enabled=config.enable_caching,
        )
        self._library = Library(
            self._languages,
            self._modules,
            self._store,
            self._cache,
            self._ledger,
            max_source_size=config.max_source_size,
            max_ready=config.max_cache_size,
        )
        self._executions = Executions(
            self._ledger,
            self._events,
            self._requests,
            self._approver,
            output_bytes=config.max_output_bytes,
        )
        self._apply_limits()

    async def __aenter__(self) -> ScriptEngine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Lifecycle

    async def start(self) -> None:
        """Accept executions; does nothing if it runs already."""
        if self._running_since is None:
            self._running_since = time.time()
            await self._tell(EventType.SERVICE_STARTED)

    async def stop(self) -> None:
        """Cancel what runs, wait for it, and write down what is left; harmless twice."""
        if self._running_since is not None:
            self._running_since = None
            await self._executions.cancel_all()
            self._ledger.add([self._event(EventType.SERVICE_STOPPED)])
            await self._ledger.flush()

    async def restart(self) -> None:
        """Stop and start."""
        await self.stop()
        await self.start()
        await self._tell(EventType.SERVICE_RESTARTED)

    def is_running(self) -> bool:
        """Whether it accepts executions."""
        return self._running_since is not None

    def service_name(self) -> str:
        """What it is called."""
        return SERVICE_NAME

    def service_version(self) -> str:
        """The version of this package."""
        return version("ccos")

    # Configuration

    def validate_config(self, config: ScriptEngineConfig) -> None:
        """Make sure that a configuration makes sense, without working under it.

        Raises:
            ConfigurationError: naming the first value that does not.
        """
        config.validate()

    def get_config(self) -> ScriptEngineConfig:
        """How it works now."""
        return self._config

    async def update_config(self, config: ScriptEngineConfig) -> None:
        """Work under another configuration; executions that run are cancelled.

        Raises:
            ConfigurationError: if it makes no sense; nothing changes then.
        """
        config.validate()
        executions = self._executions
        self._configure(config)
        await executions.cancel_all()
        await self._tell(EventType.CONFIGURATION_UPDATED)

    async def reload_config(self) -> None:
        """Read the configuration anew, from where it came from.

        Raises:
            ConfigurationError: if it makes no sense; nothing changes then.
        """
        if self._reload is not None:
            await self.update_config(self._reload())

    def get_limits(self) -> ResourceLimits:
        """The limits on every execution besides those of its policy."""
        return self._limits or self._config.resource_limits

    async def set_limits(self, limits: ResourceLimits) -> None:
        """Set limits that apply at every level, Development included.

        Raises:
            ConfigurationError: for one that is not above 0.
        """
        check_limits(limits)
        self._limits = limits
        self._apply_limits()
        await self._tell(EventType.CONFIGURATION_UPDATED, limits=True)

    def get_security_policy(self) -> SecurityPolicy:
        """The policy of scripts that are compiled without one of their own."""
        return self._policy

    async def set_security_policy(self, policy: SecurityPolicy) -> None:
        """Give another policy to scripts that are compiled from now on."""
        self._policy = policy
        await self._tell(EventType.SECURITY_POLICY_UPDATED, policy_name=policy.name)

    # Compiling

    async def compile_script(
        self, source: str, context: CompilationContext | None = None
    ) -> CompiledScript:
        """Compile a text and keep it; a text that was compiled before is found again.

        Raises:
            EngineStoppedError: if the engine does not run.
            CompilationError: if the text is not accepted.
            SecurityViolationError: if it uses what its policy does not have.
        """
        self._need_running()
        context = context or CompilationContext()
        made = await self._library.compile(source, context, context.policy or self._policy)
        if not made.cached and self._config.enable_caching:
            self._publish(EventType.SCRIPT_CACHED, script_id=made.script_id)
        return made

    async def compile_script_file(
        self, path: Path, context: CompilationContext | None = None
    ) -> CompiledScript:
        """Compile the text of a file; its name tells the language where the context does not.

        Raises:
            CompilationError: if it cannot be read or is not accepted.
            ScriptError: as :meth:`compile_script`.
        """
        source = await asyncio.to_thread(_text_of, path, self._config.max_source_size)
        context = context or CompilationContext(name=path.name)
        made = await self.compile_script(source, context)
        await self._tell(
            EventType.SCRIPT_LOADED,
            script_id=made.script_id,
            path=str(path),
            size_bytes=made.script.size_bytes,
        )
        return made

    def get_compilation_errors(self, script_id: str) -> list[dict[str, Any]]:
        """The diagnostics of the last attempt to compile a script; empty if it succeeded."""
        return self._library.errors(script_id)

    async def revalidate_script(self, script_id: str) -> CompiledScript:
        """Compile a kept script anew, whatever is in the cache."""
        self._need_running()
        await self._library.forget(script_id)
        return await self._library.load(script_id)

    async def precompile_script(self, script_id: str) -> CompiledScript:
        """Have a kept script compiled before it is needed."""
        self._need_running()
        return await self._library.load(script_id)

    async def update_script_context(
        self, script_id: str, context: CompilationContext
    ) -> CompiledScript:
        """Compile the text of a kept script in another context, which makes another script."""
        script = await self._store.get(script_id)
        return await self.compile_script(script.source, context)

    async def validate_script_security(self, script_id: str) -> SecurityValidation:
        """What stands against a kept script, and at which levels nothing would."""
        return await self._library.validate(await self._store.get(script_id))

    async def validate_source_security(
        self, source: str, context: CompilationContext | None = None
    ) -> SecurityValidation:
        """What stands against a text, and at which levels nothing would; it is not kept.

        Raises:
            EngineStoppedError: if the engine does not run.
            CompilationError: if no language could accept it, such as for its size.
            ConfigurationError: if there is no such language.
        """
        self._need_running()
        context = context or CompilationContext()
        return await self._library.validate_source(source, context, context.policy or self._policy)

    # Executing

    async def execute_script(
        self, script_id: str, context: ExecutionContext | None = None
    ) -> ExecutionResult:
        """Run a kept script; its failure is a result too.

        Raises:
            EngineStoppedError: if the engine does not run.
            ScriptNotFoundError: if there is no such script.
            EngineBusyError: if too many executions wait, or it waited for too long.
            IsolationError: if this machine cannot isolate it as its level promises.
        """
        self._need_running()
        made = await self._library.load(script_id)
        return await self._execute(made, context or ExecutionContext(), None)

    async def execute_script_source(
        self,
        source: str,
        context: ExecutionContext | None = None,
        compilation: CompilationContext | None = None,
    ) -> ExecutionResult:
        """Compile a text and run it.

        Raises:
            ScriptError: as :meth:`compile_script` and :meth:`execute_script`.
        """
        made = await self.compile_script(source, compilation)
        return await self._execute(made, context or ExecutionContext(), None)

    async def execute_script_stream(
        self, script_id: str, context: ExecutionContext | None = None
    ) -> AsyncIterator[ExecutionChunk]:
        """Run a kept script and say what happens as it happens.

        The last chunk is of the type ``complete`` and holds the result. Leaving the iteration
        early cancels the execution.

        Raises:
            ScriptError: as :meth:`execute_script`.
        """
        self._need_running()
        made = await self._library.load(script_id)
        context = context or ExecutionContext()
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[tuple[ChunkType, Any] | None] = asyncio.Queue()

        def emit(kind: ChunkType, data: Any) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, (kind, data))

        task = asyncio.create_task(self._execute(made, context, emit))
        task.add_done_callback(lambda _: loop.call_soon(chunks.put_nowait, None))
        number = 0
        try:
            while (item := await chunks.get()) is not None:
                yield ExecutionChunk(context.execution_id, *item, number, time.time())
                number += 1
            for kind, data in _last_chunks(await task):
                yield ExecutionChunk(context.execution_id, kind, data, number, time.time())
                number += 1
        finally:
            if not await self.cancel_execution(context.execution_id):
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def cancel_execution(self, execution_id: str) -> bool:
        """Stop an execution and wait until nothing of it is left; False if there is none."""
        return await self._executions.cancel(execution_id)

    async def _execute(
        self, made: CompiledScript, context: ExecutionContext, emit: Emit | None
    ) -> ExecutionResult:
        terms = self._terms_of(made.policy)
        if made.language.name not in terms.isolated:
            await asyncio.to_thread(made.language.check_isolation, made.policy)
            terms.isolated.add(made.language.name)
            self._need_running()
        limits = terms.limits.within(context.timeout)
        result = await self._executions.run(made, context, terms, limits, emit)
        self._meters.count(result)
        return result

    def _terms_of(self, policy: SecurityPolicy) -> Terms:
        terms = self._terms.get(policy)
        if terms is None:
            terms = self._terms[policy] = Terms(
                policy,
                self._library.granted(policy),
                effective(policy, self._config, self._limits),
                self._config.budgets.get(policy.level, NO_BUDGET),
                self._places_of(policy),
            )
        return terms

    def _places_of(self, policy: SecurityPolicy) -> tuple[Places, ...]:
        """Among the executions of the policy, where it bounds them, then among all."""
        most = policy.max_concurrent_operations
        if most is None:
            return (self._all_places,)
        if policy not in self._own_places:
            self._own_places[policy] = Places(
                most,
                waiting=self.get_limits().max_queue_size,
                purpose=f"a place at level {policy.name}",
            )
        return self._own_places[policy], self._all_places

    def _apply_limits(self) -> None:
        """Whoever runs or waits stays where they are."""
        limits = self.get_limits()
        waiting = limits.max_queue_size
        self._all_places.resize(limits.max_concurrent_operations, waiting=waiting)
        for policy, places in self._own_places.items():
            if policy.max_concurrent_operations is not None:
                places.resize(policy.max_concurrent_operations, waiting=waiting)
        self._terms.clear()

    # Scripts and tools

    async def list_scripts(
        self, *, language: str | None = None, level: SecurityLevel | None = None
    ) -> Sequence[ScriptInfo]:
        """The kept scripts."""
        return await self._store.list(language=language, level=level)

    async def find_script(self, text: str) -> Script:
        """The kept script that has this id, the only id that begins so, or this name.

        Raises:
            ScriptNotFoundError: if there is none.
            ScriptConflictError: if it could be several.
        """
        return await self._store.find(text)

    async def get_script_info(self, script_id: str) -> ScriptInfo:
        """What is known of a kept script.

        Raises:
            ScriptNotFoundError: if there is none.
        """
        script = await self._store.get(script_id)
        for info in await self._store.list():
            if info.script_id == script.script_id:
                return info
        raise ScriptNotFoundError(f"Script {script_id} was deleted meanwhile.")

    async def delete_script(self, script_id: str) -> bool:
        """Delete a kept script; False if there is none.

        Raises:
            ScriptConflictError: while a tool uses it.
        """
        deleted = await self._store.delete(script_id)
        if deleted:
            await self._library.forget(script_id)
            await self._tell(EventType.SCRIPT_UNLOADED, script_id=script_id, reason="deleted")
        return deleted

    async def register_tool(self, tool: ScriptTool) -> None:
        """Offer a function of a kept script under a name.

        Raises:
            ScriptNotFoundError: if there is no such script.
            ScriptConflictError: if the name is taken by another tool.
        """
        await self._store.register_tool(tool)
        await self._tell(EventType.SCRIPT_TOOL_REGISTERED, name=tool.name, script_id=tool.script_id)

    async def unregister_tool(self, name: str) -> bool:
        """Offer a tool no more; False if there is none of this name."""
        found = await self._store.unregister_tool(name)
        if found:
            await self._tell(EventType.SCRIPT_TOOL_UNREGISTERED, name=name)
        return found

    async def list_script_tools(self) -> Sequence[ScriptTool]:
        """The tools, by name."""
        return await self._store.tools()

    async def get_script_tool(self, name: str) -> ScriptTool:
        """One tool.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
        """
        return await self._store.tool(name)

    # Cache

    async def cache_script(self, script_id: str, config: CacheConfig | None = None) -> None:
        """Have a kept script compiled and cached, otherwise than all others if ``config`` says so.

        Raises:
            ScriptNotFoundError: if there is no such script.
            ScriptError: if it can no longer be compiled.
        """
        self._need_running()
        if config is not None:
            self._cache.configure((await self._store.get(script_id)).script_id, config)
        await self._library.load(script_id)

    def cleanup_resources(self) -> CacheStatistics:
        """Give up memory for what the database has as well; returns what that was."""
        self._library.forget_all()
        return self._cache.empty()

    async def clear_cache(self) -> CacheStatistics:
        """Give up what was compiled, here and in the database; returns what that was."""
        self._library.forget_all()
        removed = await self._cache.clear()
        await self._tell(EventType.CACHE_CLEARED, entries=removed.entries, bytes=removed.bytes)
        return removed

    def get_cache_statistics(self) -> CacheStatistics:
        """What is in memory, and hits, misses and evictions so far."""
        return self._cache.statistics

    async def get_stored_cache(self) -> tuple[int, int]:
        """How many compiled scripts the database has, for every process, and their bytes."""
        return await self._units.size()

    # Observing

    def subscribe(self, *types: EventType | str, capacity: int = 1000) -> Subscription:
        """Hear of events of these types, or of all; see :meth:`EventBus.subscribe`."""
        return self._events.subscribe(types, capacity=capacity)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Hear of no more."""
        self._events.unsubscribe(subscription)

    def publish(self, event: Event) -> None:
        """Let those hear of an event who want it. It is not put on the audit trail."""
        self._events.publish(event)

    async def handle_event(self, event: Event) -> bool:
        """Take in what happened elsewhere, such as in another process on the same database.

        A script that was unloaded there, a cache that was cleared and a configuration that was
        changed are what this engine would not notice by itself.

        Returns:
            Whether an event of that type means something to this engine.

        Raises:
            ConfigurationError: if the new configuration makes no sense; nothing changes then.
        """
        match event.type:
            case EventType.SCRIPT_UNLOADED:
                await self._library.forget(str(event.data.get("script_id", "")))
            case EventType.CACHE_CLEARED:
                self.cleanup_resources()
            case EventType.CONFIGURATION_UPDATED:
                await self.reload_config()
            case _:
                return False
        return True

    def liveness_check(self) -> bool:
        """Whether it runs at all, or has to be started again."""
        return self.is_running()

    async def readiness_check(self) -> bool:
        """Whether an execution would be taken now and not wait for a place."""
        return (await self.health_check()).status is ServiceStatus.HEALTHY

    async def health_check(self) -> ServiceHealth:
        """How it is, by figures measured now."""
        usage = await self.get_resource_usage()
        details = {
            "active_executions": usage.active_executions,
            "waiting_executions": usage.waiting_executions,
            "cache_size": self._cache.statistics.entries,
            "total_executions": self._meters.total,
            "success_rate": self._meters.success_rate,
            "workers": usage.workers,
            "worker_memory_bytes": usage.memory_bytes,
            "worker_cpu_percent": usage.cpu_percent,
        }
        status, message = await self._judged(usage)
        if status is not self._status:
            was, self._status = self._status, status
            if was is not None:
                await self._tell(EventType.HEALTH_CHANGED, status=status.value, was=was.value)
        return ServiceHealth(status, message, time.time(), details)

    async def get_resource_usage(self) -> ResourceUsage:
        """What the workers use now."""
        workers = tuple(worker for one in self._languages for worker in one.worker_ids())
        memory, share = await asyncio.to_thread(self._worker_meters.measure, workers)
        places = (self._all_places, *self._own_places.values())
        waiting = sum(one.waiting for one in places)
        return ResourceUsage(
            workers=len(workers),
            memory_bytes=memory,
            cpu_percent=share,
            active_executions=self._executions.active,
            waiting_executions=waiting,
        )

    def get_metrics(self) -> dict[str, Any]:
        """Counts and times since the start, or since they were reset."""
        uptime = None if self._running_since is None else time.time() - self._running_since
        return self._meters.as_dict() | {"uptime": uptime}

    async def get_performance_metrics(self) -> PerformanceMetrics:
        """How quick it is, and what that takes."""
        usage = await self.get_resource_usage()
        cache = self._cache.statistics
        queues = (self._all_places, *self._own_places.values())
        return PerformanceMetrics(
            request_times=tuple(self._meters.recent),
            memory_usage=usage.memory_bytes,
            cpu_usage=usage.cpu_percent,
            queue_sizes={one.purpose: one.waiting for one in queues},
            custom_metrics={
                "active_executions": usage.active_executions,
                "cache_hits": cache.hits,
                "cache_misses": cache.misses,
            },
        )

    def reset_metrics(self) -> None:
        """Count from nothing."""
        self._meters = Meters()

    async def get_execution_stats(self) -> ScriptExecutionStats:
        """How often the kept scripts ran, from the first day on."""
        await self._ledger.flush()
        return await self._store.statistics()

    async def _judged(self, usage: ResourceUsage) -> tuple[ServiceStatus, str]:
        if not self.is_running():
            return ServiceStatus.UNHEALTHY, "The engine does not run."
        try:
            await self._store.tools()
        except StorageError as error:
            return ServiceStatus.UNHEALTHY, f"The store cannot be used: {error.message}"
        most = self.get_limits().max_concurrent_operations
        if usage.active_executions >= most:
            return ServiceStatus.DEGRADED, f"{usage.active_executions} of {most} executions run."
        return ServiceStatus.HEALTHY, "The engine runs."

    def _need_running(self) -> None:
        if self._running_since is None:
            raise EngineStoppedError("The script engine is not running.")

    async def _tell(self, kind: EventType, **data: Any) -> None:
        await self._ledger.write(self._event(kind, **data))

    def _publish(self, kind: EventType, **data: Any) -> None:
        if self._events.wants(kind):
            self._events.publish(self._event(kind, **data))

    def _event(self, kind: EventType, **data: Any) -> Event:
        return Event(kind, data={"service": SERVICE_NAME, **data}, source=SOURCE)


def _last_chunks(result: ExecutionResult) -> Iterable[tuple[ChunkType, Any]]:
    if result.error is None:
        yield ChunkType.RESULT, result.value
    else:
        yield ChunkType.ERROR, result.error.as_dict()
    yield ChunkType.COMPLETE, result


def _text_of(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_READ_LIMIT_FACTOR * limit)
        return data.decode("utf-8")
    except OSError as error:
        raise CompilationError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CompilationError(f"{path} is not UTF-8 text (byte {error.start}).") from error
