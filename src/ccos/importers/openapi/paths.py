"""Path templates, from the several ways in which they are written to ``/users/{id}``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from ccos.importers.openapi.references import UnusableError
from ccos.providers.parameter_styles import placeholders

_EXPRESSION: Final = re.compile(
    r"\{\{\s*(?P<double>[\w.-]+)\s*\}\}"
    r"|\{(?P<operator>[+#?&/.;]?)\s*(?P<names>[^{}=:*/]+?)\s*"
    r"(?P<more>\*|[=:](?:[^{}]|\{[0-9,]*\})*)?\s*\}"
    r"|<(?:[a-z]+:)?(?P<angle>[A-Za-z_]\w*)>"
)
_MAXIMUM_LENGTH: Final = 2_000
_COLON: Final = re.compile(r"(?<=/):([A-Za-z_]\w*)(?=[/?.:]|$)")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path as it is sent."""

    text: str
    several_segments: frozenset[str] = frozenset()
    """Placeholders whose values may hold slashes."""
    query: tuple[str, ...] = field(default=())
    """Names of query parameters that the path itself mentions."""

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders, each once."""
        return tuple(dict.fromkeys(placeholders(self.text.partition("?")[0])))


def path_template(path: str, described: Collection[str]) -> PathTemplate:
    """The template that a path means.

    Understood are ``{+name}``, ``{name*}`` and ``{?a,b}`` (RFC 6570), ``{name=projects/*}``
    (Google), ``{id:[0-9]+}``, ``<int:id>`` and ``{{id}}``; and ``:id`` where a path parameter of
    this name is described.

    Args:
        path: The path as the document has it. Its fragment is never sent (RFC 9110, section 7.1).
        described: Names of the path parameters that the document describes.

    Raises:
        UnusableError: It is too long.
    """
    if len(path) > _MAXIMUM_LENGTH:
        raise UnusableError(f"the path has more than {_MAXIMUM_LENGTH} characters")
    several: set[str] = set()
    query: list[str] = []

    def plain(match: re.Match[str]) -> str:
        whole = match[0][1:-1]
        if whole in described:
            return match[0]
        name = match["double"] or match["angle"]
        if name:
            return "{" + name + "}"
        names, more = match["names"], match["more"] or ""
        if match["operator"] in ("?", "&"):
            query.extend(part.strip(" *") for part in names.split(","))
            return ""
        if match["operator"] in ("+", "#") or "/" in more or more in (":.*", ":.+"):
            several.add(names)
        return "{" + names + "}"

    sent = "/" + path.lstrip("/")
    hash_at = re.search(r"#(?![^{]*\})", sent)
    sent = sent[: hash_at.start()] if hash_at else sent
    text = _EXPRESSION.sub(plain, sent)
    if ":" in text:
        text = _COLON.sub(lambda m: "{" + m[1] + "}" if m[1] in described else m[0], text)
    return PathTemplate(text, frozenset(several), tuple(dict.fromkeys(query)))
