"""The marketplace: registered capabilities, their versions and aliases."""

from __future__ import annotations

import difflib
import json
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Protocol

import sqlalchemy as sa

from ccos.audit import AuditTrail
from ccos.capabilities import (
    ApprovalStatus,
    Comparison,
    CustodyEntry,
    Manifest,
    Provenance,
    SchemaChange,
    SchemaValidator,
    TrustTier,
    attestation_fault,
    attested,
    breaking_input_changes,
    breaking_output_changes,
    canonical_id,
    compare_versions,
    parse_manifest,
)
from ccos.errors import (
    CapabilityConflictError,
    IntegrityError,
    InvalidManifestError,
    UnknownCapabilityError,
)
from ccos.events import Event, EventType
from ccos.keys import LocalKey
from ccos.marketplace import search
from ccos.marketplace.finder import Finding, Hit, MeaningFinder
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import aliases, capabilities, counters

_COUNTER: Final = sa.select(counters.c.value).where(counters.c.name == "marketplace")
_REVISION: Final = Statement(_COUNTER)
_CURRENT: Final = Statement(
    sa.select(capabilities).where(
        capabilities.c.id == sa.bindparam("id"),
        capabilities.c.standing != "superseded",
        capabilities.c.standing != "removed",
    )
)
_BEHIND: Final = Statement(
    sa.select(capabilities)
    .where(
        sa.or_(
            capabilities.c.id == sa.bindparam("id"),
            capabilities.c.id
            == sa.select(aliases.c.capability_id)
            .where(aliases.c.alias == sa.bindparam("id"))
            .scalar_subquery(),
        ),
        capabilities.c.standing != "superseded",
        capabilities.c.standing != "removed",
    )
    # A capability of that very id comes before one that an alias of that name points to.
    .order_by(sa.case((capabilities.c.id == sa.bindparam("id"), 0), else_=1))
    .limit(1)
)
_EARLIER: Final = Statement(
    sa.select(capabilities.c.definition_hash).where(
        capabilities.c.id == sa.bindparam("id"), capabilities.c.version == sa.bindparam("version")
    )
)
_INSERT: Final = Statement(sa.insert(capabilities))
_ADVANCE: Final = Statement(
    sa.update(counters).where(counters.c.name == "marketplace").values(value=counters.c.value + 1)
)
_NEAR_LIMIT: Final = 5
_CACHE_LIMIT: Final = 10_000
_ALL_IDS_LIMIT: Final = 20_000


class Standing(StrEnum):
    """What a stored version is good for."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    QUARANTINED = "quarantined"
    REVOKED = "revoked"
    REMOVED = "removed"


class RegistrationResult(StrEnum):
    """What became of a registration."""

    REGISTERED = "registered"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Registered:
    """A capability as the marketplace holds it, with its schemas compiled on first use."""

    manifest: Manifest
    definition_hash: str
    standing: Standing
    reason: str = ""
    fault: str | None = None
    """Why its attestation does not hold; None if it does."""

    @cached_property
    def input_validator(self) -> SchemaValidator:
        """Checks arguments."""
        return SchemaValidator(self.manifest.input_schema, role="input schema")

    @cached_property
    def output_validator(self) -> SchemaValidator | None:
        """Checks results; None if the manifest does not describe them."""
        schema = self.manifest.output_schema
        return None if schema is None else SchemaValidator(schema, role="output schema")


@dataclass(frozen=True, slots=True)
class Registration:
    """The outcome of registering a manifest."""

    result: RegistrationResult
    manifest: Manifest
    previous_version: str | None = None
    breaking_changes: tuple[SchemaChange, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of an id, and the revision of the marketplace that it was read at."""

    revision: int
    stored: tuple[str, str, str] | None
    registered: Registered | None


class LocalHandlers(Protocol):
    """Keeps the Python functions of this process that capabilities are made of."""

    def describe(
        self,
        capability_id: str,
        handler: Callable[..., Any],
        *,
        name: str | None,
        description: str | None,
        **definition: Any,
    ) -> Manifest:
        """Keep ``handler`` and return the manifest that leads to it."""
        ...


