"""The secrets an operation needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from ccos.capabilities import (
    AuthReference,
    CertificateReference,
    OAuth2Reference,
    SecretReference,
)
from ccos.importers.openapi.findings import Notes
from ccos.importers.openapi.naming import environment_prefix
from ccos.importers.openapi.references import Place, References, UnusableError
from ccos.providers.parameter_styles import is_token

_KINDS: Final = {
    "apikey": "apiKey",
    "api_key": "apiKey",
    "basic": "basic",
    "bearer": "bearer",
    "http": "http",
    "jwt": "bearer",
    "mutualtls": "mutualTLS",
    "oauth": "bearer",
    "oauth2": "bearer",
    "openid": "bearer",
    "openidconnect": "bearer",
}
_HANDSHAKES: Final = frozenset(
    {"digest", "dpop", "hoba", "mutual", "negotiate", "ntlm", "privatetoken",
     "scram-sha-1", "scram-sha-256", "vapid"}
)  # fmt: skip
"""HTTP schemes that answer a challenge or sign the request: a fixed secret is not enough."""

_FLOWS: Final = ("clientCredentials", "application", "authorizationCode", "password", "")
"""Flows whose token endpoint also takes a client's own credentials or a refresh token."""
_OLD_FLOWS: Final = ("accessCode", "application", "password")
"""The same in Swagger 2.0, where a scheme is one flow."""
_MAXIMUM_URL: Final = 2_000
_MAXIMUM_SCOPES: Final = 100
_MAXIMUM_WAYS: Final = 50
_MAXIMUM_SECRETS: Final = 8


class UndescribedError(UnusableError):
    """The document names a security scheme and does not say what it is."""


