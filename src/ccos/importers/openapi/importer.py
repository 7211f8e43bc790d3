"""An OpenAPI or Swagger document becomes capabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ccos.capabilities import Manifest
from ccos.errors import ImportDocumentError
from ccos.importers.openapi.naming import api_slug, given_slug, operation_names
from ccos.importers.openapi.operations import Api, Operation, to_manifest
from ccos.importers.openapi.references import References, UnusableError, escaped
from ccos.importers.openapi.schemas import Schemas
from ccos.importers.openapi.servers import checked_base_url

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_MAXIMUM_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A part of a document that did not become a capability."""

    place: str
    """JSON Pointer (RFC 6901) into the document."""
    reason: str


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


def import_openapi(
    document: Mapping[str, Any],
    *,
    location: str,
    api: str | None = None,
    base_url: str | None = None,
) -> ImportedApi:
    """Turn each operation of a Swagger 2.0 or OpenAPI 3.0, 3.1 or 3.2 document into a capability.

    The id is ``openapi.<api>.<method>.<operation>``. An operation that cannot be used is listed in
    ``quarantined`` with the reason, and the others are imported.

    Args:
        document: The document, as ``read_document`` returns it.
        location: The URL or file name it came from; relative server URLs count from there.
        api: Short name for the API; made from its title when left out.
        base_url: Where the API is, instead of what the document says.

    Raises:
        ImportDocumentError: It is not a description of an API in a version that is supported, or
            ``base_url`` is not an absolute http or https URL.
        InvalidIdentifierError: ``api`` cannot be part of an id.
    """
    swagger, dialect = _dialect(document, location)
    info = document.get("info")
    title = _text(info, "title")
    references = References(document)
    shared = Api(
        document=document,
        location=location,
        slug=given_slug(api) if api is not None else api_slug(title, location),
        title=title,
        version=_text(info, "version"),
        swagger=swagger,
        dialect=dialect,
        base_url=_given_base_url(base_url),
        references=references,
        schemas=Schemas(references, siblings=not swagger and not dialect.startswith("3.0")),
    )
    quarantined: list[Quarantined] = []
    operations = list(_operations(shared, quarantined))
    capabilities: list[Manifest] = []
    for place, operation, capability_id in _with_ids(shared.slug, operations):
        try:
            capabilities.append(to_manifest(shared, operation, capability_id))
        except UnusableError as error:
            quarantined.append(_quarantine(place, error))
    return ImportedApi(shared.slug, title, shared.version, tuple(capabilities), tuple(quarantined))


def _dialect(document: Mapping[str, Any], location: str) -> tuple[bool, str]:
    """Whether it is Swagger 2.0, and the version it declares."""
    swagger, openapi = document.get("swagger"), document.get("openapi")
    if str(swagger) in ("2", "2.0"):
        dialect = "2.0"
    elif isinstance(openapi, str | float) and str(openapi).startswith(("3.0", "3.1", "3.2")):
        dialect = str(openapi)
    else:
        found = f"version {str(swagger or openapi)[:50]!r}" if swagger or openapi else "no version"
        raise ImportDocumentError(
            f"{location} is not a description by Swagger 2.0 or OpenAPI 3.0 to 3.2: "
            f"it states {found}.",
            details={"location": location},
        )
    if not isinstance(document.get("paths", {}), dict):
        raise ImportDocumentError(
            f"{location} is not a usable API description: its paths are not an object.",
            details={"location": location},
        )
    return dialect == "2.0", dialect


def _given_base_url(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    try:
        return checked_base_url(base_url)
    except UnusableError as error:
        raise ImportDocumentError(
            f"The base URL cannot be used: {error}.", next_step="Give an absolute https URL."
        ) from None


def _operations(api: Api, quarantined: list[Quarantined]) -> Iterator[tuple[str, Operation]]:
    """Every operation with its place; what is no operation at all is quarantined."""
    for path, entry in api.document.get("paths", {}).items():
        if path.startswith("x-"):
            continue
        place = f"/paths/{escaped(path)}"
        try:
            item = _path_item(api.references, entry)
        except UnusableError as error:
            quarantined.append(_quarantine(place, error))
            continue
        additional = item.get("additionalOperations")
        listed = [
            (method, item[method], f"{place}/{method}") for method in _METHODS if method in item
        ]
        for method, described in additional.items() if isinstance(additional, dict) else ():
            listed.append((method, described, f"{place}/additionalOperations/{escaped(method)}"))
        for method, described, where in listed:
            if method.lower() not in _METHODS:
                reason = UnusableError(f"the method {method[:50]!r} is not supported")
                quarantined.append(_quarantine(where, reason))
            elif not isinstance(described, dict):
                quarantined.append(_quarantine(where, UnusableError("it is not an object")))
            else:
                # A fragment is never sent (RFC 9110, section 7.1), so it is no part of the path.
                sent = "/" + path.partition("#")[0].lstrip("/")
                yield where, Operation(sent, method.upper(), item, described)


def _path_item(references: References, entry: Any) -> dict[str, Any]:
    item = references.follow(entry)
    if not isinstance(item, dict):
        raise UnusableError("the path is not described by an object")
    if isinstance(entry, dict) and "$ref" in entry:
        return item | {key: value for key, value in entry.items() if key != "$ref"}
    return item


def _with_ids(
    slug: str, operations: list[tuple[str, Operation]]
) -> Iterator[tuple[str, Operation, str]]:
    """Each operation with an id of its own, which does not depend on the order of the document."""
    names = [
        operation_names(operation.described.get("operationId"), operation.path, place)
        for place, operation in operations
    ]
    prefixes = [f"openapi.{slug}.{operation.method.lower()}." for _, operation in operations]
    wanted = Counter(
        prefix + preferred for prefix, (preferred, _) in zip(prefixes, names, strict=True)
    )
    for (place, operation), prefix, (preferred, own) in zip(
        operations, prefixes, names, strict=True
    ):
        unique = wanted[prefix + preferred] == 1
        yield place, operation, prefix + (preferred if unique else own)


def _quarantine(place: str, error: UnusableError) -> Quarantined:
    return Quarantined(place, str(error)[:_MAXIMUM_REASON])


def _text(info: Any, key: str) -> str:
    value = info.get(key) if isinstance(info, dict) else None
    return str(value).strip() if isinstance(value, str | int | float) else ""
