"""A GraphQL schema becomes capabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from ccos.capabilities import EffectType, GraphQlProvider, Manifest, SecretReference, id_tokens
from ccos.errors import ImportDocumentError
from ccos.importers.graphql.arguments import InputSchemas
from ccos.importers.graphql.chosen import document_text, read_chosen
from ccos.importers.graphql.reading import read_schema
from ccos.importers.graphql.results import output_schema
from ccos.importers.graphql.schema import OPERATIONS, Field, OperationKind, Schema
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

_MAXIMUM_WORK: Final = 400_000
_MAXIMUM_NAME: Final = 110
_MAXIMUM_DESCRIPTION: Final = 4_000
_MAXIMUM_METADATA: Final = 500
_MAXIMUM_REASON: Final = 500
_DESTRUCTIVE: Final = frozenset(
    {"clear", "delete", "destroy", "drop", "erase", "purge", "remove", "truncate", "wipe"}
)
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
    name: str
    field: Field | None
    """None if it cannot be used."""

    @property
    def coordinate(self) -> str:
        return f"{self.owner}.{self.name}"

    def names(self, api: str) -> tuple[str, ...]:
        """Everything it may be called by in a pattern."""
        return (
            self.name,
            f"{self.operation}.{self.name}",
            self.coordinate,
            _capability_id(api, self.operation, self.name),
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A capability that is to be made."""

    root: _Root
    field: Field
    document: str
    input_schema: dict[str, Any]
    selection: Selection | None
    left_out: tuple[str, ...]


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

    A query is taken to read and a mutation to write. One whose name begins with a word such as
    ``delete`` has the effect ``destructive`` besides; that another has no such name proves nothing,
    so every mutation is one that must not be repeated.

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
    roots = list(_roots(schema))
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
        InputSchemas(schema, notes.add, effort),
        Selections(schema, budget or SelectionBudget(), notes.add, effort),
    )
    chosen = _chosen(selections or {}, wanted, slug)
    # What is too much work is known before the first capability is made, which costs most.
    drafts = [
        _draft(shared, root, root.field, chosen.get(root.coordinate))
        for root in wanted
        if root.field is not None
    ]
    capabilities: list[Manifest] = []
    quarantined = [
        _quarantine(one, schema.faults[one.coordinate]) for one in wanted if one.field is None
    ]
    places: dict[str, str] = {}
    for draft in drafts:
        effort.spend()
        try:
            manifest = _manifest(shared, draft)
        except UnusableError as error:
            quarantined.append(_quarantine(draft.root, str(error)))
            continue
        capabilities.append(manifest)
        places[manifest.id] = draft.root.coordinate
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


def _roots(schema: Schema) -> Iterator[_Root]:
    for operation in OPERATIONS:
        owner = schema.roots.get(operation)
        if owner is None:
            continue
        for name, entry in schema.types[owner].fields.items():
            yield _Root(operation, owner, name, entry)
        for coordinate in schema.faults:
            if coordinate.startswith(f"{owner}."):
                yield _Root(operation, owner, coordinate.partition(".")[2], None)


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


def _draft(api: _Api, root: _Root, field: Field, chosen: str | None) -> _Draft:
    """What is sent for a field, and what it takes."""
    inputs = dict(field.arguments)
    selection: Selection | None
    left_out: tuple[str, ...] = ()
    if chosen is not None:
        own = read_chosen(
            chosen, root=field, operation=root.operation, schema=api.schema, core=api.core
        )
        inputs |= own.variables
        selection, body = own.selection, own.text
    else:
        selection, left_out = api.selections.build(field, owner=root.owner)
        body = "" if selection is None else selection.text()
    return _Draft(
        root,
        field,
        document_text(field, root.operation, inputs, body),
        api.inputs.arguments(inputs, coordinate=root.coordinate),
        selection,
        left_out,
    )


def _manifest(api: _Api, draft: _Draft) -> Manifest:
    root = draft.root
    effect_type, effects = _EFFECTS[root.operation]
    if root.operation == "mutation" and _DESTRUCTIVE.intersection(id_tokens(root.name)[:1]):
        effects = ("destructive", *effects)
    try:
        return Manifest(
            id=_capability_id(api.slug, root.operation, root.name),
            name=root.name,
            description=_description(draft.field),
            provider=GraphQlProvider(
                schema_location=api.location,
                endpoint=api.endpoint,
                subscriptions_endpoint=(
                    api.subscriptions if root.operation == "subscription" else None
                ),
                operation=root.operation,
                field=root.name,
                document=draft.document,
                auth=api.auth,
                timeout_seconds=api.timeout_seconds,
            ),
            input_schema=draft.input_schema,
            output_schema=output_schema(
                api.schema, root.operation, draft.field.type, draft.selection
            ),
            effect_type=effect_type,
            effects=effects,
            domains=(api.slug,),
            metadata=_metadata(draft),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, fault["loc"]))
        said = fault["msg"].removeprefix("Value error, ")
        raise UnusableError(f"{place}: {said}" if place else said) from error


def _quarantine(root: _Root, reason: str) -> Quarantined:
    name = f"{root.operation} {root.name}"
    return Quarantined(name, root.coordinate, reason[:_MAXIMUM_REASON])


def _capability_id(api: str, operation: OperationKind, name: str) -> str:
    if len(name) > _MAXIMUM_NAME:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: _MAXIMUM_NAME - 9]}_{mark}"
    return f"graphql.{api}.{operation}.{name}"


def _description(field: Field) -> str:
    parts = [field.description]
    if field.deprecated is not None:
        parts.append(f"Deprecated: {field.deprecated}")
    text = "\n\n".join(filter(None, parts))
    limit = _MAXIMUM_DESCRIPTION
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _metadata(draft: _Draft) -> dict[str, str]:
    root = draft.root
    metadata = {"graphql_field": root.coordinate[:200], "returns": str(draft.field.type)[:200]}
    if draft.field.deprecated is not None:
        metadata["deprecated"] = "true"
    if draft.left_out:
        metadata["not_selected"] = _listed(draft.left_out)
    return metadata


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _MAXIMUM_METADATA else text[: _MAXIMUM_METADATA - 1] + "…"
