"""Examples of requests become templates: what differs between them is an argument."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from ccos.capabilities import (
    AuthReference,
    EffectType,
    HttpField,
    HttpTemplateProvider,
    JsonSchema,
    Manifest,
)
from ccos.errors import ImportDocumentError
from ccos.importers.http.exchange import Exchange, SkippedEntry, shown
from ccos.importers.http.schemas import inferred_schema
from ccos.importers.http.secrets import is_secret_name, without_secrets
from ccos.importers.openapi.naming import api_slug, argument_name, operation_names
from ccos.providers.http_request import SAFE_METHODS
from ccos.providers.http_template import is_absent, part_of
from ccos.providers.media_types import BodyKind, body_kind, essence

MAXIMUM_ENDPOINTS: Final = 1_000
_METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"})
_NOT_SENT: Final = frozenset(
    {
        "accept-encoding", "cache-control", "connection", "content-length", "content-type",
        "cookie", "dnt", "expect", "host", "idempotency-key", "if-modified-since",
        "if-none-match", "keep-alive", "origin", "pragma", "priority", "proxy-authorization",
        "referer", "te", "transfer-encoding", "upgrade-insecure-requests", "user-agent",
    }
)  # fmt: skip
"""Headers that belong to a connection or a browser and not to the call."""
_PLACEHOLDER: Final = re.compile(r"\{\{?\s*([A-Za-z_][\w.-]*)\s*\}?\}|:([A-Za-z_]\w*)")
_IDENTIFIER: Final = re.compile(
    r"[0-9]+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|(?=[^0-9]*[0-9])[0-9a-fA-F]{12,}"
    r"|(?=(?:[^0-9]*[0-9]){3})(?=.*[A-Za-z])[A-Za-z0-9_:-]{16,}"
)
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_WHOLE: Final = "body"


@dataclass(frozen=True, slots=True)
class LearnedEndpoints:
    """What examples taught."""

    capabilities: tuple[Manifest, ...]
    skipped: tuple[SkippedEntry, ...]
    """Examples that taught nothing, and why."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The examples of one endpoint, without their secrets."""

    method: str
    origin: str
    path: str
    exchanges: list[Exchange] = field(default_factory=list)
    values: list[dict[str, str]] = field(default_factory=list)
    """Of each example, what stands in the places of the path."""
    auth: dict[tuple[str, str], AuthReference] = field(default_factory=dict)


@dataclass(slots=True)
class _Draft:
    taken: set[str] = field(default_factory=set)
    properties: dict[str, JsonSchema] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    fields: list[HttpField] = field(default_factory=list)
    body: Any = None
    places: dict[str, str] = field(default_factory=dict)

    def argument(self, name: str, schema: JsonSchema, *, required: bool) -> str:
        """A further argument; returns its name."""
        chosen = argument_name(name, self.taken)
        self.taken.add(chosen)
        self.properties[chosen] = schema
        if required:
            self.required.append(chosen)
        return chosen


def learn(
    exchanges: Sequence[Exchange],
    *,
    source: str,
    path: str | None = None,
    response_path: str = "",
    fixed: Collection[str] = (),
) -> LearnedEndpoints:
    """Make a capability of each endpoint that the examples call.

    Examples of one method, host and path belong together; numbers, UUIDs and the like in a path are
    arguments, and so are ``{name}`` and ``:name``. Of a single example, each query parameter, form
    field and member of a JSON object becomes an argument, and headers stay as they are. Of several,
    what is the same in all of them stays as it is. Secrets are replaced by references; a member
    that is named like one is always an argument.

    Args:
        exchanges: The examples.
        source: Where they come from: ``curl``, or the name of a file.
        path: A path template such as ``/users/{name}``, for examples whose path fits it.
        response_path: JSON Pointer (RFC 6901) to the result in the answers.
        fixed: Names of parameters that stay as they are in the first example.

    Raises:
        ImportDocumentError: ``response_path`` is none, or nothing is there in any answer; or
            ``path`` is no template; or they call too many endpoints.
    """
    if response_path and not re.fullmatch(r"(/([^~]|~[01])*)+", response_path):
        raise ImportDocumentError(
            f"{response_path!r} is no JSON Pointer.", next_step="Write it such as /data/items."
        )
    if path is not None and not path.startswith("/"):
        raise ImportDocumentError(
            f"{path!r} is no path template.", next_step="Write it such as /users/{name}."
        )
    skipped: list[SkippedEntry] = []
    groups = _grouped(exchanges, path, skipped)
    if len(groups) > MAXIMUM_ENDPOINTS:
        raise ImportDocumentError(
            f"The examples call more than {MAXIMUM_ENDPOINTS} endpoints.",
            next_step="Give fewer examples, or a path template for those that belong together.",
        )
    slugs = Counter(_wanted_id(group) for group in groups)
    found: list[Manifest] = []
    for group in groups:
        wanted = _wanted_id(group)
        try:
            found.append(
                _manifest(
                    group,
                    wanted if slugs[wanted] == 1 else _own_id(group),
                    source,
                    response_path,
                    frozenset(fixed),
                )
            )
        except _UnusableError as error:
            first = group.exchanges[0]
            title = f"{group.method} {group.origin}{group.path}"
            skipped.append(SkippedEntry(title, str(error), first.where))
    return LearnedEndpoints(tuple(found), tuple(skipped))


