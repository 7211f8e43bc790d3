"""A GraphQL schema becomes capabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from ccos.capabilities import EffectType, GraphQlProvider, Manifest, SecretReference
from ccos.errors import ImportDocumentError
from ccos.importers.graphql.arguments import InputSchemas
from ccos.importers.graphql.chosen import document_text, read_chosen
from ccos.importers.graphql.reading import read_schema
from ccos.importers.graphql.results import output_schema
from ccos.importers.graphql.schema import OPERATIONS, Field, Input, OperationKind, Schema
from ccos.importers.graphql.selection import Selection, SelectionBudget, Selections
from ccos.importers.openapi import ImportedApi, Quarantined, tool_names
from ccos.importers.openapi.findings import (
    MAXIMUM_LISTED,
    MAXIMUM_OPERATIONS,
    MAXIMUM_SECONDS,
    Effort,
    Notes,
)
from ccos.importers.openapi.naming import api_slug, given_slug
from ccos.importers.openapi.references import UnusableError
from ccos.importers.openapi.servers import checked_base_url
from ccos.providers.http_request import unknown_host

if TYPE_CHECKING:
    from graphql import GraphQLSchema

_MAXIMUM_WORK: Final = 3_000_000
_MAXIMUM_NAME: Final = 110
_MAXIMUM_DESCRIPTION: Final = 4_000
_MAXIMUM_METADATA: Final = 500
_MAXIMUM_REASON: Final = 500
_DESTRUCTIVE: Final = ("delete", "remove", "destroy", "purge", "erase", "drop", "revoke", "cancel")
_EFFECTS: Final[dict[OperationKind, tuple[EffectType, tuple[str, ...]]]] = {
    "query": (EffectType.READ_ONLY, ("network",)),
    "mutation": (EffectType.EFFECTFUL, ("network", "write")),
    "subscription": (EffectType.READ_ONLY, ("network", "stream")),
}
"""What an operation may do (GraphQL September 2025, sections 6.2.1 to 6.2.3)."""


@dataclass(frozen=True)
class _Api:
    """What all fields of one schema share."""

    slug: str
    location: str
    endpoint: str
    subscriptions: str | None
    auth: tuple[SecretReference, ...]
    timeout_seconds: float
    schema: Schema
    inputs: InputSchemas
    selections: Selections
    notes: Notes = field(default_factory=Notes)

    @cached_property
    def core(self) -> GraphQLSchema:
        """The schema for graphql-core; made only if the caller chooses a selection."""
        from ccos.importers.graphql.core import core_schema

        return core_schema(self.schema)


@dataclass(frozen=True, slots=True)
class _Root:
    """A field of a root type."""

    operation: OperationKind
    owner: str
    field: Field

    @property
    def coordinate(self) -> str:
        return f"{self.owner}.{self.field.name}"

    def names(self, api: str) -> tuple[str, ...]:
        """Everything it may be called by in a pattern."""
        return (
            self.field.name,
            f"{self.operation}.{self.field.name}",
            self.coordinate,
            _capability_id(api, self.operation, self.field.name),
        )


def import_graphql(
    document: Mapping[str, Any] | str | bytes,
    *,
    location: str,
    endpoint: str | None = None,
    subscriptions_endpoint: str | None = None,
    api: str | None = None,
    select: str | None = None,
    budget: SelectionBudget | None = None,
    selections: Mapping[str, str] | None = None,
    auth: Sequence[SecretReference] = (),
    timeout_seconds: float = 30.0,
    seconds: float = MAXIMUM_SECONDS,
) -> ImportedApi:
    """Turn each root field of a GraphQL schema into a capability.

    The id is ``graphql.<api>.<query|mutation|subscription>.<field>``. Arguments travel as
    variables, and what is asked of the result is built by the rules of ``Selections``. A field
    that cannot be used is listed in ``quarantined`` with the reason, and the others are imported.
    Places are schema coordinates, such as ``Query.user(id:)``.

    A query is taken to read and a mutation to write. That a mutation is called ``deleteUser`` is
    kept in its metadata; that none is called so proves nothing.

    Args:
        document: The answer to an introspection query, or the text of either kind of schema.
        location: The URL or file name it came from.
        endpoint: Where operations are sent. Without it no call is made, and
            ``needs_base_url`` of the result says so.
        subscriptions_endpoint: Where subscriptions are sent, if elsewhere.
        api: Short name for the API; made from the endpoint or location when left out.
        select: A shell pattern; only fields are imported whose name, ``query.name``,
            coordinate or id matches.
        budget: How much of a result is selected.
        selections: By field name, ``query.name`` or coordinate: the selection to use, such as
            ``{ id name }``.
        auth: Secrets that are sent with every call; a schema does not say which.
        timeout_seconds: How long a call may take.
        seconds: How long the import may take.

    Raises:
        ImportDocumentError: It is no GraphQL schema, a selection does not fit it, an endpoint is no
            absolute http or https URL, or it asks for too much work.
        InvalidIdentifierError: ``api`` cannot be part of an id.
    """
    notes = Notes()
    effort = Effort(location, work=_MAXIMUM_WORK, seconds=seconds)
    schema = read_schema(document, location=location, report=notes.add)
    roots, faults = _roots(schema)
    slug = given_slug(api) if api is not None else api_slug("", endpoint or location)
    wanted = [one for one in roots if select is None or _matches(one.names(slug), select)]
    _check_number(len(roots), MAXIMUM_LISTED, location)
    _check_number(len(wanted), MAXIMUM_OPERATIONS, location)
    shared = _Api(
        slug,
        location,
        _checked(endpoint) if endpoint else f"https://{unknown_host(slug)}/graphql",
        _checked(subscriptions_endpoint) if subscriptions_endpoint else None,
        tuple(auth),
        timeout_seconds,
        schema,
        InputSchemas(schema, notes.add),
        Selections(schema, budget or SelectionBudget(), notes.add, effort),
        notes,
    )
    chosen = _chosen(selections or {}, wanted, slug)
    capabilities: list[Manifest] = []
    quarantined = [
        one for one in faults if select is None or fnmatchcase(one.operation, f"*{select}")
    ]
    places: dict[str, str] = {}
    for root in wanted:
        effort.spend(8)
        try:
            manifest = _manifest(shared, root, chosen.get(root.coordinate))
        except UnusableError as error:
            name = f"{root.operation} {root.field.name}"
            quarantined.append(Quarantined(name, root.coordinate, str(error)[:_MAXIMUM_REASON]))
            continue
        capabilities.append(manifest)
        places[manifest.id] = root.coordinate
    return ImportedApi(
        slug,
        slug,
        "",
        tuple(capabilities),
        tuple(quarantined),
        tuple(notes.found.values()),
        tool_names=tool_names(one.id for one in capabilities),
        places=places,
    )


def _roots(schema: Schema) -> tuple[list[_Root], list[Quarantined]]:
    roots: list[_Root] = []
    faults: list[Quarantined] = []
    for operation in OPERATIONS:
        owner = schema.roots.get(operation)
        if owner is None:
            continue
        roots += [_Root(operation, owner, one) for one in schema.types[owner].fields.values()]
        faults += [
            Quarantined(f"{operation} {coordinate.partition('.')[2]}", coordinate, reason)
            for coordinate, reason in schema.faults.items()
            if coordinate.startswith(f"{owner}.")
        ]
    return roots, faults


def _matches(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _check_number(fields: int, limit: int, location: str) -> None:
    if fields > limit:
        raise ImportDocumentError(
            f"{location} has more than {limit} root fields that are wanted.",
            next_step="Select fewer fields by a pattern.",
            details={"location": location, "limit": limit},
        )


def _checked(endpoint: str) -> str:
    try:
        checked_base_url(endpoint)
    except UnusableError as error:
        raise ImportDocumentError(
            f"The endpoint cannot be used: {error}.", next_step="Give an absolute https URL."
        ) from None
    return endpoint


def _chosen(selections: Mapping[str, str], roots: Sequence[_Root], slug: str) -> dict[str, str]:
    """The caller's selections by coordinate."""
    found: dict[str, str] = {}
    for name, text in selections.items():
        meant = [one for one in roots if name in one.names(slug)]
        if len(meant) != 1:
            reason = "no field that is imported" if not meant else "more than one field"
            raise ImportDocumentError(
                f"The selection for {name[:100]!r} is for {reason}.",
                next_step="Name the field as query.name, mutation.name or subscription.name.",
                details={"field": name},
            )
        found[meant[0].coordinate] = text
    return found