class Marketplace:
    """Registers capabilities and finds them again, by id, by alias and by words.

    Args:
        storage: Where they are kept.
        audit: Where every change is recorded.
        key: Signs what is registered here.
        handlers: Keeps the functions of local capabilities.
        meanings: Makes what finds capabilities by meaning, at the first search, or says that
            there is nothing to make it of; by words alone if left out.
    """

    def __init__(
        self,
        storage: Storage,
        audit: AuditTrail,
        key: LocalKey,
        handlers: LocalHandlers,
        meanings: Callable[[], MeaningFinder | None] = lambda: None,
    ) -> None:
        self._handlers = handlers
        self._finding = Finding(storage, meanings)
        self.storage = storage
        self.audit = audit
        self._key = key
        self._cache: dict[str, _Known] = {}
        self._lock = threading.Lock()

    async def get(self, capability_id: str) -> Registered | None:
        """The active or withheld version behind an id or alias; None if there is none.

        What another process registers or revokes is seen by the next call.
        """
        return await self.storage.read(lambda connection: self._get(connection, capability_id))

    def _get(self, connection: sa.Connection, capability_id: str) -> Registered | None:
        revision = _REVISION.scalar(connection)
        with self._lock:
            known = self._cache.get(capability_id)
            if known is None or known.revision != revision:
                row = _row_behind(connection, capability_id)
                known = self._remember(capability_id, revision, row, known)
            return known.registered

    def _remember(
        self, capability_id: str, revision: int, row: Any, known: _Known | None
    ) -> _Known:
        """Read a row once; as long as its text stays the same it is not read again."""
        stored = None if row is None else (row.manifest, row.standing, row.reason)
        if known is not None and known.stored == stored:
            registered = known.registered
        else:
            registered = None if row is None else self._registered(row)
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[capability_id] = _Known(revision, stored, registered)
        return self._cache[capability_id]

    def is_registered_in(self, transaction: Transaction, capability_id: str) -> bool:
        """Whether an id or alias leads to a capability, as ``transaction`` sees it."""
        return _row_behind(transaction.connection, capability_id) is not None

    def _registered(self, row: Any) -> Registered:
        try:
            manifest = parse_manifest(json.loads(row.manifest))
        except (ValueError, RecursionError, InvalidManifestError) as error:
            raise IntegrityError(f"The stored manifest of {row.id} is damaged.") from error
        fault = attestation_fault(manifest, self._key)
        if fault is None and manifest.definition_hash() != row.definition_hash:
            fault = "its definition is not the one that was pinned"
        return Registered(manifest, row.definition_hash, Standing(row.standing), row.reason, fault)

    async def register(
        self, manifest: Manifest, *, actor: str, allow_breaking: bool = False
    ) -> Registration:
        """Store a manifest as the active version of its id, attested and with its provenance.

        Registering the same definition again changes nothing. A changed definition needs a higher
        version; one that breaks callers needs ``allow_breaking``.

        Raises:
            CapabilityConflictError: same version with another definition, a lower version, or a
                breaking change that was not allowed (``details['breaking_changes']``).
        """
        return await self.storage.write(
            "register",
            lambda transaction: self.register_in(
                transaction, manifest, actor=actor, allow_breaking=allow_breaking
            ),
        )

    async def register_local_capability(
        self,
        capability_id: str,
        name: str | None = None,
        description: str | None = None,
        *,
        handler: Callable[..., Any],
        **definition: Any,
    ) -> Registration:
        """Register a Python function of this program as a capability.

        It can be called in processes that register it; the program vouches for its own code, so
        nobody is asked.

        Args:
            capability_id: Its id.
            name: A short name; the function's own by default.
            description: What it does; the docstring by default.
            handler: The function; its parameters are given by name.
            definition: ``version``, ``effect_type``, ``effects`` and ``permissions`` of the
                manifest. What declares nothing is taken to act on the world.

        Raises:
            CapabilityConflictError: if the id is registered with another definition of the same
                version.
            InvalidManifestError: if the signature cannot be described.
        """
        manifest = self._handlers.describe(
            capability_id, handler, name=name, description=description, **definition
        )
        approved = manifest.model_copy(
            update={
                "approval_status": ApprovalStatus.APPROVED,
                "trust_tier": TrustTier.APPROVED,
            }
        )
        return await self.register(approved, actor="program")

    def register_in(
        self,
        transaction: Transaction,
        manifest: Manifest,
        *,
        actor: str,
        allow_breaking: bool = False,
    ) -> Registration:
        """Equivalent to :meth:`register` as part of ``transaction``."""
        self.hold_still(transaction)
        current = _current_row(transaction.connection, manifest.id)
        if current is None:
            self._insert(transaction, manifest, actor, previous=None)
            event = EventType.CAPABILITY_REGISTERED
            registration = Registration(RegistrationResult.REGISTERED, manifest)
        else:
            before = self._registered(current).manifest
            changes = _checked_update(before, current.definition_hash, manifest, allow_breaking)
            sound = current.standing == Standing.ACTIVE and not attestation_fault(before, self._key)
            if changes is None and sound:
                return Registration(RegistrationResult.UNCHANGED, before)
            if changes is None:
                self._set_standing(transaction, before.id, before.version, Standing.ACTIVE, "")
                transaction.execute(
                    sa.update(capabilities)
                    .where(capabilities.c.id == before.id)
                    .where(capabilities.c.version == before.version)
                    .values(manifest=self._sealed(manifest, actor).to_json())
                )
            else:
                self._set_standing(
                    transaction, before.id, before.version, Standing.SUPERSEDED, "newer version"
                )
                self._insert(transaction, manifest, actor, previous=before.version)
            event = EventType.CAPABILITY_UPDATED
            registration = Registration(
                RegistrationResult.UPDATED, manifest, before.version, changes or ()
            )
        search.index(transaction, manifest)
        self._advance(transaction)
        self.audit.record(transaction, _registration_event(event, registration, actor))
        return registration

    def _refuse_reuse(self, transaction: Transaction, manifest: Manifest) -> None:
        """A version number once used stays bound to its definition, even after a removal.

        The row of the same definition makes way for the new one.
        """
        key = {"id": manifest.id, "version": manifest.version}
        earlier = _EARLIER.scalar(transaction.connection, key)
        if earlier is None:
            return
        if earlier != manifest.definition_hash():
            raise CapabilityConflictError(
                f"Version {manifest.version} of {manifest.id} was registered before with another "
                "definition.",
                details={"id": manifest.id, "version": manifest.version},
            )
        transaction.execute(
            sa.delete(capabilities).where(
                capabilities.c.id == manifest.id, capabilities.c.version == manifest.version
            )
        )

    def _sealed(self, manifest: Manifest, actor: str) -> Manifest:
        """The manifest as it is stored: provenance completed, then attested."""
        now = datetime.now(UTC)
        provenance = manifest.provenance or Provenance(
            source="operator", reference=actor, content_hash=manifest.definition_hash()
        )
        step = CustodyEntry(step="registered", at=now, by=actor)
        complete = provenance.model_copy(
            update={
                "registered_at": now,
                "custody_chain": (*provenance.custody_chain, step),
            }
        )
        return attested(manifest.model_copy(update={"provenance": complete}), self._key, now=now)

    def _insert(
        self, transaction: Transaction, manifest: Manifest, actor: str, *, previous: str | None
    ) -> None:
        self._refuse_reuse(transaction, manifest)
        sealed = self._sealed(manifest, actor)
        digest, text = manifest.definition_hash(), sealed.to_json()
        stored = _Known(-1, (text, "active", ""), Registered(sealed, digest, Standing.ACTIVE))
        transaction.after_commit(
            f"remember {manifest.id}", lambda: self._cache.__setitem__(manifest.id, stored)
        )
        _INSERT.change(
            transaction.connection,
            {
                "id": manifest.id,
                "version": manifest.version,
                "definition_hash": digest,
                "manifest": text,
                "standing": Standing.ACTIVE,
                "reason": "",
                "registered_at": time.time(),
                "previous_version": previous,
            },
        )

    async def add_alias(self, alias: str, capability_id: str, *, actor: str) -> None:
        """Let calls of ``alias`` reach ``capability_id``.

        Raises:
            UnknownCapabilityError: if nothing is registered under ``capability_id``.
            CapabilityConflictError: if ``alias`` is itself a registered capability.
        """
        await self.storage.write(
            "alias",
            lambda transaction: self.add_alias_in(transaction, alias, capability_id, actor=actor),
        )

    def add_alias_in(
        self, transaction: Transaction, alias: str, capability_id: str, *, actor: str
    ) -> None:
        """Equivalent to :meth:`add_alias` as part of ``transaction``."""
        alias = canonical_id(alias)
        if _current_row(transaction.connection, capability_id) is None:
            raise UnknownCapabilityError(f"There is no capability {capability_id} to point to.")
        if _current_row(transaction.connection, alias) is not None:
            raise CapabilityConflictError(f"{alias} is a capability of its own.")
        transaction.execute(sa.delete(aliases).where(aliases.c.alias == alias))
        transaction.execute(
            sa.insert(aliases),
            {"alias": alias, "capability_id": capability_id, "created_at": time.time()},
        )
        self._advance(transaction)
        self.audit.record(
            transaction,
            Event(EventType.ALIAS_REGISTERED, capability_id, actor=actor, data={"alias": alias}),
        )

    async def revoke(self, capability_id: str, *, actor: str, reason: str) -> None:
        """Forbid every further call of a capability, until it is registered anew."""
        await self._withhold(
            capability_id, Standing.REVOKED, EventType.CAPABILITY_REVOKED, actor, reason
        )

    async def quarantine(self, capability_id: str, *, actor: str, reason: str) -> None:
        """Withhold a capability whose provider changed until somebody looks at it."""
        await self._withhold(
            capability_id, Standing.QUARANTINED, EventType.CAPABILITY_QUARANTINED, actor, reason
        )

    async def remove(self, capability_id: str, *, actor: str, reason: str = "") -> None:
        """Take a capability out of the marketplace; its history stays."""
        await self._withhold(
            capability_id, Standing.REMOVED, EventType.CAPABILITY_REMOVED, actor, reason
        )

    def remove_in(
        self, transaction: Transaction, capability_id: str, *, actor: str, reason: str = ""
    ) -> None:
        """Equivalent to :meth:`remove` as part of ``transaction``."""
        event = EventType.CAPABILITY_REMOVED
        self._withhold_in(transaction, capability_id, Standing.REMOVED, event, actor, reason)

    async def _withhold(
        self, capability_id: str, standing: Standing, event: EventType, actor: str, reason: str
    ) -> None:
        await self.storage.write(
            standing.value,
            lambda transaction: self._withhold_in(
                transaction, capability_id, standing, event, actor, reason
            ),
        )

    def _withhold_in(
        self,
        transaction: Transaction,
        capability_id: str,
        standing: Standing,
        event: EventType,
        actor: str,
        reason: str,
    ) -> None:
        row = _current_row(transaction.connection, capability_id)
        if row is None:
            raise UnknownCapabilityError(f"There is no capability {capability_id}.")
        self._set_standing(transaction, row.id, row.version, standing, reason)
        if standing is Standing.REMOVED:
            search.unindex(transaction, row.id)
            transaction.execute(sa.delete(aliases).where(aliases.c.capability_id == row.id))
        self._advance(transaction)
        self.audit.record(
            transaction,
            Event(event, row.id, actor=actor, data={"version": row.version, "reason": reason}),
        )

    def _set_standing(
        self,
        transaction: Transaction,
        capability_id: str,
        version: str,
        standing: Standing,
        reason: str,
    ) -> None:
        transaction.execute(
            sa.update(capabilities)
            .where(capabilities.c.id == capability_id, capabilities.c.version == version)
            .values(standing=standing.value, reason=reason)
        )

    def _advance(self, transaction: Transaction) -> None:
        """Tell every reader, in this process or another, that what it remembers is old."""
        _ADVANCE.change(transaction.connection, {})

    def hold_still(self, transaction: Transaction) -> None:
        """Keep every other process from registering anything until ``transaction`` ends."""
        if transaction.dialect == "postgresql":
            transaction.execute(_COUNTER.with_for_update())

    async def registered(self, *, include_withheld: bool = True) -> list[Registered]:
        """Every capability that is registered now, by id."""
        wanted = [Standing.ACTIVE]
        if include_withheld:
            wanted += [Standing.QUARANTINED, Standing.REVOKED]
        query = (
            sa.select(capabilities)
            .where(capabilities.c.standing.in_(wanted))
            .order_by(capabilities.c.id)
        )
        rows = await self.storage.read(lambda connection: connection.execute(query).all())
        return [self._registered(row) for row in rows]

    async def versions(self, capability_id: str) -> list[Registered]:
        """Every stored version of a capability, oldest first."""
        query = (
            sa.select(capabilities)
            .where(capabilities.c.id == capability_id)
            .order_by(capabilities.c.registered_at)
        )
        rows = await self.storage.read(lambda connection: connection.execute(query).all())
        return [self._registered(row) for row in rows]

    async def aliases(self) -> dict[str, str]:
        """Every alias and the capability it points to."""
        rows = await self.storage.read(
            lambda connection: connection.execute(sa.select(aliases)).all()
        )
        return {row.alias: row.capability_id for row in rows}

    async def search(self, query: str, *, limit: int = 10) -> list[tuple[Registered, float]]:
        """Capabilities that the query may be about, best first, with their scores."""
        return [(one, hit.score) for one, hit in await self.matches(query, limit=limit)]

    async def matches(
        self, query: str, *, limit: int = 10, among: Collection[str] | None = None
    ) -> list[tuple[Registered, Hit]]:
        """Capabilities that the query may be about, best first, and how likely each fits.

        Where no hit `fits`, nothing that is registered does.

        Args:
            query: Free text: what the capability should do.
            limit: How many to return at most.
            among: Look at these ids only; at all of them if left out.
        """
        hits = await self._finding.hits(query, limit, among)
        found = [(await self.get(hit.id), hit) for hit in hits]
        return [(registered, hit) for registered, hit in found if registered is not None]

    async def prepare_search(self) -> None:
        """Embed what was never embedded, however long it takes.

        Without this each search embeds for a second at most, and finds the rest by words. Without
        the extra ``semantic`` there is nothing to do.
        """
        await self._finding.prepare()

    async def near(self, capability_id: str) -> list[str]:
        """Registered ids that the caller may have meant, nearest first."""
        query = (
            sa.select(capabilities.c.id)
            .where(capabilities.c.standing == Standing.ACTIVE)
            .order_by(capabilities.c.id)
            .limit(_ALL_IDS_LIMIT)
        )
        ids = await self.storage.read(lambda connection: connection.execute(query).scalars().all())
        last = capability_id.rpartition(".")[2]
        same_end = [one for one in ids if one.rpartition(".")[2] == last]
        close = difflib.get_close_matches(capability_id, ids, n=_NEAR_LIMIT, cutoff=0.7)
        return list(dict.fromkeys([*close, *same_end]))[:_NEAR_LIMIT]