class _UnusableError(Exception):
    """Why an endpoint cannot be called by a template."""


def _grouped(
    exchanges: Sequence[Exchange], path: str | None, skipped: list[SkippedEntry]
) -> list[_Group]:
    groups: dict[tuple[str, str, str], _Group] = {}
    pattern = _pattern_of(path) if path is not None else None
    for exchange in exchanges:
        reason = _no_call(exchange)
        if reason:
            title = shown(exchange.method, exchange.url)
            skipped.append(SkippedEntry(title, reason, exchange.where))
            continue
        parts = urlsplit(exchange.url)
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        given = pattern.fullmatch(exchange.path) if pattern else None
        if given is not None and path is not None:
            template, values = _braced(path), {k: unquote(v) for k, v in given.groupdict().items()}
        else:
            template, values = _template_of(exchange.path)
        group = groups.setdefault(
            (exchange.method, origin, template), _Group(exchange.method, origin, template)
        )
        stripped = without_secrets(exchange, api_slug("", origin))
        group.exchanges.append(stripped.exchange)
        group.values.append(values)
        for reference in stripped.auth:
            group.auth.setdefault((reference.location, reference.name.lower()), reference)
    return list(groups.values())


def _no_call(exchange: Exchange) -> str | None:
    if exchange.method not in _METHODS:
        return f"the method {exchange.method[:20]!r} is not supported"
    asked = {name.lower() for name, _ in exchange.headers}
    if exchange.method == "OPTIONS" and "access-control-request-method" in asked:
        return "a browser asked whether it may call (CORS)"
    return None


def _template_of(path: str) -> tuple[str, dict[str, str]]:
    """The template of a path, and the values in its places."""
    segments: list[str] = []
    values: dict[str, str] = {}
    before = ""
    for segment in path.split("/"):
        text = unquote(segment)
        named = _PLACEHOLDER.fullmatch(text)
        if named or _IDENTIFIER.fullmatch(text):
            wanted = (named[1] or named[2]) if named else f"{_singular(before)}_id".lstrip("_")
            name = argument_name(wanted, values)
            values[name] = "" if named else text
            segments.append("{" + name + "}")
        else:
            segments.append(segment.replace("{", "%7B").replace("}", "%7D"))
            before = text
    return "/".join(segments), values


def _braced(path: str) -> str:
    return "/".join(
        "{" + (named[1] or named[2]) + "}" if (named := _PLACEHOLDER.fullmatch(part)) else part
        for part in path.split("/")
    )


def _pattern_of(path: str) -> re.Pattern[str]:
    parts = []
    for part in path.split("/"):
        named = _PLACEHOLDER.fullmatch(part)
        name = re.sub(r"\W", "_", named[1] or named[2]) if named else ""
        parts.append(f"(?P<{name}>[^/]+)" if named else re.escape(part))
    try:
        return re.compile("/".join(parts))
    except re.error:
        raise ImportDocumentError(f"{path!r} repeats the name of a place.") from None


