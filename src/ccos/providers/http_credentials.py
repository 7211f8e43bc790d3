"""Secrets on their way into one request."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ccos.capabilities import AuthReference
from ccos.errors import ProviderUnavailableError
from ccos.providers.base import Secrets
from ccos.providers.parameter_styles import Pairs, escape, is_token

_SCHEMES = ("bearer ", "token ", "basic ")


@dataclass(slots=True)
class Credentials:
    """What the secrets of one request add to it, ready to be sent."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    query: Pairs = field(default_factory=list, repr=False)
    cookies: Pairs = field(default_factory=list, repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)
    """Every spelling of every secret, so that a message can be cleared of them."""
    client_certificate: Path | None = None
    """PEM file to show to the server."""

    def redact(self, text: str) -> str:
        """The text with every secret replaced by ``***``."""
        for secret in sorted(self.texts, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def find_credentials(
    references: Iterable[AuthReference], secrets: Secrets, *, capability: str
) -> Credentials:
    """Look up the secrets that a request needs.

    A bearer secret that already starts with ``Bearer``, ``Token`` or ``Basic`` is sent as it is.
    A basic secret is ``user:password``, or a user name alone (RFC 7617).

    Args:
        references: Which secrets, and where each goes; all of them are needed.
        secrets: Where they are looked up.
        capability: The capability's id, for messages.

    Raises:
        ProviderUnavailableError: A secret is not set, or no header can carry it. Nothing was
            sent.
    """
    found = Credentials()
    for reference in references:
        secret = secrets.find(reference.environment)
        if secret is None:
            raise ProviderUnavailableError(
                f"{capability} needs a secret that is not set.",
                next_step=f"Set {either(reference.environment)} and call again.",
                details={"environment": list(reference.environment), "reason": "secret-missing"},
            )
        secret = secret.strip()
        text = _written(reference.scheme, secret)
        spellings = {secret, text, escape(secret), text.partition(" ")[2]}
        if reference.scheme == "basic":
            spellings.add(secret.partition(":")[2])
        found.texts += tuple(spellings - {""})
        if reference.location == "query":
            found.query.append((escape(reference.name), escape(text)))
            continue
        if not (is_token(reference.name) and text.isascii() and text.isprintable()):
            raise ProviderUnavailableError(
                f"The secret of {capability} cannot be sent in the {reference.location} "
                f"{reference.name!r}.",
                next_step=f"Check {either(reference.environment)} for line breaks and letters "
                "beyond ASCII.",
                details={"environment": list(reference.environment), "reason": "secret-malformed"},
            )
        if reference.location == "cookie":
            found.cookies.append((reference.name, escape(text)))
        else:
            found.headers[reference.name] = text
    return found


def _written(scheme: str, secret: str) -> str:
    if scheme == "api_key" or secret.lower().startswith(_SCHEMES):
        return secret
    if scheme == "bearer":
        return f"Bearer {secret}"
    pair = secret if ":" in secret else f"{secret}:"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def either(names: tuple[str, ...]) -> str:
    """The names of which one is enough, for a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
