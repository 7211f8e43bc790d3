"""One attempt at one missing capability, in steps that each can be repeated after a crash.

``gate`` decides whether anything outside may be contacted. ``discover`` asks the sources.
``conclude`` judges the candidate and registers it, asks a person, or records the failure.
``resume`` takes up the executions that waited. The steps run as one durable workflow.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ccos.audit import AuditTrail
from ccos.capabilities import (
    ApprovalStatus,
    CustodyEntry,
    Manifest,
    Provenance,
    parse_manifest,
)
from ccos.config import MissingCapabilityConfig
from ccos.errors import CapabilityError, CcosError, SourceError
from ccos.events import Event, EventType
from ccos.marketplace import Marketplace, Registered, Standing
from ccos.resolution.approvals import Approval, ApprovalCategory, Approvals, granted
from ccos.resolution.gates import Gates, Review, question_data, with_verdict
from ccos.resolution.governance import Decision, decide
from ccos.resolution.queue import Priority, Request, RequestStatus, ResolutionQueue, load_request
from ccos.resolution.ranking import Ranked, rank
from ccos.resolution.registration import with_next_version
from ccos.resolution.risk import History, RiskAssessment, RiskLevel, assess, raised
from ccos.resolution.sources import Candidate, Source, Wanted
from ccos.resolution.validation import Severity
from ccos.runtime import Runtime, Sighting, waiting_arguments
from ccos.storage import Storage, Transaction

_logger = logging.getLogger(__name__)

_SHOWN_ALTERNATIVES = 9
_WAITS = "waits for what its candidate calls: "

Step = dict[str, Any]
"""What a step hands to the next one: JSON data with the key ``next``."""

_STOP: Step = {"next": "stop"}
_RESUME: Step = {"next": "resume"}


@dataclass(frozen=True, slots=True)
class Attempts:
    """Carries out attempts. One object serves them all; it keeps nothing between steps."""

    storage: Storage
    audit: AuditTrail
    marketplace: Marketplace
    queue: ResolutionQueue
    approvals: Approvals
    runtime: Runtime
    config: MissingCapabilityConfig
    sources: Sequence[Source]
    gates: Gates

    async def gate(self, capability_id: str, run: int) -> Step:
        """Decide, from the id alone, whether to look for a provider."""
        request = await self.queue.get(capability_id)
        if not _is_current(request, run):
            return _STOP
        registered = await self.marketplace.get(capability_id)
        if registered is not None and registered.standing is Standing.ACTIVE:
            method = "marketplace_found"
            if registered.manifest.id != capability_id:
                method = "alias_cache"
            await self._change(
                request,
                run,
                "resolved",
                lambda t: self._resolved_in(t, request, registered.manifest, method),
            )
            return _RESUME
        assessment, said = await self.gates.of_id(
            capability_id,
            assess(capability_id, history=_history(request)),
            await self._arguments(capability_id),
        )
        yes = await self._granted(request)
        decision = decide(
            assessment,
            self.config,
            approved_level=_level(yes),
            overridden=request.override_reason is not None,
            verdict=said,
        )
        if decision is Decision.PROCEED:
            return {"next": "discover"}
        await self._refuse_or_ask(request, run, decision, with_verdict(assessment, said), None)
        return _STOP

    async def discover(self, capability_id: str) -> Step:
        """Ask the sources in their order until one has a candidate that is good enough."""
        request = await self.queue.get(capability_id)
        granted_before = await self._granted(request)
        for approval in granted_before:
            if approval.candidate is not None:
                return {"next": "conclude", "found": approval.candidate, "methods": []}
        arguments = await self._arguments(capability_id)
        wanted = Wanted(capability_id, arguments, request.context, approved=bool(granted_before))
        level = assess(capability_id).level
        methods: list[str] = []
        candidates: list[Candidate] = []
        ranked: list[Ranked] = []
        problems: list[str] = []
        withheld: list[str] = []
        try:
            async with asyncio.timeout(self.config.resolution_timeout_seconds):
                for source in self._permitted(level):
                    methods.append(source.method)
                    found, problem, unasked = await self._search(source, wanted)
                    withheld += unasked
                    candidates += found
                    problems += [f"{source.name}: {problem}"] if problem else []
                    ranked = rank(capability_id, arguments, candidates)
                    if any(one.acceptable for one in ranked):
                        break
        except TimeoutError:
            seconds = self.config.resolution_timeout_seconds
            problems.append(f"{methods[-1]} timed out after {seconds:g} s")
        chosen = next((one for one in ranked if one.acceptable), None)
        await self.audit.append(
            Event(
                EventType.CAPABILITY_DISCOVERY_COMPLETED,
                capability_id,
                data={
                    "methods": methods,
                    "candidates": len(candidates),
                    "selected": chosen.candidate.manifest.id if chosen else None,
                    "score": round(chosen.score, 3) if chosen else None,
                },
            )
        )
        if chosen is None:
            why = "; ".join((_why_nothing(ranked), *problems))
            nothing = {"next": "conclude", "found": None, "methods": methods, "reason": why}
            return {**nothing, "withheld": withheld}
        data = _as_data(chosen, methods[-1], [one for one in ranked if one is not chosen])
        return {"next": "conclude", "found": data, "methods": methods}

    def _permitted(self, level: RiskLevel) -> list[Source]:
        """Sources whose flag is on and which may be asked for an id of this risk."""
        flags = self.config.feature_flags
        effective = min(level, RiskLevel.HIGH, key=lambda one: one.rank)
        return [
            source
            for source in self.sources
            if (source.flag is None or getattr(flags, source.flag))
            and RiskLevel(source.highest_risk).rank >= effective.rank
        ]

    async def _search(
        self, source: Source, wanted: Wanted
    ) -> tuple[Sequence[Candidate], str | None, list[str]]:
        """What a source proposes, what was wrong with it, and what it may not start unasked."""
        started = time.perf_counter()
        problem = None
        withheld: list[str] = []
        found: Sequence[Candidate] = ()
        try:
            found = await source.find(wanted)
        except SourceError as error:
            problem = error.message
            withheld = error.details.get("needs_approval", [])
        except CcosError as error:
            problem = f"{error.code}: {error.message}"
        except Exception as error:
            # A source may be anybody's code; its faults must not stop the others.
            _logger.exception("The source %s broke off", source.name)
            problem = f"{type(error).__name__}: {error}"
        await self.audit.append(
            Event(
                EventType.SOURCE_SEARCHED,
                wanted.capability_id,
                data={
                    "source": source.name,
                    "method": source.method,
                    "candidates": len(found),
                    "duration_ms": round((time.perf_counter() - started) * 1000, 1),
                    "problem": problem,
                },
            )
        )
        return found, problem, withheld

    async def conclude(self, capability_id: str, run: int, step: Step) -> Step:
        """Judge what was found: register it, ask a person, or count a failure."""
        request = await self.queue.get(capability_id)
        if not _is_current(request, run):
            return _RESUME if request.status is RequestStatus.RESOLVED else _STOP
        found, methods = step["found"], step["methods"]
        if found is None and step.get("withheld"):
            question = _question_about(assess(capability_id), step["withheld"])
            await self._refuse_or_ask(request, run, Decision.ASK, question, None)
            return _STOP
        if found is None:
            await self._fail(request, run, step["reason"], methods)
            return _STOP
        try:
            proposed = parse_manifest(found["manifest"])
            current = await self.marketplace.get(proposed.id)
            history = await self.marketplace.versions(proposed.id)
            manifest = with_next_version(proposed, current, history)
        except CapabilityError as error:
            await self._fail(request, run, error.message, methods)
            return _STOP
        found = {**found, "manifest": manifest.model_dump(mode="json")}
        assessment = _assess_change(
            assess(capability_id, manifest, _history(request), source=found["source"]),
            manifest,
            current,
        )
        digest = manifest.definition_hash()
        answers = await self._granted(request)
        yes = [one for one in answers if one.candidate_hash in (None, digest)]
        review = await self.gates.of_candidate(
            capability_id,
            manifest,
            assessment,
            source=found["source"],
            arguments=await self._arguments(capability_id),
        )
        await self._tell(capability_id, review)
        if review.report.rejects:
            reason = f"it failed validation: {_gravest(review)}"
            await self._fail(request, run, reason, methods, permanent=True)
            return _STOP
        if await self._goes_in_circles(capability_id, manifest.id, review.missing):
            reason = f"it would need itself: {', '.join(sorted(review.missing))}"
            await self._fail(request, run, reason, methods, permanent=True)
            return _STOP
        # Whoever said yes to a search has not seen what is suspicious about its result.
        seen = [one for one in yes if one.candidate_hash or not review.assessment.insists]
        decision = decide(
            review.assessment,
            self.config,
            approved_level=_level(seen),
            overridden=request.override_reason is not None,
            verdict=review.verdict,
        )
        if decision is not Decision.PROCEED:
            assessment = with_verdict(review.assessment, review.verdict)
            await self._refuse_or_ask(request, run, decision, assessment, found, review)
            return _STOP
        if review.missing:
            await self._wait_for(request, run, review.missing)
            return _STOP
        if not seen and review.verdict is None:
            unapproved = await self.gates.unapproved(manifest)
            if unapproved.rejects:
                reason = f"nobody approved it: {unapproved.issues[0]}"
                await self._fail(request, run, reason, methods, permanent=True)
                return _STOP
        try:
            await self._register(request, run, manifest, found, review, seen)
        except CapabilityError as error:
            await self._fail(request, run, error.message, methods, permanent=True)
            return _STOP
        return _RESUME

    async def _arguments(self, capability_id: str) -> dict[str, Any] | None:
        return await self.storage.read(lambda c: waiting_arguments(c, capability_id))

    async def _tell(self, capability_id: str, review: Review) -> None:
        """Put what validation found on the audit trail."""
        report = review.report
        if report.skipped:
            return
        await self.audit.append(
            Event(
                EventType.CAPABILITY_VALIDATED,
                capability_id,
                data={
                    "validation_status": report.status.value,
                    "security_score": report.security_score,
                    "quality_score": report.quality_score,
                    "compliance_score": report.compliance_score,
                    "issues_count": len(report.issues),
                },
            )
        )

    async def _goes_in_circles(self, wanted: str, own: str, needed: frozenset[str]) -> bool:
        """Whether something that a candidate needs would itself need the candidate."""
        seen: set[str] = set()
        waiting = set(needed)
        while waiting:
            current = waiting.pop()
            if current in (wanted, own):
                return True
            if current not in seen:
                seen.add(current)
                waiting |= await self.approvals.needed_by(current)
        return False

    async def _wait_for(self, request: Request, run: int, needed: frozenset[str]) -> None:
        """Let a request rest until what its candidate calls is registered."""

        def unit(transaction: Transaction) -> None:
            self.queue.change_in(
                transaction,
                request.capability_id,
                RequestStatus.FAILED,
                last_error=f"{_WAITS}{', '.join(sorted(needed))}",
                next_attempt=None,
                worker_id=None,
            )
            self._look_for(transaction, request, needed)

        await self._change(request, run, "wait", unit)

    def _look_for(self, transaction: Transaction, request: Request, needed: frozenset[str]) -> None:
        """Queue what a candidate calls and nobody registered."""
        if needed:
            context = f"called by the candidate for {request.capability_id}"
            self.queue.note_in(
                transaction,
                [Sighting(one, {}, "", context) for one in sorted(needed)],
                source="static",
                priority=Priority.LOW,
            )

    async def break_off(self, request: Request, reason: str) -> None:
        """Count an attempt that ended by an error of our own as failed."""
        await self._fail(request, request.run_count, reason, [])

    async def resume(self, capability_id: str) -> None:
        """Begin to take up every execution that waited for the capability and nothing else.

        The attempt does not wait for them: an execution may take its time, and what a crash keeps
        from being resumed the worker finds.
        """
        if self.config.feature_flags.auto_resume_enabled:
            self.runtime.resume_soon(capability_id)

    async def _granted(self, request: Request) -> list[Approval]:
        return await self.storage.read(
            lambda c: granted(c, request.capability_id, request.requested_at)
        )

    async def _change(self, request: Request, run: int, name: str, change: Any) -> None:
        """Write, unless another run has taken the request over meanwhile."""

        def unit(transaction: Transaction) -> None:
            current = load_request(transaction.connection, request.capability_id)
            if _is_current(current, run):
                change(transaction)

        await self.storage.write(name, unit)

    async def _fail(
        self,
        request: Request,
        run: int,
        reason: str,
        methods: list[str],
        *,
        permanent: bool = False,
    ) -> None:
        await self._change(
            request,
            run,
            "fail",
            lambda t: self.queue.fail_in(t, request, reason, methods=methods, permanent=permanent),
        )

    async def _refuse_or_ask(
        self,
        request: Request,
        run: int,
        decision: Decision,
        assessment: RiskAssessment,
        found: dict[str, Any] | None,
        review: Review | None = None,
    ) -> None:
        capability_id = request.capability_id

        def block(transaction: Transaction) -> None:
            self.queue.change_in(
                transaction,
                capability_id,
                RequestStatus.BLOCKED,
                risk=assessment.level.value,
                last_error="; ".join(assessment.risk_factors),
                worker_id=None,
            )
            self.audit.record(
                transaction,
                Event(
                    EventType.RESOLUTION_BLOCKED,
                    capability_id,
                    data={
                        "risk": assessment.level.value,
                        "factors": list(assessment.risk_factors),
                    },
                ),
            )

        def ask(transaction: Transaction) -> None:
            approval_id = self.approvals.ask_in(
                transaction,
                ApprovalCategory.SERVER_DISCOVERY
                if found is None
                else ApprovalCategory.EFFECT_APPROVAL,
                capability_id,
                assessment,
                candidate=found,
                candidate_hash=None
                if found is None
                else parse_manifest(found["manifest"]).definition_hash(),
                timeout_seconds=self.config.human_approval_timeout_seconds,
                findings=question_data(review),
            )
            if review is not None:
                self._look_for(transaction, request, review.missing)
            self.queue.change_in(
                transaction,
                capability_id,
                RequestStatus.AWAITING_APPROVAL,
                risk=assessment.level.value,
                approval_id=approval_id,
                worker_id=None,
            )

        await self._change(request, run, "ask", block if decision is Decision.BLOCK else ask)

    async def _register(
        self,
        request: Request,
        run: int,
        manifest: Manifest,
        found: dict[str, Any],
        review: Review,
        yes: list[Approval],
    ) -> None:
        """Register, alias and mark as resolved in one transaction: all of it or nothing."""
        approver = next((one.decided_by for one in yes if one.decided_by), None)
        assessment, skipped = review.assessment, review.report.skipped
        sealed = _with_provenance(manifest, found, approver, validated=not skipped)

        def unit(transaction: Transaction) -> None:
            self.marketplace.register_in(
                transaction, sealed, actor=approver or "ccos", allow_breaking=True
            )
            if sealed.id != request.capability_id:
                self.marketplace.add_alias_in(
                    transaction, request.capability_id, sealed.id, actor=approver or "ccos"
                )
            if assessment.level is RiskLevel.MEDIUM:
                self.audit.record(
                    transaction,
                    Event(
                        EventType.RESOLUTION_MEDIUM_RISK,
                        request.capability_id,
                        data={"factors": list(assessment.risk_factors)},
                    ),
                )
            self._resolved_in(
                transaction,
                request,
                sealed,
                found["method"],
                validation=review.report.status.value,
                risk=assessment.level.value,
            )

        await self._change(request, run, "register", unit)

    def _resolved_in(
        self,
        transaction: Transaction,
        request: Request,
        manifest: Manifest,
        method: str,
        *,
        validation: str | None = None,
        **values: Any,
    ) -> None:
        now = time.time()
        outcome = {
            "capability_id": manifest.id,
            "method": method,
            "provider": manifest.provider.type,
            "version": manifest.version,
            "tier": manifest.trust_tier.value,
            "duration_ms": round((now - (request.last_attempt or now)) * 1000, 1),
        }
        if validation is not None:
            outcome["validation"] = validation
        self.queue.reopen_waiting_in(transaction, _WAITS)
        self.queue.change_in(
            transaction,
            request.capability_id,
            RequestStatus.RESOLVED,
            resolution=json.dumps(outcome),
            last_error=None,
            worker_id=None,
            **values,
        )
        self.audit.record(
            transaction,
            Event(EventType.RESOLUTION_SUCCEEDED, request.capability_id, data=outcome),
            Event(EventType.AUTO_RESUME_READY, request.capability_id),
        )


def _is_current(request: Request, run: int) -> bool:
    return request.status is RequestStatus.IN_PROGRESS and request.run_count == run


def _history(request: Request) -> History:
    return History(request.attempt_count, "timed out" in (request.last_error or ""))


def _level(yes: Sequence[Approval]) -> RiskLevel | None:
    """The highest level that a person said yes to."""
    return max((one.level for one in yes), key=lambda one: one.rank, default=None)


def _why_nothing(ranked: list[Ranked]) -> str:
    if not ranked:
        return "no source offers anything"
    best = ranked[0]
    name = best.candidate.manifest.id
    if best.misfit is not None:
        return f"the nearest is {name}, but {best.misfit}"
    return f"nothing fits; the nearest is {name} with a score of {best.score:.2f}"


def _as_data(chosen: Ranked, method: str, others: list[Ranked]) -> dict[str, Any]:
    candidate = chosen.candidate
    return {
        "manifest": candidate.manifest.model_dump(mode="json"),
        "source": candidate.source,
        "method": method,
        "reference": candidate.reference,
        "score": round(chosen.score, 3),
        "alternatives": [
            {"id": one.candidate.manifest.id, "score": round(one.score, 3)}
            for one in others[:_SHOWN_ALTERNATIVES]
            if one.misfit is None
        ],
    }


def _question_about(assessment: RiskAssessment, withheld: list[str]) -> RiskAssessment:
    """May these be started? A yes covers looking at them, not what is found there."""
    return replace(
        assessment,
        level=max(assessment.level, RiskLevel.MEDIUM, key=lambda one: one.rank),
        risk_factors=(
            *assessment.risk_factors,
            *(f"{name} would be started to see what it offers" for name in withheld),
        ),
        requires_human_approval=True,
        recommendation="Ask a person.",
    )


def _assess_change(
    assessment: RiskAssessment, manifest: Manifest, current: Registered | None
) -> RiskAssessment:
    """What was revoked, or differs from what was approved, is a person's business."""
    if current is None:
        return assessment
    if current.standing is Standing.REVOKED:
        factor = f"it was revoked: {current.reason}"
    elif current.definition_hash != manifest.definition_hash():
        factor = f"its definition differs from version {current.manifest.version}"
    else:
        return assessment
    return raised(assessment, RiskLevel.HIGH, factor, insists=True)


def _gravest(review: Review) -> str:
    return "; ".join(str(one) for one in review.report.issues if one.severity is Severity.CRITICAL)


def _with_provenance(
    manifest: Manifest, found: dict[str, Any], approver: str | None, *, validated: bool
) -> Manifest:
    now = datetime.now(UTC)
    steps = [
        CustodyEntry(step="found", at=now, by=found["source"]),
        CustodyEntry(step="imported", at=now, by="ccos"),
    ]
    if validated:
        steps.append(CustodyEntry(step="validated", at=now, by="ccos"))
    if approver is not None:
        steps.append(CustodyEntry(step="approved", at=now, by=approver))
    # What nobody looked at, neither a person nor a check, stays unapproved.
    unasked = ApprovalStatus.AUTO_APPROVED if validated else ApprovalStatus.PENDING
    status = unasked if approver is None else ApprovalStatus.APPROVED
    return manifest.model_copy(
        update={
            "approval_status": status,
            "provenance": Provenance(
                source=found["source"],
                reference=found["reference"],
                content_hash=manifest.definition_hash(),
                custody_chain=tuple(steps),
            ),
        }
    )
