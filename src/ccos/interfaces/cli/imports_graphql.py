"""What ``ccos import graphql`` does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from ccos.capabilities import AuthReference
from ccos.errors import UnknownCapabilityError
from ccos.importers.graphql import ImportedApi, SelectionBudget, import_graphql
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.imports_report import Report, show_preview
from ccos.interfaces.cli.imports_sources import (
    Document,
    documents,
    fetched,
    import_documents,
    maybe_opened,
    one_document,
    read_file,
)
from ccos.interfaces.cli.options import LongCommon
from ccos.interfaces.cli.session import Session, screen_of
from ccos.providers.graphql import preview_graphql_request
from ccos.providers.graphql_introspection import introspect
from ccos.providers.http_credentials import find_credentials
from ccos.providers.secrets import EnvironmentSecrets

_SUFFIXES: Final = (".graphql", ".graphqls", ".gql")
_FILES: Final = (*_SUFFIXES, ".json")


@dataclass(frozen=True, slots=True)
class Wishes:
    """How schemas are to be read."""

    endpoint: str | None = None
    subscriptions_endpoint: str | None = None
    api: str | None = None
    select: str | None = None
    selections: Mapping[str, str] = field(default_factory=dict)
    budget: SelectionBudget | None = None
    token: str | None = None
    """Environment variable that holds the token of the API."""

    @property
    def auth(self) -> tuple[AuthReference, ...]:
        """The secret that is sent with every call."""
        if self.token is None:
            return ()
        return (AuthReference(scheme="bearer", environment=(self.token,)),)


async def import_schemas(
    sources: Sequence[str],
    wishes: Wishes,
    *,
    dry_run: bool,
    force: bool,
    by: str | None,
    common: LongCommon,
) -> ExitCode:
    """Import every schema, say what came of each, and register what can be used."""
    return await import_documents(
        [one for source in sources for one in documents(source, _SUFFIXES)],
        partial(_report, wishes),
        kind="graphql_schema",
        fetches=False,
        dry_run=dry_run,
        force=force,
        by=by,
        common=common,
    )


async def show_request(
    source: str, wishes: Wishes, operation: str, arguments: dict[str, Any], common: LongCommon
) -> ExitCode:
    """Print the request for one root field; nothing is sent.

    Raises:
        UnknownCapabilityError: No field has this name.
        UsageError: Several have, or the source is a folder.
        InvalidArgumentsError: The arguments do not fit.
    """
    document = one_document(source, _SUFFIXES)
    async with maybe_opened(common, document.folder is None) as session:
        found, _ = await _imported(wishes, document, session)
    matching = [
        one for one in found.capabilities if operation in (one.id, *_names(one.id, found.api))
    ]
    if len(matching) != 1:
        if matching:
            listed = ", ".join(one.id for one in matching)
            raise UsageError(f"{operation!r} names several.", next_step=f"Use one of {listed}")
        raise UnknownCapabilityError(
            f"{document.location} has no field {operation!r} that can be called.",
            next_step="Name it such as user, query.user, or by its id; --dry-run lists them.",
        )
    show_preview(matching[0].id, preview_graphql_request(matching[0], arguments), screen_of(common))
    return ExitCode.DONE


def _names(capability_id: str, api: str) -> tuple[str, str]:
    """``user`` and ``query.user``."""
    path = capability_id.removeprefix(f"graphql.{api}.")
    return path.partition(".")[2], path


async def _report(wishes: Wishes, document: Document, session: Session | None) -> Report:
    found, seconds = await _imported(wishes, document, session)
    return Report(
        document.location,
        found.title,
        found.version,
        found.capabilities,
        [
            {"operation": one.operation, "reason": one.reason, "where": one.place}
            for one in found.quarantined
        ],
        seconds,
        more={
            "needs_base_url": found.needs_base_url,
            "notes": [{"where": one.place, "reason": one.reason} for one in found.notes],
        },
    )


async def _imported(
    wishes: Wishes, document: Document, session: Session | None
) -> tuple[ImportedApi, float]:
    endpoint = wishes.endpoint
    content: Mapping[str, Any] | bytes | None = None
    if document.folder is None and session is not None:
        if urlsplit(document.location).path.endswith(_FILES):
            content = await fetched(document.location, session, vouched=True)
        else:
            endpoint = endpoint or document.location
            content = await introspect(
                session.ccos.egress,
                document.location,
                credentials=find_credentials(
                    wishes.auth, EnvironmentSecrets(), capability=document.location
                ),
            )

    def work() -> tuple[ImportedApi, float]:
        started = time.perf_counter()
        schema = read_file(document.location) if content is None else content
        found = import_graphql(
            schema,
            location=document.location,
            endpoint=endpoint,
            subscriptions_endpoint=wishes.subscriptions_endpoint,
            api=wishes.api,
            select=wishes.select,
            selections=wishes.selections,
            budget=wishes.budget,
            auth=wishes.auth,
        )
        return found, time.perf_counter() - started

    return await asyncio.to_thread(work)
