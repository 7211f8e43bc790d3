"""Access tokens of OAuth 2: asked for when a call needs one, and kept in memory while they last."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from ccos.capabilities import (
    AuthReference,
    CertificateReference,
    OAuth2Reference,
    SecretReference,
)
from ccos.egress import parse_json
from ccos.errors import EgressError, ProviderUnavailableError
from ccos.providers.base import Secrets
from ccos.providers.http_client import HttpClient
from ccos.providers.http_credentials import Credentials, either, find_credentials
from ccos.providers.http_results import HttpResponse
from ccos.providers.parameter_styles import escape

_TIMEOUT_SECONDS: Final = 30.0
_USUAL_SECONDS: Final = 300.0
"""How long a token is used whose answer does not say how long it lasts."""
_MARGIN_SECONDS: Final = 30.0
_BASIC: Final = "client_secret_basic"
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(slots=True)
class _Held:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    """The newest one, where the server gives a new one with each token."""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Client:
    identifier: str | None = field(repr=False)
    secret: str | None = field(repr=False)


class AccessTokens:
    """Finds the secrets of calls, and gets access tokens where a reference asks for them.

    Args:
        http: Reaches token endpoints, under the policy of the installation.
        secrets: Where secrets are looked up; nothing of it is kept but access tokens and the
            refresh tokens that came with them, in memory.
        clock: Tells seconds.
    """

    def __init__(
        self, http: HttpClient, secrets: Secrets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._secrets = secrets
        self._clock = clock
        self._held: dict[tuple[OAuth2Reference, _Client, str | None], _Held] = {}

    async def credentials(
        self, references: Iterable[SecretReference], *, capability: str
    ) -> Credentials:
        """What the secrets of one request add to it.

        Args:
            references: Which secrets; all of them are needed.
            capability: The capability's id, for messages.

        Raises:
            ProviderUnavailableError: A secret is not set or cannot be sent, or no access token was
                given for it. The call itself was not sent.
        """
        listed = tuple(references)
        plain = [one for one in listed if isinstance(one, AuthReference)]
        found = find_credentials(plain, self._secrets, capability=capability)
        for one in listed:
            if isinstance(one, OAuth2Reference):
                token = await self._token(one, capability)
                found.headers["Authorization"] = f"Bearer {token}"
                found.texts += (token, escape(token))
            elif isinstance(one, CertificateReference):
                path = self._secrets.find(one.environment)
                if path is None:
                    raise _missing(capability, "a client certificate", one.environment)
                found.client_certificate = Path(path)
        return found

    def forget(self, references: Iterable[SecretReference]) -> None:
        """Use no token again that was got for these, since a server refused one."""
        gone = set(references)
        for (reference, _, _), held in self._held.items():
            if reference in gone:
                held.token = ""

    async def _token(self, reference: OAuth2Reference, capability: str) -> str:
        given = self._secrets.find(reference.environment)
        if given is not None:
            return _sendable(given.strip().removeprefix("Bearer ").strip(), capability)
        refresh = self._secrets.find(reference.refresh_token)
        client = _Client(
            self._secrets.find(reference.client_id), self._secrets.find(reference.client_secret)
        )
        if refresh is None and (client.identifier is None or client.secret is None):
            raise _missing(
                capability,
                "an access token, a refresh token, or a client id and secret",
                (*reference.environment, *reference.refresh_token, *reference.client_secret),
            )
        held = self._held.setdefault((reference, client, refresh), _Held())
        async with held.lock:
            if not held.token or self._clock() >= held.until:
                await self._exchange(reference, client, held, refresh, capability)
            return held.token

    async def _exchange(
        self,
        reference: OAuth2Reference,
        client: _Client,
        held: _Held,
        refresh: str | None,
        capability: str,
    ) -> None:
        url, methods = await self._endpoint(reference, capability)
        form: dict[str, str] = {"grant_type": "client_credentials"}
        secrets = [one for one in (client.secret, refresh, held.refresh_token) if one]
        if refresh is not None:
            form = {"grant_type": "refresh_token", "refresh_token": held.refresh_token or refresh}
        if reference.scopes:
            form["scope"] = " ".join(reference.scopes)
        headers = {
            "accept": "application/json",
            "content-type": "application/x-www-form-urlencoded",
        }
        if client.identifier and client.secret and _BASIC in methods:
            # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            pair = f"{escape(client.identifier)}:{escape(client.secret)}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif client.identifier:
            form["client_id"] = client.identifier
            if client.secret:
                form["client_secret"] = client.secret
        answer = await self._ask(
            "POST", url, capability, secrets, headers=headers, content=urlencode(form)
        )
        token, kind = answer.get("access_token"), answer.get("token_type", "bearer")
        if not isinstance(token, str) or not token or str(kind).lower() != "bearer":
            raise _refused(capability, url, "it gave no bearer token")
        held.token = _sendable(token, capability)
        if isinstance(answer.get("refresh_token"), str):
            held.refresh_token = answer["refresh_token"]
        seconds = answer.get("expires_in", _USUAL_SECONDS)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            seconds = float(seconds) if str(seconds).isdecimal() else _USUAL_SECONDS
        held.until = self._clock() + max(seconds - _MARGIN_SECONDS, seconds / 2)

    async def _endpoint(self, reference: OAuth2Reference, capability: str) -> tuple[str, list[Any]]:
        """The token endpoint, and how clients may prove themselves there."""
        if reference.token_url is not None:
            return reference.token_url, [_BASIC]
        discovery = reference.discovery_url
        if discovery is None:
            raise _missing(capability, "an access token", reference.environment)
        found = await self._ask("GET", discovery, capability, [])
        url = found.get("token_endpoint")
        joined = urljoin(discovery, url) if isinstance(url, str) else ""
        same_host = urlsplit(joined)[:2] == urlsplit(discovery)[:2]
        if not same_host and not (joined.startswith("https://") and _vouches(found, discovery)):
            # What a document names may get a secret only where somebody agreed to its issuer.
            raise _refused(capability, discovery, "it names no token endpoint of its own")
        methods = found.get("token_endpoint_auth_methods_supported", [_BASIC])
        return joined, methods if isinstance(methods, list) else [_BASIC]

    async def _ask(
        self, method: str, url: str, capability: str, secrets: list[str], **request: Any
    ) -> dict[str, Any]:
        try:
            response: HttpResponse = await self._http.request(
                method,
                url,
                purpose=f"get an access token for {capability}",
                extra_allowed_hosts=frozenset({urlsplit(url).hostname or ""}),
                only_hosts=frozenset({urlsplit(url).hostname or ""}),
                timeout_seconds=_TIMEOUT_SECONDS,
                **request,
            )
            answer = parse_json(response.body)
        except EgressError as error:
            raise _refused(capability, url, error.message) from error
        if not isinstance(answer, dict):
            raise _refused(capability, url, "its answer is no object")
        if response.status != 200:
            said = answer.get("error_description") or answer.get("error") or "no reason given"
            text = Credentials(texts=tuple(secrets)).redact(str(said)[:500])
            raise _refused(capability, url, f"it answered {response.status}: {text}")
        return answer


def _vouches(found: dict[str, Any], discovery: str) -> bool:
    """Whether a document is the issuer's own (OpenID Connect Discovery 1.0, section 4.3)."""
    issuer = found.get("issuer")
    return isinstance(issuer, str) and discovery == issuer.rstrip("/") + _WELL_KNOWN


def _sendable(token: str, capability: str) -> str:
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token
    raise ProviderUnavailableError(
        f"The access token for {capability} cannot be sent in a header.",
        details={"reason": "secret-malformed"},
    )


def _missing(capability: str, what: str, names: tuple[str, ...]) -> ProviderUnavailableError:
    return ProviderUnavailableError(
        f"{capability} needs {what}, and none is set.",
        next_step=f"Set {either(names)} and call again.",
        details={"environment": list(names), "reason": "secret-missing"},
    )


def _refused(capability: str, url: str, reason: str) -> ProviderUnavailableError:
    shown = "".join(one if one.isprintable() else " " for one in reason)
    return ProviderUnavailableError(
        f"{capability} got no access token from {urlsplit(url).hostname}: {shown.rstrip('.')}.",
        next_step="Check the client's secrets, and that the token endpoint may be reached.",
        details={"reason": "token-refused", "url": url},
    )