def _current_row(connection: sa.Connection, capability_id: str) -> Any:
    return _CURRENT.first(connection, {"id": capability_id})


def _row_behind(connection: sa.Connection, capability_id: str) -> Any:
    """The current row of an id, or of the id that an alias points to."""
    return _BEHIND.first(connection, {"id": capability_id})


def _checked_update(
    before: Manifest, before_hash: str, after: Manifest, allow_breaking: bool
) -> tuple[SchemaChange, ...] | None:
    """The breaking changes of an update that may go ahead; None if nothing changed."""
    comparison = compare_versions(before.version, after.version)
    details: dict[str, Any] = {"id": after.id, "registered": before.version, "new": after.version}
    if comparison is Comparison.EQUAL:
        if after.definition_hash() == before_hash:
            return None
        raise CapabilityConflictError(
            f"{after.id} {after.version} is registered with another definition.", details=details
        )
    if comparison is Comparison.DOWNGRADE:
        raise CapabilityConflictError(
            f"{after.id} is registered at {before.version}; {after.version} is older.",
            next_step="Go back to an older version by removing the newer one first.",
            details=details,
        )
    changes = _breaking_changes(before, after)
    if changes and not allow_breaking:
        listed = " ".join(change.message for change in changes[:5])
        raise CapabilityConflictError(
            f"{after.id} {after.version} would break callers of {before.version}: {listed}",
            next_step="Review the changes and register it with --force if callers are ready.",
            details={
                **details,
                "breaking_changes": [[change.path, change.message] for change in changes],
            },
        )
    return changes


def _breaking_changes(before: Manifest, after: Manifest) -> tuple[SchemaChange, ...]:
    new_effects = sorted(set(after.effects) - set(before.effects))
    new_permissions = sorted(set(after.permissions) - set(before.permissions))
    return (
        *breaking_input_changes(before.input_schema, after.input_schema),
        *breaking_output_changes(before.output_schema, after.output_schema),
        *(SchemaChange("/effects", f"It newly has the effect {name!r}.") for name in new_effects),
        *(
            SchemaChange("/permissions", f"It newly needs the permission {name!r}.")
            for name in new_permissions
        ),
    )


def _registration_event(event: EventType, registration: Registration, actor: str) -> Event:
    manifest = registration.manifest
    return Event(
        event,
        manifest.id,
        actor=actor,
        data={
            "version": manifest.version,
            "previous_version": registration.previous_version,
            "provider": manifest.provider.type,
            "tier": manifest.trust_tier.value,
            "approval_status": manifest.approval_status.value,
            "content_hash": manifest.definition_hash(),
            "breaking_changes": [change.message for change in registration.breaking_changes],
        },
    )
