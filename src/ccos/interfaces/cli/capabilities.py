"""``ccos capabilities``: see and change what is registered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from ccos.interfaces.cli.exits import UsageError
from ccos.interfaces.cli.options import (
    COMMON,
    By,
    Common,
    Limit,
    LongCommon,
    Reason,
    read_input,
    read_json,
)
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.capabilities import Manifest
    from ccos.marketplace import Registered

app = App(name="capabilities", help="See and change the registered capabilities.")


@app.command(name="list")
async def list_capabilities(
    *,
    active: Annotated[
        bool, Parameter(negative="", help="Leave out what is revoked or quarantined.")
    ] = False,
    common: Common = COMMON,
) -> None:
    """List the registered capabilities."""
    async with opened(common) as session:
        found = await session.ccos.marketplace.registered(include_withheld=not active)
        session.screen.document({"capabilities": [_summary(one) for one in found]})
        _show_table(session, found, empty="No capabilities are registered.")


@app.command
async def show(capability_id: str, /, *, common: Common = COMMON) -> None:
    """Show every version of a capability, where it comes from, and whether its seal holds."""
    await show_capability(capability_id, common)


async def show_capability(capability_id: str, common: LongCommon) -> None:
    """Show every version of a capability; for the commands that do.

    Raises:
        UnknownCapabilityError: if there is none of this id or alias.
    """
    from ccos.capabilities import canonical_id

    async with opened(common) as session:
        marketplace = session.ccos.marketplace
        aliases = await marketplace.aliases()
        target = canonical_id(capability_id)
        target = aliases.get(target, target)
        versions = await marketplace.versions(target)
        if not versions:
            raise await _unknown(session, target)
        names = sorted(alias for alias, behind in aliases.items() if behind == target)
        session.screen.document(
            {
                "id": target,
                "aliases": names,
                "versions": [
                    {**_summary(one), "manifest": one.manifest.model_dump(mode="json")}
                    for one in versions
                ],
            }
        )
        for one in versions:
            session.screen.fields(_fields(one, names))
            session.screen.text("")


@app.command
async def search(
    words: Annotated[tuple[str, ...], Parameter(help="What it should be about.")],
    /,
    *,
    limit: Limit = 10,
    common: Common = COMMON,
) -> None:
    """Search the registered capabilities by words, best first."""
    await search_capabilities(" ".join(words), limit, common)


async def search_capabilities(query: str, limit: int, common: LongCommon) -> None:
    """Search the registered capabilities; for the commands that do."""
    async with opened(common) as session:
        hits = await session.ccos.marketplace.search(query, limit=limit)
        session.screen.document(
            {
                "query": query,
                "matches": [{**_summary(one), "score": round(score, 4)} for one, score in hits],
            }
        )
        _show_table(session, [one for one, _ in hits], empty="Nothing registered matches.")


@app.command
async def add(
    file: Annotated[
        str, Parameter(help="A JSON file, or - for standard input.", allow_leading_hyphen=True)
    ],
    /,
    *,
    by: Annotated[str, Parameter(help="Who vouches for it.")],
    force: Annotated[
        bool, Parameter(negative="", help="Allow changes that break callers.")
    ] = False,
    common: Common = COMMON,
) -> None:
    """Register a manifest, or an array of them: all or none.

    Whoever adds it approves it. What the file says about its own trust, approval, provenance or
    attestation is not believed. An example of a manifest:

    {"id": "weather.current", "name": "Current weather", "version": "1.0.0",
    "provider": {"type": "http", "base_url": "https://api.example.org", "path": "/now"},
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "effect_type": "read_only", "effects": ["network"]}
    """
    if not by.strip():
        raise UsageError("--by names nobody.")
    data = read_json(read_input(file), file)
    manifests = [_approved(one, file, by) for one in (data if isinstance(data, list) else [data])]
    async with opened(common) as session:
        marketplace = session.ccos.marketplace
        registrations = await marketplace.storage.write(
            "register",
            lambda transaction: [
                marketplace.register_in(transaction, one, actor=by, allow_breaking=force)
                for one in manifests
            ],
        )
        results: list[dict[str, Any]] = [
            {
                "id": one.manifest.id,
                "version": one.manifest.version,
                "result": one.result,
                "previous_version": one.previous_version,
                "breaking_changes": [change.message for change in one.breaking_changes],
            }
            for one in registrations
        ]
        session.screen.document({"registrations": results})
        session.screen.table(
            ("capability", "version", "result", "breaks"),
            (
                (one["id"], one["version"], one["result"], "; ".join(one["breaking_changes"]))
                for one in results
            ),
            empty="The file holds no manifest.",
        )


@app.command
async def remove(
    capability_id: str, /, *, reason: Reason = "", by: By = None, common: Common = COMMON
) -> None:
    """Take a capability out of the marketplace; its history stays."""
    from ccos.capabilities import canonical_id

    target = canonical_id(capability_id)
    async with opened(common) as session:
        await session.ccos.marketplace.remove(target, actor=session.by(by), reason=reason)
        session.screen.document({"id": target, "standing": "removed"})
        session.screen.text(f"{target} is removed.")


@app.command
async def revoke(
    capability_id: str,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; callers are told.")],
    by: By = None,
    common: Common = COMMON,
) -> None:
    """Forbid every further call of a capability until it is registered anew."""
    from ccos.capabilities import canonical_id

    target = canonical_id(capability_id)
    async with opened(common) as session:
        await session.ccos.marketplace.revoke(target, actor=session.by(by), reason=reason)
        session.screen.document({"id": target, "standing": "revoked", "reason": reason})
        session.screen.text(f"{target} is revoked: {reason}")


def _approved(data: Any, file: str, by: str) -> Manifest:
    from ccos.capabilities import (
        ApprovalStatus,
        CustodyEntry,
        Provenance,
        TrustTier,
        parse_manifest,
    )

    manifest = parse_manifest(data)
    approval = CustodyEntry(step="approved", at=datetime.now(UTC), by=by)
    return manifest.model_copy(
        update={
            "approval_status": ApprovalStatus.APPROVED,
            "trust_tier": TrustTier.APPROVED,
            "provenance": Provenance(
                source="operator",
                reference=file,
                content_hash=manifest.definition_hash(),
                custody_chain=(approval,),
            ),
        }
    )


async def _unknown(session: Session, capability_id: str) -> Exception:
    from ccos.runtime.calls import unknown_capability

    return await unknown_capability(session.ccos.marketplace, capability_id)


def _show_table(session: Session, found: list[Registered], *, empty: str) -> None:
    session.screen.table(
        ("capability", "version", "provider", "tier", "approval", "standing", "description"),
        (
            (
                one.manifest.id,
                one.manifest.version,
                one.manifest.provider.type,
                one.manifest.trust_tier,
                one.manifest.approval_status,
                "untrusted" if one.fault else one.standing,
                short(one.manifest.description or one.manifest.name, 60),
            )
            for one in found
        ),
        empty=empty,
    )


def _summary(one: Registered) -> dict[str, Any]:
    manifest = one.manifest
    return {
        "id": manifest.id,
        "version": manifest.version,
        "name": manifest.name,
        "description": manifest.description,
        "provider": manifest.provider.type,
        "effect_type": manifest.effect_type,
        "effects": list(manifest.effects),
        "trust_tier": manifest.trust_tier,
        "approval_status": manifest.approval_status,
        "standing": one.standing,
        "reason": one.reason,
        "definition_hash": one.definition_hash,
        "fault": one.fault,
    }


def _fields(one: Registered, aliases: list[str]) -> list[tuple[str, object]]:
    from ccos.interfaces.cli.candidates import manifest_fields

    provenance = one.manifest.provenance
    steps = () if provenance is None else provenance.custody_chain
    return [
        *manifest_fields(one.manifest),
        ("also known as", ", ".join(aliases) or "-"),
        ("standing", f"{one.standing}{f': {one.reason}' if one.reason else ''}"),
        ("approval", one.manifest.approval_status),
        ("attestation", one.fault or "holds"),
        ("definition hash", one.definition_hash),
        ("source", "-" if provenance is None else f"{provenance.source}: {provenance.reference}"),
        (
            "history",
            "\n".join(f"{step.at:%Y-%m-%d %H:%M:%SZ} {step.step} by {step.by}" for step in steps),
        ),
    ]