def _manifest(api: _Api, root: _Root, chosen: str | None) -> Manifest:
    inputs, selection, body, left_out = _asked(api, root, chosen)
    effect_type, effects = _EFFECTS[root.operation]
    try:
        return Manifest(
            id=_capability_id(api.slug, root.operation, root.field.name),
            name=root.field.name,
            description=_description(root.field),
            provider=GraphQlProvider(
                schema_location=api.location,
                endpoint=api.endpoint,
                subscriptions_endpoint=(
                    api.subscriptions if root.operation == "subscription" else None
                ),
                operation=root.operation,
                field=root.field.name,
                document=document_text(root.field, root.operation, inputs, body),
                auth=api.auth,
                timeout_seconds=api.timeout_seconds,
            ),
            input_schema=api.inputs.arguments(inputs, coordinate=root.coordinate),
            output_schema=output_schema(api.schema, root.operation, root.field.type, selection),
            effect_type=effect_type,
            effects=effects,
            domains=(api.slug,),
            metadata=_metadata(root, left_out),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, fault["loc"]))
        said = fault["msg"].removeprefix("Value error, ")
        raise UnusableError(f"{place}: {said}" if place else said) from error


def _asked(
    api: _Api, root: _Root, chosen: str | None
) -> tuple[dict[str, Input], Selection | None, str, tuple[str, ...]]:
    """The variables, the selection with its text, and what was left out of it."""
    inputs = dict(root.field.arguments)
    if chosen is not None:
        own = read_chosen(
            chosen, root=root.field, operation=root.operation, schema=api.schema, core=api.core
        )
        return inputs | own.variables, own.selection, own.text, ()
    selection, left_out = api.selections.build(root.field, owner=root.owner)
    return inputs, selection, selection.text() if selection else "", left_out


def _capability_id(api: str, operation: OperationKind, name: str) -> str:
    if len(name) > _MAXIMUM_NAME:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: _MAXIMUM_NAME - 9]}_{mark}"
    return f"graphql.{api}.{operation}.{name}"


def _description(root: Field) -> str:
    parts = [root.description]
    if root.deprecated is not None:
        parts.append(f"Deprecated: {root.deprecated}")
    text = "\n\n".join(filter(None, parts))
    limit = _MAXIMUM_DESCRIPTION
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _metadata(root: _Root, left_out: tuple[str, ...]) -> dict[str, str]:
    metadata = {"graphql_field": root.coordinate[:200], "returns": str(root.field.type)[:200]}
    if root.field.deprecated is not None:
        metadata["deprecated"] = "true"
    if root.operation == "mutation" and root.field.name.lower().startswith(_DESTRUCTIVE):
        metadata["name_suggests"] = "destructive"
    if left_out:
        metadata["not_selected"] = _listed(left_out)
    return metadata


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _MAXIMUM_METADATA else text[: _MAXIMUM_METADATA - 1] + "…"
