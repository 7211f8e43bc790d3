"""The secrets an operation needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ccos.capabilities import AuthReference
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

_UNSUPPORTED: Final = frozenset({"mutualTLS"})
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
        preferred: Sequence[str] = (),
    ) -> None:
        self._schemes: Mapping[str, Any] = schemes if isinstance(schemes, dict) else {}
        self._at = at
        self._references = references
        self._notes = notes
        self._api = api
        self._preferred = tuple(preferred)

    def read(self, requirements: Any, at: Place) -> tuple[AuthReference, ...]:
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

    def _all_of(self, way: dict[str, Any] | None, at: Place) -> tuple[AuthReference, ...]:
        if way is None:
            raise UnusableError("a security requirement is not an object", at)
        if len(way) > _MAXIMUM_SECRETS:
            raise UnusableError(f"a call needs more than {_MAXIMUM_SECRETS} secrets", at)
        found: dict[tuple[str, str, str], AuthReference] = {}
        for name in way:
            environment = _environment(f"{self._api}_{name}" if len(way) > 1 else self._api)
            one = self._reference(name, environment)
            # One token may satisfy several OAuth 2 schemes.
            found.setdefault((one.scheme, one.location, one.name.lower()), one)
        if len({(location, name) for _, location, name in found}) < len(found):
            raise UnusableError("two secrets share one place in the request", at)
        if len(found) == 1:
            (one,) = found.values()
            return (one.model_copy(update={"environment": _environment(self._api)}),)
        return tuple(found.values())

    def _reference(self, name: str, environment: tuple[str, ...]) -> AuthReference:
        place = self._at.child(name)
        scheme = self._references.follow(self._schemes.get(name), place)[0]
        if not isinstance(scheme, dict):
            raise UndescribedError(f"the security scheme {name[:100]!r} is not described", place)
        said = str(scheme.get("type", ""))
        kind = _KINDS.get(said.lower(), said)
        if kind == "apiKey":
            return _api_key(name, scheme, environment, place)
        http_scheme = str(scheme.get("scheme", "")).lower().strip() if kind == "http" else kind
        if http_scheme == "basic":
            return AuthReference(scheme="basic", environment=environment)
        if http_scheme == "bearer":
            return AuthReference(scheme="bearer", environment=environment)
        if kind == "http" and http_scheme and http_scheme not in _HANDSHAKES:
            # Whatever the scheme is, the secret is all that follows "Authorization:".
            return AuthReference(scheme="api_key", environment=environment)
        if kind not in _UNSUPPORTED and not (kind == "http" and http_scheme):
            raise UndescribedError(f"the security scheme {name[:100]!r} is of no known type", place)
        what = f"HTTP {http_scheme}" if kind == "http" else said
        raise UnusableError(f"authentication by {what[:100]!r} is not supported", place)


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
    prefix = environment_prefix(api)[:150]
    return f"{prefix}_TOKEN", f"{prefix}_API_KEY", f"CCOS_AUTH_{prefix.lstrip('_')}"
