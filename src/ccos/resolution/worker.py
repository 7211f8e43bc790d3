"""The worker: what goes on by itself, in whichever process runs it."""

from __future__ import annotations

import logging
import time

from ccos.errors import CcosError
from ccos.events import Event, EventType
from ccos.marketplace import Marketplace
from ccos.resolution.drift import DriftWatch
from ccos.resolution.resolver import MissingCapabilityResolver
from ccos.runtime import HEARTBEAT_SECONDS, Runtime, Workers, awaited_capabilities

_logger = logging.getLogger(__name__)


class ResolutionWorker:
    """Works on the queue, and takes over what dead workers left behind.

    Between two rounds it waits for something to be noticed in this process, at most one poll
    interval; a round that finds nothing reads a few rows and contacts nobody. However many
    executions are parked, none has a timer or a task of its own.

    Attributes:
        resolver: Whose queue it works on; may be replaced between two rounds.
        drift: Looks at registered providers again; None if nobody does.
    """

    def __init__(
        self,
        marketplace: Marketplace,
        resolver: MissingCapabilityResolver,
        runtime: Runtime,
        workers: Workers,
        drift: DriftWatch | None = None,
    ) -> None:
        self.drift = drift
        self._storage = marketplace.storage
        self._audit = marketplace.audit
        self._marketplace = marketplace
        self.resolver = resolver
        self._runtime = runtime
        self._workers = workers
        self._alive: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._stopping = False

    def stop(self) -> None:
        """Let :meth:`run` return once the round that is under way is done."""
        self._stopping = True
        self.resolver.wake()

    async def run(self) -> None:
        """Work until stopped or cancelled."""
        await self._audit.append(
            Event(EventType.WORKER_STARTED, data={"worker": self._workers.me.id})
        )
        try:
            while not self._stopping:
                try:
                    await self._round()
                except CcosError as error:
                    _logger.error("%s: %s %s", error.code, error.message, error.next_step)
                except Exception:
                    _logger.exception("A round of the worker broke off; the next one goes on")
                if not self._stopping:
                    await self.resolver.woken(self._pause())
        finally:
            await self._audit.append(
                Event(EventType.WORKER_STOPPED, data={"worker": self._workers.me.id})
            )

    def _pause(self) -> float:
        return min(self.resolver.config.poll_interval_seconds, HEARTBEAT_SECONDS)

    async def run_once(self) -> int:
        """One round, with all that it set going; returns how many requests were worked on."""
        worked = await self._round()
        await self._runtime.quiet()
        return worked

    async def _round(self) -> int:
        await self._take_over()
        flags = self.resolver.config.feature_flags
        if not flags.enabled:
            return 0
        await self.resolver.expire_approvals()
        await self.resolver.approvals.escalate()
        await self.resolver.queue.release_stale()
        await self.resolver.queue.promote(retry_failed=flags.continuous_resolution)
        if self.drift is not None and flags.continuous_resolution:
            self.drift.resolver = self.resolver
            await self.drift.round()
        worked = await self.resolver.work_through()
        if flags.auto_resume_enabled:
            await self._resume_ready()
        return worked

    async def _take_over(self) -> None:
        """Carry on what no living worker carries on: of workers that died, or lost by this one."""
        alive = await self._workers.alive()
        now = time.monotonic()
        if alive == self._alive and now - self._looked_at < HEARTBEAT_SECONDS:
            return
        orphans = [
            request
            for request in await self.resolver.queue.in_progress()
            if request.worker_id not in alive
        ]
        for request in orphans:
            await self.resolver.run_claimed(request)
        await self.resolver.approvals.close_abandoned(alive)
        self._runtime.recover_soon()
        await self._workers.forget_dead()
        self._alive, self._looked_at = alive, now

    async def _resume_ready(self) -> None:
        """Resume what waits for capabilities that came to be registered in another way."""
        awaited = await self._storage.read(awaited_capabilities)
        for capability_id in awaited:
            if await self._marketplace.get(capability_id) is not None:
                self._runtime.resume_soon(capability_id)
