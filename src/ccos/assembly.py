"""One CCOS: the rooms, put together from settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ccos.audit import AuditTrail, HeadFile
from ccos.capabilities import ScriptProvider
from ccos.config import Settings, load_settings
from ccos.durable import DurableEngine, file_beside
from ccos.egress import Egress, EgressPolicy, EgressRecord, Resolver
from ccos.engine import (
    PlanLanguages,
    PythonLanguage,
    PythonPlans,
    PythonWorkers,
    SecurityLevel,
    SnapshotSeal,
    level_policy,
)
from ccos.engine.cpython import CPythonLanguage, CPythonWorkers
from ccos.engine.jail import probe
from ccos.engine.limits import ResourceLimits, ScriptEngineConfig
from ccos.engine.modules import EgressRequests, host_modules
from ccos.engine.policy import MIB, SecurityPolicy
from ccos.engine.rtfs import RtfsLanguage, RtfsPlans
from ccos.engine.rune import RuneLanguage, RunePlans, RuneWorkers
from ccos.engine.service import ScriptEngine
from ccos.errors import ScriptNotFoundError
from ccos.events import Event, EventBus, EventType
from ccos.keys import load_key
from ccos.marketplace import Marketplace, Registration, installed_meanings
from ccos.providers.base import Invoker
from ccos.providers.graphql import GraphQlInvoker
from ccos.providers.http import HttpInvoker
from ccos.providers.http_template import HttpTemplateInvoker
from ccos.providers.launcher import Launcher
from ccos.providers.local import LocalInvoker
from ccos.providers.mcp import McpInvoker
from ccos.providers.openapi import OpenApiInvoker
from ccos.providers.script import ScriptInvoker
from ccos.providers.secrets import EnvironmentSecrets
from ccos.resolution.approvals import Approvals, BudgetExtensions
from ccos.resolution.approvals.rules import FILE_NAME as APPROVAL_RULES
from ccos.resolution.checkpoints import CheckpointArchive
from ccos.resolution.detection import Dependencies, RuntimeDetection, dependencies
from ccos.resolution.drift import DriftWatch
from ccos.resolution.resolver import WORKFLOW, MissingCapabilityResolver
from ccos.resolution.sources import (
    Catalogue,
    ChangedProviders,
    CuratedCatalogue,
    Introspector,
    McpRegistry,
    NearMatches,
    OpenApiDocuments,
    Source,
)
from ccos.resolution.validation import Code
from ccos.resolution.worker import ResolutionWorker
from ccos.runtime import (
    CallPolicy,
    Dispatcher,
    Outcome,
    PlanLimits,
    Runtime,
    Surroundings,
    Workers,
    this_worker,
)
from ccos.storage import Storage, WriteObserver

if TYPE_CHECKING:
    from ccos.migration import MigrationParts, RuneService, RuneServiceConfig


class Ccos:
    """A running CCOS. Made by :func:`open`; use it as an async context manager.

    Attributes:
        settings: What it was opened with.
        events: Everything that happens, as it happens.
        audit: The audit trail.
        marketplace: The registered capabilities.
        runtime: The executions.
        local: The Python functions of this process that capabilities are made of.
        script_engine: The scripts and tools, and their executions.
        egress: The way out.
        mcp: The MCP servers in use.
        resolver: The search for missing capabilities, with its queue and approvals.
        checkpoint_archive: The parked executions.
        worker: What goes on by itself; it runs in the background if ``work`` was true.
    """

    marketplace: Marketplace
    runtime: Runtime
    resolver: MissingCapabilityResolver
    checkpoint_archive: CheckpointArchive
    worker: ResolutionWorker
    audit: AuditTrail
    local: LocalInvoker
    script_engine: ScriptEngine
    egress: Egress
    mcp: McpInvoker
    _rune_parts: dict[str, Any]
    _migration_parts: dict[str, Any]
    _plan_languages: PlanLanguages

    def __init__(
        self,
        settings: Settings,
        *,
        work: bool,
        policy: CallPolicy,
        write_observer: WriteObserver | None,
        name_resolver: Resolver | None,
    ) -> None:
        self.settings = settings
        self.events = EventBus()
        self._work = work
        self._policy = policy
        self._storage = Storage(settings.database_url, observer=write_observer)
        self._name_resolver = name_resolver
        self._detection = RuntimeDetection()
        self._exits = contextlib.AsyncExitStack()
        self._recordings: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Ccos:
        async with contextlib.AsyncExitStack() as exits:
            await self._assemble(exits)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._exits.aclose()

    def rune_service(self, config: RuneServiceConfig | None = None) -> RuneService:
        """The original runtime of Rune tools, beside the engine and never in its place.

        Use it as an async context manager, within this one.

        Args:
            config: How it works; its own defaults if left out.
        """
        from ccos.migration import RuneServiceConfig, rune_service

        return rune_service(config or RuneServiceConfig(), **self._rune_parts)

    def migration_parts(self) -> MigrationParts:
        """What migrating legacy tools works with, such as ``MigrationManager.new``."""
        from ccos.migration import MigrationParts

        return MigrationParts(**self._migration_parts)

    async def _assemble(self, exits: contextlib.AsyncExitStack) -> None:
        settings = self.settings
        key = await asyncio.to_thread(load_key, settings.home / "keys" / "ccos.key")
        storage = await exits.enter_async_context(self._storage)
        head = HeadFile(settings.home / "audit" / "head.json", key)
        self.audit = AuditTrail(
            storage,
            self.events,
            head,
            enabled=settings.missing.feature_flags.audit_logging_enabled,
        )
        await self.audit.start()
        self.local = LocalInvoker()
        vectors = settings.home / "search" / "vectors.sqlite"
        self.marketplace = Marketplace(
            storage, self.audit, key, self.local, partial(installed_meanings, vectors)
        )
        self.egress = egress = await exits.enter_async_context(self._egress())
        exits.push_async_callback(self._finish_recordings)
        secrets = EnvironmentSecrets()
        self.mcp = mcp = McpInvoker(
            Launcher(),
            lambda hosts: egress.transport("call an MCP server", hosts),
            secrets,
            call_timeout_seconds=settings.mcp_call_timeout_seconds,
        )
        invokers: dict[str, Invoker] = {
            "local": self.local,
            "mcp": mcp,
            "mcp_resource": mcp,
            "mcp_prompt": mcp,
            "openapi": OpenApiInvoker(egress, secrets),
            "http": HttpInvoker(egress, secrets),
            "http_template": HttpTemplateInvoker(egress, secrets),
            "graphql": GraphQlInvoker(egress, secrets),
        }
        modules, requests = host_modules(), EgressRequests(egress)
        me = this_worker()
        workers = Workers(storage, me)
        around = Surroundings(
            storage=storage,
            audit=self.audit,
            marketplace=self.marketplace,
            dispatcher=Dispatcher(invokers, self.marketplace, self._detection),
            missing=self._detection,
            policy=self._policy,
            seal=SnapshotSeal(key),
            slots=asyncio.Semaphore(settings.max_parallel_calls),
            workers=workers,
            random_key=key.derived("random"),
            requests=requests,
        )
        limits = PlanLimits(
            memory_bytes=settings.plan_max_memory_bytes,
            seconds=settings.plan_timeout_seconds,
            calls=settings.plan_max_calls,
        )
        isolation = None if self._without_jail() else cache(probe)
        interpreters = await exits.enter_async_context(
            PythonWorkers(
                processes=settings.services.script_engine.workers,
                max_waiting=_WAITING_PLANS,
                isolation=isolation,
            )
        )
        machines = await exits.enter_async_context(
            RuneWorkers(
                processes=settings.services.script_engine.workers,
                max_waiting=settings.services.script_engine.max_queue_size,
                isolation=isolation,
            )
        )
        processes = await exits.enter_async_context(
            CPythonWorkers(
                processes=settings.services.script_engine.workers,
                max_waiting=settings.services.script_engine.max_queue_size,
            )
        )
        extensions = BudgetExtensions(
            Approvals(storage, self.audit),
            me.id,
            timeout_seconds=settings.missing.human_approval_timeout_seconds,
        )
        exits.push_async_callback(extensions.aclose)
        rune = RuneLanguage(machines, modules)
        self._rune_parts = {
            "language": rune,
            "modules": modules,
            "storage": storage,
            "audit": self.audit,
            "events": self.events,
            "requests": requests,
            "approver": extensions,
        }
        seal = SnapshotSeal(key)
        languages = (
            PythonLanguage(interpreters),
            CPythonLanguage(processes),
            rune,
            RtfsLanguage(interpreters),
        )
        self.script_engine = ScriptEngine(
            _engine_config(settings),
            storage=storage,
            audit=self.audit,
            events=self.events,
            languages=languages,
            modules=modules,
            requests=requests,
            seal=seal,
            approver=extensions,
        )
        invokers["script"] = ScriptInvoker(self.script_engine)
        self._migration_parts = {
            "settings": settings.migration,
            "storage": storage,
            "audit": self.audit,
            "events": self.events,
            "marketplace": self.marketplace,
            "workers": workers,
            "engine_config": self.script_engine.get_config(),
            "languages": languages,
            "modules": modules,
            "requests": requests,
            "seal": seal,
            "approver": extensions,
            "backups": settings.home / "backups" / "migrations",
            "switched_on": settings.services.script_engine.enabled,
            "policy_at": partial(_policy_at, settings),
        }
        exits.push_async_callback(self.script_engine.stop)
        if settings.services.script_engine.enabled:
            await self.script_engine.start()
        self._plan_languages = PlanLanguages(
            PythonPlans(interpreters), RunePlans(rune, modules), RtfsPlans(interpreters, modules)
        )
        self.runtime = await exits.enter_async_context(
            Runtime(
                around,
                workers,
                languages=self._plan_languages,
                limits=limits,
                plan_source_bytes=settings.plan_max_source_bytes,
            )
        )
        durable = DurableEngine(_durable_url(settings), executor_id=me.id)
        exits.push_async_callback(durable.aclose)
        self.checkpoint_archive = CheckpointArchive(self.runtime, durable)
        resolver = MissingCapabilityResolver(
            self.marketplace,
            self.checkpoint_archive,
            settings.missing,
            sources=self._sources(egress, mcp),
            rules_file=settings.home / APPROVAL_RULES,
            code_of=partial(_code_of, self.script_engine),
        )
        drift = DriftWatch(
            self.marketplace,
            resolver,
            partial(mcp.list_tools, vouched=True),
            interval_seconds=settings.missing.drift_check_interval_seconds,
        )
        self.worker = ResolutionWorker(self.marketplace, resolver, self.runtime, workers, drift)
        self.set_missing_capability_resolver(resolver)
        if self._work:
            task = asyncio.create_task(self.worker.run(), name="ccos-worker")
            exits.push_async_callback(_cancelled, task)

    def _without_jail(self) -> bool:
        return self.settings.services.script_engine.isolation == "interpreter"

    def _egress(self) -> Egress:
        security = self.settings.missing.security_config
        policy = EgressPolicy(
            require_https=security.require_https,
            allowed_domains=frozenset(security.allowed_domains),
            blocked_domains=frozenset(security.blocked_domains),
            private_hosts=frozenset(self.settings.egress_private_hosts),
            max_request_bytes=security.max_request_size_bytes,
            max_response_bytes=security.max_response_size_bytes,
            timeout_seconds=security.max_execution_time_seconds,
        )
        return Egress(policy, resolver=self._name_resolver, observer=self._record_egress)

    def _record_egress(self, record: EgressRecord) -> None:
        """Put what left, and what was kept from leaving, on the audit trail."""
        violation = record.failure in _EGRESS_VIOLATIONS
        event = Event(
            EventType.SECURITY_VIOLATION if violation else EventType.EGRESS_REQUEST,
            data={
                "type": record.failure,
                "purpose": record.purpose,
                "method": record.method,
                "host": record.host,
                "port": record.port,
                "address": record.address,
                "status": record.status,
                "bytes_out": record.request_bytes,
                "bytes_in": record.response_bytes,
            },
        )
        task = asyncio.get_running_loop().create_task(self.audit.append(event))
        self._recordings.add(task)
        task.add_done_callback(self._recordings.discard)

    async def _finish_recordings(self) -> None:
        await asyncio.gather(*self._recordings, return_exceptions=True)

    def _sources(self, egress: Egress, mcp: McpInvoker) -> list[Source]:
        settings = self.settings
        registry = settings.missing.mcp_registry_config
        catalogue = Catalogue(settings.catalogue_files)
        vouched = partial(mcp.list_tools, vouched=True)
        return [
            ChangedProviders(self.marketplace, vouched, partial(mcp.list_offers, vouched=True)),
            NearMatches(self.marketplace),
            CuratedCatalogue(catalogue, Introspector(vouched)),
            McpRegistry(
                egress,
                Introspector(mcp.list_tools),
                base_url=registry.base_url,
                timeout_seconds=registry.timeout_seconds,
                max_servers=registry.max_servers,
                cache_ttl_seconds=registry.cache_ttl_seconds,
            ),
            OpenApiDocuments(
                egress,
                settings.openapi_documents,
                catalogue=catalogue,
                cache_ttl_seconds=settings.missing.resolution_cache_ttl_seconds,
            ),
        ]

    def set_missing_capability_resolver(self, resolver: MissingCapabilityResolver) -> None:
        """Let this resolver deal with missing capabilities, in place of the built-in one."""
        self.checkpoint_archive.durable.register(WORKFLOW, resolver.workflow)
        self._detection.attach(resolver)
        self.worker.resolver.wake()
        self.resolver = self.worker.resolver = resolver

    async def call(
        self,
        capability_id: str,
        arguments: dict[str, Any] | None = None,
        *,
        principal: str = "agent",
    ) -> Outcome:
        """Equivalent to ``runtime.call``: call a capability, or park the call."""
        return await self.runtime.call(capability_id, arguments, principal=principal)

    async def run(
        self,
        source: str,
        *,
        name: str = "plan",
        function: str | None = None,
        arguments: dict[str, Any] | None = None,
        principal: str = "agent",
    ) -> Outcome:
        """Equivalent to ``runtime.run``: run a plan, or park it where something is missing."""
        return await self.runtime.run(
            source, name=name, function=function, arguments=arguments, principal=principal
        )

    async def settled(self, execution_id: str) -> Outcome:
        """Equivalent to ``runtime.settled``: wait for the outcome of a parked execution."""
        return await self.runtime.settled(execution_id)

    async def check(self, source: str, *, name: str = "plan") -> Dependencies:
        """What a plan calls and what of it is missing, from its text.

        Raises:
            PlanError: if it is not a plan.
        """
        runnable = await self._plan_languages.read(source, name=name)
        return await dependencies(runnable.plan, self.marketplace)

    async def register(
        self, capability_id: str, handler: Callable[..., Any], **definition: Any
    ) -> Registration:
        """Equivalent to ``marketplace.register_local_capability``."""
        return await self.marketplace.register_local_capability(
            capability_id, handler=handler, **definition
        )


_WAITING_PLANS = 100_000

_EGRESS_VIOLATIONS = frozenset(
    {
        *("scheme", "userinfo", "host", "url", "port", "blocked-domain"),
        *("private-name", "private-address", "redirect-downgrade", "redirect-private"),
    }
)
"""Refusals that point to an attempt at something forbidden, not to a permission still missing."""


def open(  # noqa: A001 - the public name is ccos.open
    settings: Settings | None = None,
    *,
    home: Path | str | None = None,
    config_file: Path | None = None,
    work: bool = True,
    policy: CallPolicy | None = None,
    write_observer: WriteObserver | None = None,
    name_resolver: Resolver | None = None,
) -> Ccos:
    """Open a CCOS, to be used with ``async with``.

    Args:
        settings: What to open it with; by default they are read from the configuration file and
            the environment.
        home: Its folder, in place of ``CCOS_HOME``.
        config_file: The configuration file, in place of ``CCOS_CONFIG``.
        work: Whether this process works on missing capabilities and resumes what waited. Without
            it calls are parked all the same, for another worker.
        policy: Which capabilities may be called; all by default.
        write_observer: Is told of every write.
        name_resolver: Resolves host names for outgoing requests.

    Raises:
        ConfigurationError: if the settings cannot be read or contradict each other.
    """
    if settings is None:
        overrides = {} if home is None else {"home": str(home)}
        settings = load_settings(config_file=config_file, overrides=overrides).settings
    return Ccos(
        settings,
        work=work,
        policy=policy or CallPolicy(),
        write_observer=write_observer,
        name_resolver=name_resolver,
    )


async def _code_of(engine: ScriptEngine, provider: ScriptProvider) -> Code | None:
    """The code of a script that the engine keeps; None if it does not."""
    try:
        script = await engine.find_script(provider.script_id)
    except ScriptNotFoundError:
        return None
    return Code(script.language, script.source, provider.function)


def _policy_at(settings: Settings, level: SecurityLevel) -> SecurityPolicy:
    """The policy of a level, within the folders that the settings grant."""
    policy, roots = level_policy(level), tuple(settings.services.script_engine.file_roots)
    if level is SecurityLevel.DEVELOPMENT and roots != policy.file_roots:
        return policy.derive("configured", file_roots=roots)
    return policy


def _engine_config(settings: Settings) -> ScriptEngineConfig:
    """The configuration of the script engine that the settings ask for."""
    wanted = settings.services.script_engine
    return ScriptEngineConfig(
        policy=_policy_at(settings, SecurityLevel.parse(wanted.security_level)),
        default_execution_timeout=wanted.default_timeout_secs,
        max_source_size=wanted.max_source_size,
        enable_caching=wanted.enable_caching,
        max_cache_size=wanted.max_cache_size,
        max_cache_bytes=wanted.max_cache_bytes,
        max_output_bytes=wanted.max_output_bytes,
        resource_limits=ResourceLimits(
            max_memory_bytes=wanted.max_memory_mb * MIB,
            max_cpu_percentage=wanted.max_cpu_percentage,
            max_concurrent_operations=wanted.max_concurrent_operations,
            max_queue_size=wanted.max_queue_size,
        ),
    )


def _durable_url(settings: Settings) -> sa.URL:
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database is None:
        return url
    return url.set(database=str(file_beside(Path(url.database))))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
