"""A curl command is read as a description of a request; it is never run."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from ccos.errors import ImportDocumentError
from ccos.importers.http.exchange import Exchange, is_usable

_MAXIMUM_TEXT: Final = 200_000
_WITH_VALUE: Final = {
    "-X": "request", "--request": "request", "-H": "header", "--header": "header",
    "-d": "data", "--data": "data", "--data-ascii": "data", "--data-raw": "data-raw",
    "--data-binary": "data-binary", "--data-urlencode": "data-urlencode", "--json": "json",
    "-u": "user", "--user": "user", "-b": "cookie", "--cookie": "cookie", "--url": "url",
    "--oauth2-bearer": "bearer", "-A": "ignored", "--user-agent": "ignored", "-e": "ignored",
    "--referer": "ignored", "-o": "ignored", "--output": "ignored", "-m": "ignored",
    "--max-time": "ignored", "--connect-timeout": "ignored", "--retry": "ignored",
    "--retry-delay": "ignored", "--max-redirs": "ignored", "-w": "ignored",
    "--write-out": "ignored", "-D": "ignored", "--dump-header": "ignored", "-c": "ignored",
    "--cookie-jar": "ignored", "--cacert": "ignored", "--limit-rate": "ignored",
}  # fmt: skip
_FLAGS: Final = {
    "-G": "get", "--get": "get", "-I": "head", "--head": "head", "-s": "", "--silent": "",
    "-S": "", "--show-error": "", "-L": "", "--location": "", "-v": "", "--verbose": "",
    "-i": "", "--include": "", "--compressed": "", "-f": "", "--fail": "", "-g": "",
    "--globoff": "", "-#": "", "--progress-bar": "", "-N": "", "--no-buffer": "",
    "--http1.1": "", "--http2": "", "--fail-with-body": "", "--no-progress-meter": "",
    "-k": "", "--insecure": "", "--path-as-is": "", "-O": "", "-J": "",
}  # fmt: skip
"""Flags that mean nothing for the request have no meaning here; certificates are always checked."""
_OPERATORS: Final = frozenset(";&|<>()")
_FORM: Final = "application/x-www-form-urlencoded"


def exchange_of_curl(command: str) -> Exchange:
    """The request that a curl command makes.

    ``$NAME`` in it stays as it is, for whoever looks for secrets. No file that it names is read.

    Raises:
        ImportDocumentError: It is not one curl command, or has an option that is not understood.
    """
    seen: dict[str, list[str]] = {}
    urls: list[str] = []
    for option, value in _options(_words(command)):
        if option == "url":
            urls.append(value)
        elif option not in ("", "ignored"):
            seen.setdefault(option, []).append(value)
    if len(urls) != 1:
        raise _fault(f"it has {len(urls)} URLs instead of one")
    (url,) = urls
    url = url if "://" in url else f"https://{url}"
    headers = [_header(text) for text in seen.get("header", [])]
    headers += [("Cookie", text) for text in seen.get("cookie", [])]
    headers += [("Authorization", f"Bearer {text}") for text in seen.get("bearer", [])]
    for user in seen.get("user", []):
        hidden = user if "$" in user else base64.b64encode(user.encode()).decode()
        headers.append(("Authorization", f"Basic {hidden}"))
    body, content_type = _body(seen, {name.lower(): text for name, text in headers})
    if "get" in seen and body is not None:
        url += ("&" if "?" in url else "?") + body
        body = content_type = None
    usual = "HEAD" if "head" in seen else "GET" if body is None else "POST"
    method = seen.get("request", [usual])[-1].upper()
    if not is_usable(url):
        raise _fault("its URL is not an http or https URL")
    return Exchange(method, url, tuple(headers), content_type, body)


def _words(command: str) -> list[str]:
    if len(command) > _MAXIMUM_TEXT:
        raise _fault(f"it has more than {_MAXIMUM_TEXT} characters")
    text = re.sub(r"\\\r?\n", " ", command.strip().removeprefix("$ "))
    if re.search(r"(?<![\\\w])\$'", text):
        raise _fault("$'…' is a spelling of some shells", "Write the text in plain quotes.")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise _fault(f"{str(error).lower()}") from None
    if words[:1] != ["curl"]:
        raise _fault("it does not begin with curl")
    if any(word and set(word) <= _OPERATORS for word in words):
        raise _fault("it holds more than one command", "Quote URLs that hold & or ;.")
    if any("`" in word or "$(" in word for word in words):
        raise _fault("it would run another command")
    return words[1:]


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    waiting = iter(words)
    for word in waiting:
        name, equals, attached = word.partition("=")
        if word in _FLAGS:
            yield _FLAGS[word], ""
        elif word in _WITH_VALUE:
            value = next(waiting, None)
            if value is None:
                raise _fault(f"the option {word} has no value")
            yield _WITH_VALUE[word], value
        elif name in _WITH_VALUE and name.startswith("--") and equals:
            yield _WITH_VALUE[name], attached
        elif word[:2] in _WITH_VALUE and not word.startswith("--"):
            yield _WITH_VALUE[word[:2]], word[2:]
        elif re.fullmatch(r"-[A-Za-z#]{2,}", word) and all(f"-{one}" in _FLAGS for one in word[1:]):
            yield from ((_FLAGS[f"-{one}"], "") for one in word[1:])
        elif word.startswith("-") and word != "-":
            raise _fault(f"the option {word[:40]} is not understood")
        else:
            yield "url", word


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise _fault(f"the header {text[:40]!r} has no name and value")
    return name.strip(), value.strip()


def _body(seen: dict[str, list[str]], headers: dict[str, str]) -> tuple[str | None, str | None]:
    parts: list[str] = []
    for option in ("data", "data-binary", "json"):
        for text in seen.get(option, []):
            if text.startswith("@"):
                raise _fault("its body is in a file, which is not read", "Write the body itself.")
            parts.append(text.replace("\n", "") if option == "data" else text)
    parts += seen.get("data-raw", [])
    for text in seen.get("data-urlencode", []):
        name, equals, value = text.partition("=")
        if "@" in name:
            raise _fault("its body is in a file, which is not read", "Write the body itself.")
        encoded = quote(value if equals else name, safe="")
        parts.append(f"{name}={encoded}" if equals and name else encoded)
    if not parts:
        return None, None
    is_json = "json" in seen
    usual = "application/json" if is_json else _FORM
    return ("" if is_json else "&").join(parts), headers.get("content-type", usual)


def _fault(reason: str, next_step: str | None = None) -> ImportDocumentError:
    return ImportDocumentError(
        f"The curl command cannot be used: {reason}.",
        next_step=next_step or "Give one curl command with one URL, quoted as a shell wants it.",
    )
