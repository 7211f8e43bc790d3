"""A request that was made, with its answer where that is known."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from ccos.errors import ImportDocumentError
from ccos.providers.media_types import BodyKind, body_kind, essence

MAXIMUM_EXCHANGES: Final = 20_000
_MAXIMUM_URL: Final = 8_000
_PASSED_OVER: Final = ("image/", "font/", "audio/", "video/", "text/css", "text/html")
_SCRIPTS: Final = frozenset({"text/javascript", "application/javascript", "application/wasm"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what was answered. It may hold secrets, so its text shows little of it."""

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    content_type: str | None = None
    """Media type of the body; None without one."""
    body: str | None = field(default=None, repr=False)
    where: str = ""
    """JSON Pointer into the file it comes from."""
    answered: bool = False
    """Whether ``answer`` is the JSON of a good answer."""
    answer: Any = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.url).path or "/"

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters of the URL."""
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry of a file that is no example of a call."""

    what: str
    reason: str
    where: str


def exchanges_of(
    document: Mapping[str, Any], location: str
) -> tuple[list[Exchange], list[SkippedEntry]]:
    """The exchanges of a HAR file (HTTP Archive 1.2) or a file of examples.

    Examples are ``{"examples": [{"request": {"method", "url", "headers", "body"}, "response":
    {"status", "body"}}]}``, where headers are an object, a body is JSON data or text, and all but
    the URL may be left out. Pages, pictures and scripts in a HAR file are passed over.

    Args:
        document: The file as read.
        location: Its name, for messages.

    Raises:
        ImportDocumentError: It is neither.
    """
    log, examples = document.get("log"), document.get("examples")
    if isinstance(log, dict) and isinstance(log.get("entries"), list):
        listed, pointer, read = log["entries"], "/log/entries", _har_entry
    elif isinstance(examples, list):
        listed, pointer, read = examples, "/examples", _example
    else:
        raise ImportDocumentError(
            f"{location} is neither a HAR file nor a list of examples.",
            next_step='Give an archive that a browser saved, or {"examples": [{"request": …}]}.',
            details={"location": location},
        )
    found: list[Exchange] = []
    skipped: list[SkippedEntry] = []
    for number, entry in enumerate(listed[:MAXIMUM_EXCHANGES]):
        where = f"{pointer}/{number}"
        try:
            found.append(read(entry, where))
        except _NoExampleError as error:
            skipped.append(SkippedEntry(_title(entry), str(error), where))
    if len(listed) > MAXIMUM_EXCHANGES:
        reason = f"only the first {MAXIMUM_EXCHANGES} entries are read"
        skipped.append(SkippedEntry("", reason, pointer))
    return found, skipped


class _NoExampleError(Exception):
    """Why an entry is passed over."""


def _har_entry(entry: Any, where: str) -> Exchange:
    request, response = _member(entry, "request"), _member(entry, "response")
    content = _member(response, "content")
    media_type = str(content.get("mimeType") or "")
    if essence(media_type).startswith(_PASSED_OVER) or essence(media_type) in _SCRIPTS:
        raise _NoExampleError(f"it is a page or a part of one ({essence(media_type)})")
    posted = _member(request, "postData")
    sent_type = str(posted.get("mimeType") or "") or None
    body = posted.get("text")
    parameters = posted.get("params")
    if not isinstance(body, str) and isinstance(parameters, list) and parameters:
        pairs = [(one.get("name"), one.get("value", "")) for one in parameters if _is_named(one)]
        body = urlencode([(str(name), str(value)) for name, value in pairs])
    headers = request.get("headers")
    pairs = [
        (one["name"], one["value"])
        for one in (headers if isinstance(headers, list) else [])
        if _is_named(one) and isinstance(one.get("value"), str)
    ]
    answered, answer = _har_answer(response, content, media_type)
    return _exchange(request, tuple(pairs), sent_type, body, where, answered, answer)


def _har_answer(response: dict[str, Any], content: dict[str, Any], media_type: str) -> Any:
    text, status = content.get("text"), response.get("status")
    if not isinstance(text, str) or not isinstance(status, int) or not 200 <= status < 300:
        return False, None
    if content.get("encoding") == "base64":
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, ValueError):
            return False, None
    if body_kind(media_type) is not BodyKind.JSON:
        return False, None
    return _parsed(text)


def _example(entry: Any, where: str) -> Exchange:
    request, response = _member(entry, "request"), _member(entry, "response")
    headers = request.get("headers")
    pairs = [
        (name, str(value))
        for name, value in (headers.items() if isinstance(headers, dict) else ())
        if isinstance(value, str | int | float)
    ]
    body = request.get("body")
    given = next((value for name, value in pairs if name.lower() == "content-type"), None)
    if body is not None and not isinstance(body, str):
        body, given = json.dumps(body, ensure_ascii=False), given or "application/json"
    status = response.get("status", 200)
    good = isinstance(status, int) and 200 <= status < 300 and "body" in response
    content_type = (given or "text/plain") if isinstance(body, str) else None
    return _exchange(request, tuple(pairs), content_type, body, where, good, response.get("body"))


def _exchange(
    request: dict[str, Any],
    headers: Sequence[tuple[str, str]],
    content_type: str | None,
    body: Any,
    where: str,
    answered: bool,
    answer: Any,
) -> Exchange:
    url, method = request.get("url"), str(request.get("method") or "GET").upper()
    if not isinstance(url, str) or len(url) > _MAXIMUM_URL:
        raise _NoExampleError("it has no URL, or one that is too long")
    return Exchange(
        method,
        checked_url(url),
        tuple(headers),
        content_type if isinstance(body, str) else None,
        body if isinstance(body, str) else None,
        where,
        answered,
        answer,
    )


def checked_url(url: str) -> str:
    """The URL, if a call may go there.

    Raises:
        _NoExampleError: It is not an absolute http or https URL.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _NoExampleError("its URL is not an absolute http or https URL")
    return url


def is_usable(url: str) -> bool:
    """Whether a URL is an absolute http or https URL."""
    try:
        checked_url(url)
    except _NoExampleError:
        return False
    return True


def _parsed(text: str) -> tuple[bool, Any]:
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def _member(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _title(entry: Any) -> str:
    request = _member(entry, "request")
    return shown(str(request.get("method", "")), str(request.get("url", "")))


def shown(method: str, url: str) -> str:
    """A request as it may be shown: without its query, which may hold secrets."""
    plain = url.partition("#")[0].partition("?")[0]
    return f"{method[:20]} {plain.rpartition('@')[2][:200]}".strip()
