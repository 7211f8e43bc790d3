"""The resolver: ask for a missing capability, decide about it, see how the search goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ccos.capabilities import canonical_id
from ccos.config import MissingCapabilityConfig
from ccos.errors import ApprovalNotFoundError, FeatureDisabledError, ResolutionNotFoundError
from ccos.events import Event, EventType
from ccos.marketplace import Marketplace, Standing
from ccos.resolution.approvals import NOT_IN_TIME, Approval, Approvals
from ccos.resolution.approvals.standing import StandingApprovals
from ccos.resolution.attempt import Attempts
from ccos.resolution.checkpoints import CheckpointArchive
from ccos.resolution.gates import CodeOf, Gates
from ccos.resolution.queue import (
    Priority,
    Request,
    RequestStatus,
    ResolutionQueue,
    load_request,
)
from ccos.resolution.results import NotResolved, ResolutionResult, Resolved, result_of
from ccos.resolution.sources import Source
from ccos.resolution.statistics import ResolutionStatistics, statistics
from ccos.runtime import Sighting, Workers, this_worker
from ccos.storage import Transaction

_logger = logging.getLogger(__name__)

WORKFLOW: Final = "resolve"
_SETTLED_POLL_SECONDS: Final = 0.05


class MissingCapabilityResolver:
    """Finds providers for capabilities that nobody registered.

    Args:
        marketplace: Where they are registered.
        checkpoint_archive: The executions that wait for them.
        config: Flags, limits and rules.
        sources: Where providers are looked for, in this order.
        rules_file: Where the operator's approval rules stand.
        code_of: Finds the code of scripts that are proposed, so that it is judged.
    """

    def __init__(
        self,
        marketplace: Marketplace,
        checkpoint_archive: CheckpointArchive,
        config: MissingCapabilityConfig,
        *,
        sources: Sequence[Source] = (),
        rules_file: Path | None = None,
        code_of: CodeOf | None = None,
    ) -> None:
        storage, audit = marketplace.storage, marketplace.audit
        self._storage = storage
        self._audit = audit
        self._marketplace = marketplace
        self._durable = checkpoint_archive.durable
        self._runtime = checkpoint_archive.runtime
        self._sources = list(sources)
        self._wake = asyncio.Event()
        self.config = config
        self.queue = ResolutionQueue(storage, audit, config)
        self.approvals = Approvals(storage, audit)
        self.standing = StandingApprovals(storage, audit)
        self.gates = Gates(marketplace, config, self.standing, rules_file, code_of)
        self._attempts = Attempts(
            storage,
            audit,
            marketplace,
            self.queue,
            self.approvals,
            checkpoint_archive.runtime,
            config,
            self._sources,
            self.gates,
        )

    async def workflow(self, capability_id: str, run: int) -> dict[str, Any]:
        """One attempt, as the durable workflow :data:`WORKFLOW`."""
        step, attempts = self._durable.step, self._attempts
        verdict = await step("gate", attempts.gate, capability_id, run)
        if verdict["next"] == "discover":
            found = await step("discover", attempts.discover, capability_id)
            verdict = await step("conclude", attempts.conclude, capability_id, run, found)
        if verdict["next"] == "resume":
            await step("resume", attempts.resume, capability_id)
        return dict(verdict)

    def add_custom_resolver(self, source: Source) -> None:
        """Ask this source too, after the built-in ones."""
        self._sources.append(source)

    async def enqueue_missing_capability(
        self, capability_id: str, arguments: dict[str, Any] | None = None, context: str = ""
    ) -> None:
        """Ask for a capability without waiting for it.

        Asking again for the same one adds nothing but a note that it was asked for.

        Raises:
            FeatureDisabledError: if missing capabilities are not dealt with.
            InvalidIdentifierError: if the id can name nothing.
        """
        self._check_enabled()
        sighting = Sighting(canonical_id(capability_id), arguments or {}, "", context)
        await self._storage.write(
            "enqueue",
            lambda transaction: self.queue.note_in(
                transaction, [sighting], source="marketplace_miss", priority=Priority.MEDIUM
            ),
        )
        self.wake()

    async def review_changed(self, sighting: Sighting) -> None:
        """Look for what a provider offers now, since it no longer is what was approved."""
        await self._storage.write(
            "changed",
            lambda transaction: self.queue.note_in(
                transaction, [sighting], source="definition_changed", priority=Priority.MEDIUM
            ),
        )
        self.wake()

    handle_missing_capability = enqueue_missing_capability

    async def resolve_capability(
        self,
        capability_id: str,
        *,
        force: bool = False,
        override_block: str | None = None,
        actor: str = "ccos",
    ) -> ResolutionResult:
        """Look for a capability now and say what came of it.

        Without the flag ``auto_resolution`` only registered ids and aliases are looked at.

        Args:
            capability_id: What is wanted.
            force: Look even if the last attempt failed for good, was rejected, or its next one
                is not due.
            override_block: The reason why a blocked request is looked for after all; it then
                needs an approval like any of high risk.
            actor: Who asks.

        Raises:
            FeatureDisabledError: if missing capabilities are not dealt with.
            InvalidIdentifierError: if the id can name nothing.
        """
        self._check_enabled()
        target = canonical_id(capability_id)
        registered = await self._marketplace.get(target)
        if registered is not None and registered.standing is Standing.ACTIVE and not force:
            manifest = registered.manifest
            method = "marketplace_found" if manifest.id == target else "alias_cache"
            info = {"provider": manifest.provider.type, "version": manifest.version}
            return Resolved(manifest.id, method, {**info, "tier": manifest.trust_tier.value})
        await self._ensure_request(target, force=force, override=override_block, actor=actor)
        if not self.config.feature_flags.auto_resolution:
            return NotResolved("auto_resolution is off, so nothing outside is asked")
        await self._work_on(target)
        return result_of(await self.queue.get(target))

    async def _ensure_request(
        self, target: str, *, force: bool, override: str | None, actor: str
    ) -> None:
        try:
            request = await self.queue.get(target)
        except ResolutionNotFoundError:
            await self.enqueue_missing_capability(target, context="asked for by name")
            request = await self.queue.get(target)
        failed = request.status is RequestStatus.FAILED
        # What was found once and cannot be called now was removed or withheld since.
        anew = request.status is RequestStatus.RESOLVED or override is not None
        anew = anew or (force and (failed or request.status.finished))
        due = failed and (request.next_attempt or 0.0) <= time.time()
        if not (anew or due):
            return

        def reopen(transaction: Transaction) -> None:
            values: dict[str, Any] = {}
            if anew:
                values = {
                    "attempt_count": 0,
                    "requested_at": time.time(),
                    "override_reason": override,
                }
            if override is not None:
                self._audit.record(
                    transaction,
                    Event(
                        EventType.RESOLUTION_OVERRIDDEN,
                        target,
                        actor=actor,
                        data={"reason": override},
                    ),
                )
            self.queue.reopen_in(transaction, target, **values)

        await self._storage.write("reopen", reopen)

    async def _work_on(self, target: str) -> None:
        """Drain the queue until this request has been worked on, by us or by another worker."""
        while True:
            await self.process_queue()
            request = await self.queue.get(target)
            due = request.next_attempt is None or request.next_attempt <= time.time()
            working = request.status is RequestStatus.IN_PROGRESS
            if not working and not (request.status is RequestStatus.PENDING and due):
                return
            await asyncio.sleep(_SETTLED_POLL_SECONDS)

    async def approve(
        self,
        *,
        approval_id: str | None = None,
        capability_id: str | None = None,
        by: str,
        reason: str = "",
        remember_seconds: float | None = None,
    ) -> Approval:
        """Say yes; the search, or the script, goes on from there.

        Args:
            approval_id: The question, or
            capability_id: the capability whose question waits.
            by: Who decides.
            reason: Why.
            remember_seconds: How long the answer also counts for candidates of the same kind.

        Raises:
            ApprovalNotFoundError: if there is no such question.
            ApprovalStateError: if it was answered, expired or superseded before, if somebody else
                has to answer, or if it is no answer that can be remembered.
        """
        approval = await self._question(approval_id, capability_id)

        def unit(transaction: Transaction) -> Approval:
            decided = self.approvals.decide_in(
                transaction, approval.id, approve=True, actor=by, reason=reason
            )
            if remember_seconds is not None:
                self.standing.remember_in(transaction, decided, remember_seconds)
            if decided.extension is None:
                request = load_request(transaction.connection, decided.capability_id)
                if request.status is RequestStatus.AWAITING_APPROVAL:
                    self.queue.reopen_in(transaction, decided.capability_id)
            return decided

        decided = await self._storage.write("approve", unit)
        self.wake()
        return decided

    async def reject(
        self,
        *,
        approval_id: str | None = None,
        capability_id: str | None = None,
        by: str,
        reason: str = "",
    ) -> Approval:
        """Say no; the capability is not looked for until a person asks, the script gets no more.

        Raises:
            ApprovalNotFoundError, ApprovalStateError: as :meth:`approve`.
        """
        approval = await self._question(approval_id, capability_id)

        def unit(transaction: Transaction) -> Approval:
            decided = self.approvals.decide_in(
                transaction, approval.id, approve=False, actor=by, reason=reason
            )
            if decided.extension is not None:
                return decided
            request = load_request(transaction.connection, decided.capability_id)
            if request.status is RequestStatus.AWAITING_APPROVAL:
                self.queue.change_in(
                    transaction,
                    decided.capability_id,
                    RequestStatus.REJECTED,
                    last_error=f"{by} rejected it" + (f": {decided.reason}" * bool(reason)),
                )
            return decided

        return await self._storage.write("reject", unit)

    async def _question(self, approval_id: str | None, capability_id: str | None) -> Approval:
        if approval_id is not None:
            approval = await self.approvals.get(approval_id)
            if approval.extension is not None:
                await self.close_abandoned_approvals()
            return approval
        found = await self.approvals.waiting(canonical_id(capability_id or ""))
        if found is None:
            raise ApprovalNotFoundError(
                f"Nothing about {capability_id} waits for an approval.",
                details={"capability_id": capability_id},
            )
        return found

    async def process_queue(self) -> int:
        """Work on every request that is due, and see what waited for it to its outcome.

        Returns:
            How many requests were worked on.
        """
        worked = await self.work_through()
        await self._runtime.quiet()
        return worked

    async def work_through(self) -> int:
        """Equivalent to :meth:`process_queue`, without waiting for what is resumed by it."""
        flags = self.config.feature_flags
        if not (flags.enabled and flags.auto_resolution):
            return 0
        worked = 0
        while claimed := await self.queue.claim(
            self._runtime.worker_id, self.config.max_concurrent_resolutions
        ):
            async with asyncio.TaskGroup() as group:
                for request in claimed:
                    group.create_task(self.run_claimed(request))
            worked += len(claimed)
        return worked

    async def run_claimed(self, request: Request) -> None:
        """Carry out the attempt for which a request was claimed, or take it over."""
        attempt = f"{WORKFLOW}:{request.capability_id}:{request.requested_at}:{request.run_count}"
        try:
            await self._durable.start()
            await self._durable.run(WORKFLOW, attempt, request.capability_id, request.run_count)
        except Exception as error:
            _logger.exception("The attempt %s broke off", attempt)
            await self._attempts.break_off(request, f"{type(error).__name__}: {error}")

    async def expire_approvals(self) -> list[Approval]:
        """Close the questions whose time ran out; their requests fail and may be asked again."""

        def unit(transaction: Transaction) -> list[Approval]:
            expired = self.approvals.expire_in(transaction)
            for approval in expired:
                if approval.extension is not None:
                    continue
                request = load_request(transaction.connection, approval.capability_id)
                if request.approval_id == approval.id:
                    self.queue.change_in(
                        transaction,
                        approval.capability_id,
                        RequestStatus.FAILED,
                        last_error=NOT_IN_TIME,
                        next_attempt=None,
                    )
            return expired

        if not await self.approvals.overdue():
            return []
        return await self._storage.write("expire", unit)

    async def close_abandoned_approvals(self) -> None:
        """Close the questions about budgets that no living process waits for."""
        workers = Workers(self._storage, this_worker())
        await self.approvals.close_abandoned(await workers.alive())

    async def stats(self, *, since: float = 0.0) -> ResolutionStatistics:
        """Counts and times of requests and approvals, from a moment on."""
        return await self._storage.read(lambda c: statistics(c, since))

    def wake(self) -> None:
        """Let :meth:`woken` return."""
        self._wake.set()

    async def woken(self, timeout_seconds: float) -> None:
        """Wait until there may be work, at most so long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    def _check_enabled(self) -> None:
        if not self.config.feature_flags.enabled:
            raise FeatureDisabledError(
                "Missing capability resolution is switched off.",
                next_step="Set CCOS_MISSING_CAPABILITY_ENABLED=true to switch it on.",
            )
