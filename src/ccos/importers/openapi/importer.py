"""An OpenAPI or Swagger document becomes capabilities."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain, islice
from typing import Any, Final, Literal

from ccos.capabilities import Manifest, provider_url
from ccos.errors import ImportDocumentError
from ccos.importers.openapi.declarations import METHODS, Incoming, callbacks, limited, webhooks
from ccos.importers.openapi.findings import (
    MAXIMUM_LISTED,
    MAXIMUM_OPERATIONS,
    MAXIMUM_SECONDS,
    Effort,
    Note,
    Notes,
    Quarantined,
)
from ccos.importers.openapi.naming import api_slug, given_slug, operation_names, tool_names
from ccos.importers.openapi.operations import Api, Operation, to_manifest
from ccos.importers.openapi.parameters import ParameterLists
from ccos.importers.openapi.references import (
    ROOT,
    ExternalError,
    Loader,
    Place,
    References,
    UnusableError,
)
from ccos.importers.openapi.schemas import Schemas
from ccos.importers.openapi.security import Security
from ccos.importers.openapi.servers import checked_base_url
from ccos.providers.http_request import is_unknown_host

_MAXIMUM_REASON: Final = 500
_SWAGGER_ONLY: Final = frozenset({"definitions", "securityDefinitions", "basePath", "produces"})


@dataclass(frozen=True, slots=True)
class ImportedApi:
    """What a document offers."""

    api: str
    """The short name that the ids and the names of secrets contain."""
    title: str
    version: str
    """The version as the document states it; empty if it does not."""
    capabilities: tuple[Manifest, ...]
    quarantined: tuple[Quarantined, ...]
    notes: tuple[Note, ...] = ()
    """What was understood differently from how it stands, or left open."""
    incoming: tuple[Incoming, ...] = ()
    """Webhooks and callbacks."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """By capability id: a unique name of at most 64 characters."""
    places: Mapping[str, str] = field(default_factory=dict)
    """By capability id: JSON Pointer of the operation in the document."""

    @property
    def operations(self) -> int:
        """How many operations were looked at."""
        return len(self.capabilities) + len(self.quarantined)

    @property
    def needs_base_url(self) -> bool:
        """Whether some operation cannot be called before the caller says where the API is."""
        return any(is_unknown_host(provider_url(one.provider) or "") for one in self.capabilities)


def import_openapi(
    document: Mapping[str, Any],
    *,
    location: str,
    api: str | None = None,
    base_url: str | None = None,
    variables: Mapping[str, str] | None = None,
    allow_unknown_server: bool = False,
    external: Literal["open", "quarantine"] = "open",
    load: Loader | None = None,
    prefer_security: Sequence[str] = (),
    select: str | None = None,
    seconds: float = MAXIMUM_SECONDS,
) -> ImportedApi:
    """Turn each operation of a Swagger 2.0 or OpenAPI 3.0, 3.1 or 3.2 document into a capability.

    The id is ``openapi.<api>.<method>.<operation>``. An operation that cannot be used is listed in
    ``quarantined`` with the reason, and the others are imported. Whatever is imported otherwise
    than it stands is listed in ``notes``.

    Args:
        document: The document, as ``read_document`` returns it.
        location: The URL or file name it came from; relative server URLs count from there.
        api: Short name for the API; made from its title when left out.
        base_url: Where the API is, instead of what the document says.
        variables: Values for server variables; their defaults when left out.
        allow_unknown_server: Whether to import operations of which nobody says where they are. They
            get a base URL that never exists, and no request is made to it.
        external: What happens to a reference into a document that is not at hand: ``open`` accepts
            anything in its place and leaves a parameter out, ``quarantine`` gives up the operation.
        load: Gives other documents by location, or None where that is not allowed.
        prefer_security: Names of security schemes to use where a document offers several.
        select: A shell pattern; only operations are imported whose ``operationId``, path,
            ``METHOD path`` or id matches.
        seconds: How long it may take.

    Raises:
        ImportDocumentError: It is not a description of an API, ``base_url`` is not an absolute http
            or https URL, or the description asks for too much work.
        InvalidIdentifierError: ``api`` cannot be part of an id.
    """
    swagger, dialect = _dialect(document, location)
    title = _text(document.get("info"), "title")
    shared = _shared(
        document,
        location,
        swagger=swagger,
        dialect=dialect,
        title=title,
        slug=given_slug(api) if api is not None else api_slug(title, location),
        base_url=_given_base_url(base_url),
        variables=variables or {},
        allow_unknown_server=allow_unknown_server,
        open_external=external == "open",
        load=load,
        prefer_security=prefer_security,
        effort=Effort(location, seconds=seconds),
    )
    quarantined: list[Quarantined] = []
    operations = list(islice(_operations(shared, quarantined), MAXIMUM_LISTED + 1))
    _check_number(len(operations), MAXIMUM_LISTED, location)
    if select is None:
        _check_number(len(operations), MAXIMUM_OPERATIONS, location)
    named = list(_with_ids(shared.slug, operations))
    if select is not None:
        named = [one for one in named if _is_selected(*one, select)]
        quarantined = [one for one in quarantined if fnmatchcase(one.operation, select)]
    _check_number(len(named), MAXIMUM_OPERATIONS, location)
    capabilities: list[Manifest] = []
    places: dict[str, str] = {}
    for operation, capability_id in named:
        try:
            shared.schemas.effort.spend(8)
            capabilities.append(to_manifest(shared, operation, capability_id))
            places[capability_id] = str(operation.at)
        except UnusableError as error:
            quarantined.append(_quarantine(str(operation), error, operation.at))
    incoming = chain(
        webhooks(document, shared.references),
        *(callbacks(one.described, one.at, str(one), shared.references) for one, _ in named),
    )
    return ImportedApi(
        shared.slug,
        title,
        shared.version,
        tuple(capabilities),
        tuple(quarantined),
        tuple(shared.notes.found.values()),
        tuple(limited(incoming)),
        tool_names(one.id for one in capabilities),
        places,
    )


def _check_number(operations: int, limit: int, location: str) -> None:
    if operations > limit:
        raise ImportDocumentError(
            f"{location} has more than {limit} operations that are wanted.",
            next_step="Select fewer operations by a pattern.",
            details={"location": location, "limit": limit},
        )


def _shared(
    document: Mapping[str, Any],
    location: str,
    *,
    swagger: bool,
    dialect: str,
    title: str,
    slug: str,
    base_url: str | None,
    variables: Mapping[str, str],
    allow_unknown_server: bool,
    open_external: bool,
    load: Loader | None,
    prefer_security: Sequence[str],
    effort: Effort,
) -> Api:
    references = References(document, location, load)
    notes = Notes()
    schemas, xml_schemas = (
        Schemas(
            references,
            notes,
            effort,
            siblings=not swagger and not dialect.startswith("3.0"),
            open_external=open_external,
            keep=frozenset(keep),
        )
        for keep in ((), ("xml",))
    )
    holder = document if swagger else document.get("components")
    steps = ("securityDefinitions",) if swagger else ("components", "securitySchemes")
    return Api(
        document=document,
        location=location,
        slug=slug,
        title=title,
        version=_text(document.get("info"), "version"),
        swagger=swagger,
        dialect=dialect,
        base_url=base_url,
        variables=variables,
        allow_unknown_server=allow_unknown_server,
        canonical=load is None and _has_canonical_form(document, location),
        references=references,
        notes=notes,
        schemas=schemas,
        xml_schemas=xml_schemas,
        lists=ParameterLists(references, notes, omit_external=open_external),
        security=Security(
            holder.get(steps[-1]) if isinstance(holder, Mapping) else None,
            ROOT.child(*steps),
            references,
            notes,
            api=slug,
            location=location,
            preferred=prefer_security,
        ),
    )


def _dialect(document: Mapping[str, Any], location: str) -> tuple[bool, str]:
    """Whether it is Swagger 2.0, and the version it declares or else looks like."""
    swagger, openapi = document.get("swagger"), document.get("openapi")
    described = isinstance(document.get("paths"), dict | list) or "webhooks" in document
    if isinstance(openapi, str | float) and str(openapi).startswith(("3.0", "3.1", "3.2")):
        return False, str(openapi)
    if str(swagger) in ("2", "2.0"):
        return True, "2.0"
    if not described:
        found = f"version {str(swagger or openapi)[:50]!r}" if swagger or openapi else "no version"
        raise ImportDocumentError(
            f"{location} is not a description by Swagger 2.0 or OpenAPI 3.0 to 3.2: "
            f"it states {found} and has no paths.",
            details={"location": location},
        )
    is_old = openapi is None and (swagger is not None or not _SWAGGER_ONLY.isdisjoint(document))
    return (True, "2.0") if is_old else (False, "3.0")


def _has_canonical_form(document: Mapping[str, Any], location: str) -> bool:
    """Whether no part of the document can keep a definition from being pinned.

    Looking once at the whole is cheaper than at each of its parts as often as it is used.
    """
    try:
        text = json.dumps([document, location], allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return _has_text_keys(document)


def _has_text_keys(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not all(type(key) is str for key in one):
                return False
            waiting += [item for item in one.values() if isinstance(item, dict | list)]
        else:
            waiting += [item for item in one if isinstance(item, dict | list)]
    return True


def _given_base_url(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    try:
        return checked_base_url(base_url)
    except UnusableError as error:
        raise ImportDocumentError(
            f"The base URL cannot be used: {error}.", next_step="Give an absolute https URL."
        ) from None


def _operations(api: Api, quarantined: list[Quarantined]) -> Iterator[Operation]:
    """Every operation; what is no operation at all is quarantined."""
    paths = api.document.get("paths") or {}
    if not isinstance(paths, dict):
        where = ROOT.child("paths")
        quarantined.append(_quarantine("", UnusableError("the paths are not an object"), where))
        return
    for path, entry in paths.items():
        if path.startswith("x-") or entry is None:
            continue
        place = ROOT.child("paths", path)
        try:
            item, item_at = _path_item(api.references, entry, place)
        except UnusableError as error:
            quarantined.append(_quarantine(path, error, place))
            continue
        additional = item.get("additionalOperations")
        listed = [
            (method, value, place.child(method))
            for method, value in item.items()
            if method.lower() in METHODS
        ]
        for method, value in additional.items() if isinstance(additional, dict) else ():
            listed.append((method, value, place.child("additionalOperations", method)))
        for method, described, at in listed:
            named = f"{method.upper()} {path}"
            described = {} if described is None else described  # "get:" alone, in YAML
            if method.lower() not in METHODS:
                reason = UnusableError(f"the method {method[:50]!r} is not supported")
                quarantined.append(_quarantine(named, reason, at))
            elif not isinstance(described, dict):
                quarantined.append(_quarantine(named, UnusableError("it is not an object"), at))
            else:
                yield Operation(path, method.upper(), item, item_at, described, at)


def _path_item(references: References, entry: Any, at: Place) -> tuple[dict[str, Any], Place]:
    item, place = references.follow(entry, at)
    if not isinstance(item, dict):
        raise UnusableError("the path is not described by an object", at)
    if isinstance(entry, dict) and "$ref" in entry:
        return item | {key: value for key, value in entry.items() if key != "$ref"}, place
    return item, place


def _with_ids(slug: str, operations: list[Operation]) -> Iterator[tuple[Operation, str]]:
    """Each operation with an id of its own, which does not depend on the order of the document."""
    names = [
        operation_names(operation.described.get("operationId"), operation.path, str(operation.at))
        for operation in operations
    ]
    prefixes = [f"openapi.{slug}.{operation.method.lower()}." for operation in operations]
    wanted = Counter(
        prefix + preferred for prefix, (preferred, _) in zip(prefixes, names, strict=True)
    )
    for operation, prefix, (preferred, own) in zip(operations, prefixes, names, strict=True):
        unique = wanted[prefix + preferred] == 1
        yield operation, prefix + (preferred if unique else own)


def _is_selected(operation: Operation, capability_id: str, pattern: str) -> bool:
    names = (
        operation.described.get("operationId"),
        operation.path,
        str(operation),
        capability_id,
    )
    return any(isinstance(name, str) and fnmatchcase(name, pattern) for name in names)


def _quarantine(operation: str, error: UnusableError, at: Place) -> Quarantined:
    reason = str(error)
    if isinstance(error, ExternalError):
        reason += "; allow it, or let external references be left open"
    return Quarantined(operation, str(error.place or at), reason[:_MAXIMUM_REASON])


def _text(info: Any, key: str) -> str:
    value = info.get(key) if isinstance(info, dict) else None
    return str(value).strip() if isinstance(value, str | int | float) else ""