class Security:
    """Reads what a document says about authentication.

    One secret is looked up as ``<API>_TOKEN``, ``<API>_API_KEY`` or ``CCOS_AUTH_<API>``; several
    are told apart by the names of their schemes: ``<API>_<SCHEME>_TOKEN`` and so on.

    Args:
        schemes: The security schemes of the document, by name.
        at: Where they stand.
        references: Follows references.
        notes: Receives what is not described.
        api: Short name of the API.
        location: Where the document was found; relative URLs count from there.
        preferred: Names of schemes that are used where they are offered, the best first.
    """

    def __init__(
        self,
        schemes: Any,
        at: Place,
        references: References,
        notes: Notes,
        *,
        api: str,
        location: str = "",
        preferred: Sequence[str] = (),
    ) -> None:
        self._schemes: Mapping[str, Any] = schemes if isinstance(schemes, dict) else {}
        self._at = at
        self._references = references
        self._notes = notes
        self._api = api
        self._location = location
        self._preferred = tuple(preferred)

    def read(self, requirements: Any, at: Place) -> tuple[SecretReference, ...]:
        """References to the secrets of the first way to authenticate that is supported.

        An operation that may be called without any secret needs none, unless a preferred scheme
        is offered. A scheme that the document does not describe adds nothing, and is noted.

        Args:
            requirements: The ``security`` of the operation or the document.
            at: Where it stands.

        Raises:
            UnusableError: No way to authenticate is supported.
        """
        ways = [_requirement(one) for one in _listed(requirements)[:_MAXIMUM_WAYS]]
        ways = sorted(ways, key=self._rank) if self._preferred else ways
        if not ways or ({} in ways and not set(ways[0] or {}) & set(self._preferred)):
            return ()
        faults: list[UnusableError] = []
        for way in ways:
            try:
                return self._all_of(way, at)
            except UnusableError as error:
                faults.append(error)
        undescribed = [fault for fault in faults if isinstance(fault, UndescribedError)]
        if undescribed:
            self._notes.add(at, f"{undescribed[0]}, so no secret is sent")
            return ()
        raise UnusableError("; ".join(dict.fromkeys(map(str, faults))), at)

    def bearer(self) -> AuthReference:
        """A secret that travels in ``Authorization``."""
        return AuthReference(scheme="bearer", environment=_environment(self._api))

    def _rank(self, way: dict[str, Any] | None) -> int:
        names = list(way or {})
        ranks = [self._preferred.index(name) for name in names if name in self._preferred]
        return min(ranks, default=len(self._preferred))

    def _all_of(self, way: dict[str, Any] | None, at: Place) -> tuple[SecretReference, ...]:
        if way is None:
            raise UnusableError("a security requirement is not an object", at)
        if len(way) > _MAXIMUM_SECRETS:
            raise UnusableError(f"a call needs more than {_MAXIMUM_SECRETS} secrets", at)
        found: dict[tuple[str, str, str], SecretReference] = {}
        names: list[str] = []
        for name, scopes in way.items():
            one = self._reference(
                name, f"{self._api}_{name}" if len(way) > 1 else self._api, scopes
            )
            # One token may satisfy several OAuth 2 schemes.
            key = _sent_as(one)
            if key not in found:
                found[key] = one
                names.append(name)
        if len({key[1:] for key in found}) < len(found):
            raise UnusableError("two secrets share one place in the request", at)
        if len(found) == 1 and len(way) > 1:
            return (self._reference(names[0], self._api, way[names[0]]),)
        return tuple(found.values())

    def _reference(self, name: str, prefix: str, scopes: Any) -> SecretReference:
        place = self._at.child(name)
        scheme = self._references.follow(self._schemes.get(name), place)[0]
        environment = _environment(prefix)
        if not isinstance(scheme, dict):
            raise UndescribedError(f"the security scheme {name[:100]!r} is not described", place)
        said = str(scheme.get("type", ""))
        kind = _KINDS.get(said.lower(), said)
        if kind == "apiKey":
            return _api_key(name, scheme, environment, place)
        if kind == "mutualTLS":
            return CertificateReference(environment=(f"{_prefix(prefix)}_CLIENT_CERTIFICATE",))
        http_scheme = str(scheme.get("scheme", "")).lower().strip() if kind == "http" else kind
        if http_scheme == "basic":
            return AuthReference(scheme="basic", environment=environment)
        if http_scheme == "bearer":
            granted = self._grant(scheme, prefix, scopes)
            return granted or AuthReference(scheme="bearer", environment=environment)
        if kind == "http" and http_scheme and http_scheme not in _HANDSHAKES:
            # Whatever the scheme is, the secret is all that follows "Authorization:".
            return AuthReference(scheme="api_key", environment=environment)
        if not (kind == "http" and http_scheme):
            raise UndescribedError(f"the security scheme {name[:100]!r} is of no known type", place)
        raise UnusableError(
            f"authentication by {f'HTTP {http_scheme}'[:100]!r} is not supported", place
        )

    def _grant(self, scheme: Mapping[str, Any], prefix: str, scopes: Any) -> OAuth2Reference | None:
        """How to get an access token without a person; None if the document does not say."""
        discovery = self._url(scheme.get("openIdConnectUrl"))
        flows = scheme.get("flows")
        listed = {"": scheme, **flows} if isinstance(flows, dict) else {"": scheme}
        token_url: str | None = None
        for name in _FLOWS:
            flow = listed.get(name)
            if name == "" and scheme.get("flow") not in _OLD_FLOWS:
                continue
            if isinstance(flow, dict):
                token_url = token_url or self._url(flow.get("tokenUrl"))
        if token_url is None and discovery is None:
            return None
        start = _prefix(prefix)
        asked = scopes if isinstance(scopes, list) else []
        return OAuth2Reference(
            environment=_environment(prefix),
            token_url=token_url,
            discovery_url=discovery if token_url is None else None,
            scopes=tuple(
                dict.fromkeys(one for one in asked if isinstance(one, str) and 0 < len(one) <= 500)
            )[:_MAXIMUM_SCOPES],
            client_id=(f"{start}_CLIENT_ID",),
            client_secret=(f"{start}_CLIENT_SECRET",),
            refresh_token=(f"{start}_REFRESH_TOKEN",),
        )

    def _url(self, value: Any) -> str | None:
        """An absolute URL, counted from where the document was found."""
        if not isinstance(value, str) or not value or len(value) > _MAXIMUM_URL:
            return None
        try:
            joined = urljoin(self._location, value) if _is_url(self._location) else value
            parts = urlsplit(joined)
        except ValueError:
            return None
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        return joined if usable and not re.search(r"[{}\s\\]", joined) else None


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _sent_as(reference: SecretReference) -> tuple[str, str, str]:
    """Kind, place and name of a secret in a request."""
    if isinstance(reference, AuthReference):
        return reference.scheme, reference.location, reference.name.lower()
    if isinstance(reference, CertificateReference):
        return "certificate", "connection", ""
    return "bearer", "header", "authorization"


def _api_key(
    name: str, scheme: Mapping[str, Any], environment: tuple[str, ...], place: Place
) -> AuthReference:
    location, field = str(scheme.get("in", "")).lower(), scheme.get("name")
    if not isinstance(field, str) or not field:
        raise UndescribedError(f"the API key {name[:100]!r} has no place in the request", place)
    match location:
        case "header" | "query" | "cookie":
            pass
        case _:
            raise UndescribedError(f"the API key {name[:100]!r} has no place in the request", place)
    if location != "query" and not is_token(field):
        raise UnusableError(f"{field[:100]!r} cannot be the name of a {location}", place)
    return AuthReference(scheme="api_key", location=location, name=field, environment=environment)


def _listed(requirements: Any) -> list[Any]:
    if isinstance(requirements, dict):
        return [requirements] if requirements else []
    return requirements if isinstance(requirements, list) else []


def _requirement(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        return {value: []}
    return value if isinstance(value, dict) else None


def _environment(api: str) -> tuple[str, ...]:
    prefix = _prefix(api)
    return f"{prefix}_TOKEN", f"{prefix}_API_KEY", f"CCOS_AUTH_{prefix.lstrip('_')}"


def _prefix(api: str) -> str:
    return environment_prefix(api)[:150]