def _singular(word: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_").lower()
    if plain.endswith("ies"):
        return plain[:-3] + "y"
    return plain[:-1] if plain.endswith("s") and not plain.endswith("ss") else plain


def _wanted_id(group: _Group) -> str:
    wanted, _ = operation_names(None, group.path, f"{group.origin}{group.path}")
    return f"http.{api_slug('', group.origin)}.{group.method.lower()}.{wanted}"


def _own_id(group: _Group) -> str:
    _, own = operation_names(None, group.path, f"{group.origin}{group.path}")
    return f"http.{api_slug('', group.origin)}.{group.method.lower()}.{own}"


def _manifest(
    group: _Group, capability_id: str, source: str, response_path: str, fixed: frozenset[str]
) -> Manifest:
    draft = _Draft()
    for name in group.values[0] if group.values else {}:
        texts = [values[name] for values in group.values if values.get(name)]
        draft.argument(name, _text_schema(texts), required=True)
    _listed(draft, "query", [one.query for one in group.exchanges], fixed)
    _headers(draft, group.exchanges, fixed)
    content_type = _read_body(draft, group.exchanges, fixed)
    schema: dict[str, Any] = {"type": "object", "properties": draft.properties}
    if draft.required:
        schema["required"] = draft.required
    try:
        return Manifest(
            id=capability_id,
            name=f"{group.method} {group.path}"[:120],
            description=f"{group.method} {group.origin}{group.path}, learned from "
            f"{len(group.exchanges)} example{'s' * (len(group.exchanges) != 1)}.",
            provider=HttpTemplateProvider(
                base_url=group.origin,
                method=group.method,  # type: ignore[arg-type]
                path=group.path,
                fields=tuple(draft.fields),
                body=draft.body,
                body_places=draft.places,
                content_type=content_type,
                response_path=response_path,
                auth=tuple(group.auth.values()),
            ),
            input_schema=schema | {"additionalProperties": False},
            output_schema=_output(group.exchanges, response_path),
            effect_type=_effect_type(group.method),
            effects=("destructive", "network") if group.method == "DELETE" else ("network",),
            domains=(api_slug("", group.origin),),
            metadata={"learned_from": source[:500], "examples": str(len(group.exchanges))},
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise _UnusableError(fault["msg"].removeprefix("Value error, ")) from error


def _effect_type(method: str) -> EffectType:
    if method in SAFE_METHODS:
        return EffectType.READ_ONLY
    return EffectType.IDEMPOTENT if method in ("PUT", "DELETE") else EffectType.EFFECTFUL


def _listed(
    draft: _Draft,
    location: Any,
    examples: Sequence[list[tuple[str, str]]],
    fixed: frozenset[str],
) -> None:
    """Query parameters or form fields."""
    grouped = [_by_name(pairs) for pairs in examples]
    for name in dict.fromkeys(name for one in grouped for name in one):
        seen = [one[name] for one in grouped if name in one]
        if not name:
            continue
        if _stays(name, [json.dumps(values) for values in seen], len(grouped), fixed):
            draft.fields += [HttpField(location=location, name=name, value=one) for one in seen[0]]
            continue
        texts = [text for values in seen for text in values]
        schema: JsonSchema = _text_schema(texts)
        if any(len(values) > 1 for values in seen):
            schema = {"type": "array", "items": schema}
        argument = draft.argument(name, schema, required=len(seen) == len(grouped))
        draft.fields.append(HttpField(location=location, name=name, argument=argument))


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _stays(name: str, seen: list[str], examples: int, fixed: frozenset[str]) -> bool:
    """Whether a part of the request is always the same."""
    if is_secret_name(name):
        return False
    return name in fixed or (examples > 1 and len(seen) == examples and len(set(seen)) == 1)


def _headers(draft: _Draft, exchanges: Sequence[Exchange], fixed: frozenset[str]) -> None:
    grouped = [{name.lower(): text for name, text in one.headers} for one in exchanges]
    for name in dict.fromkeys(name for one in grouped for name in one):
        if name in _NOT_SENT or name.startswith((":", "sec-", "x-forwarded-")):
            continue
        seen = [one[name] for one in grouped if name in one]
        if name in fixed or len(set(seen)) == 1:
            if len(seen) == len(grouped) or name in fixed:
                draft.fields.append(HttpField(location="header", name=name, value=seen[0]))
            continue
        argument = draft.argument(name, {"type": "string"}, required=len(seen) == len(grouped))
        draft.fields.append(HttpField(location="header", name=name, argument=argument))


def _read_body(draft: _Draft, exchanges: Sequence[Exchange], fixed: frozenset[str]) -> str | None:
    with_body = [one for one in exchanges if one.body is not None and one.content_type]
    if not with_body:
        return None
    first = with_body[0].content_type or ""
    alike = [one for one in with_body if essence(one.content_type or "") == essence(first)]
    everywhere = len(alike) == len(exchanges)
    kind = body_kind(first)
    readers: Mapping[BodyKind, Callable[[], None]] = {
        BodyKind.JSON: lambda: _json_body(draft, alike, fixed, everywhere),
        BodyKind.FORM: lambda: _listed(
            draft,
            "form",
            [parse_qsl(one.body or "", keep_blank_values=True) for one in alike],
            fixed,
        ),
        BodyKind.TEXT: lambda: _whole_body(draft, {"type": "string"}, everywhere),
        BodyKind.XML: lambda: _whole_body(draft, {"type": "string"}, everywhere),
    }
    if kind not in readers:
        raise _UnusableError(
            f"a body of type {essence(first)[:100]!r} is not learned from examples"
        )
    readers[kind]()
    return first[:200]


def _json_body(
    draft: _Draft, exchanges: Sequence[Exchange], fixed: frozenset[str], everywhere: bool
) -> None:
    values = []
    for one in exchanges:
        try:
            values.append(json.loads(one.body or ""))
        except (ValueError, RecursionError):
            raise _UnusableError("its body says that it is JSON and is not") from None
    if not all(isinstance(value, dict) for value in values):
        _whole_body(draft, inferred_schema(values), everywhere)
        return
    draft.body = {}
    for name in dict.fromkeys(name for value in values for name in value):
        seen = [value[name] for value in values if name in value]
        texts = [json.dumps(value, sort_keys=True) for value in seen]
        if _stays(name, texts, len(values), fixed):
            draft.body[name] = seen[0]
            continue
        needed = everywhere and len(seen) == len(values)
        argument = draft.argument(name, inferred_schema(seen), required=needed)
        draft.places[argument] = "/" + name.replace("~", "~0").replace("/", "~1")


def _whole_body(draft: _Draft, schema: JsonSchema, everywhere: bool) -> None:
    draft.places[draft.argument(_WHOLE, schema, required=everywhere)] = ""


def _text_schema(texts: Sequence[str]) -> dict[str, Any]:
    """The type of values that are written as text."""
    if texts and all(_INTEGER.fullmatch(text) for text in texts):
        return {"type": "integer"}
    if texts and all(_INTEGER.fullmatch(text) or _NUMBER.fullmatch(text) for text in texts):
        return {"type": "number"}
    if texts and set(texts) <= {"true", "false"}:
        return {"type": "boolean"}
    return {"type": "string"}


def _output(exchanges: Sequence[Exchange], response_path: str) -> JsonSchema | None:
    answers = [one.answer for one in exchanges if one.answered]
    parts = [part_of(answer, response_path) for answer in answers]
    found = [part for part in parts if not is_absent(part)]
    if answers and not found:
        raise ImportDocumentError(
            f"No answer among the examples has anything at {response_path}.",
            next_step="Name a place that the answers have, or leave --response-path out.",
        )
    return _loosened(inferred_schema(found)) if found else None


def _loosened(schema: JsonSchema) -> JsonSchema:
    """A few answers show what may be there, and not what always is."""
    if not isinstance(schema, dict):
        return schema
    loose = {key: value for key, value in schema.items() if key != "required"}
    if "type" in loose:
        kinds = loose["type"] if isinstance(loose["type"], list) else [loose["type"]]
        kinds = ["number" if kind == "integer" else kind for kind in kinds]
        loose["type"] = sorted({*kinds, "null"})
    if "properties" in loose:
        loose["properties"] = {name: _loosened(one) for name, one in loose["properties"].items()}
    if "items" in loose:
        loose["items"] = _loosened(loose["items"])
    return loose
