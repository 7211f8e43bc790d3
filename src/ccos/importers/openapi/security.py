"""The secrets an operation needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccos.capabilities import AuthReference
from ccos.importers.openapi.naming import environment_prefix
from ccos.importers.openapi.references import References, UnusableError
from ccos.providers.parameter_styles import is_token


def read_auth(
    requirements: Any, schemes: Mapping[str, Any], references: References, *, api: str
) -> tuple[AuthReference, ...]:
    """References to the secrets of the first way to authenticate that is supported.

    An operation that may be called without any secret needs none. One secret is looked up as
    ``<API>_TOKEN``, ``<API>_API_KEY`` or ``CCOS_AUTH_<API>``; several are told apart by the names
    of their schemes: ``<API>_<SCHEME>_TOKEN`` and so on.

    Args:
        requirements: The ``security`` of the operation or the document.
        schemes: The security schemes of the document.
        references: Follows references.
        api: Short name of the API.

    Raises:
        UnusableError: No way to authenticate is supported.
    """
    if not isinstance(requirements, list) or not requirements or {} in requirements:
        return ()
    reasons: list[str] = []
    for requirement in requirements:
        try:
            return _all_of(requirement, schemes, references, api)
        except UnusableError as error:
            reasons.append(str(error))
    raise UnusableError("; ".join(dict.fromkeys(reasons)))


def bearer(api: str) -> AuthReference:
    """A secret that travels in ``Authorization``."""
    return AuthReference(scheme="bearer", environment=_environment(api))


def _all_of(
    requirement: Any, schemes: Mapping[str, Any], references: References, api: str
) -> tuple[AuthReference, ...]:
    if not isinstance(requirement, dict):
        raise UnusableError("a security requirement is not an object")
    several = len(requirement) > 1
    found = tuple(
        _reference(
            name,
            references.follow(schemes.get(name)),
            _environment(f"{api}_{name}" if several else api),
        )
        for name in requirement
    )
    if len({(one.location, one.name.lower()) for one in found}) < len(found):
        raise UnusableError("two secrets share one place in the request")
    return found


def _reference(name: str, scheme: Any, environment: tuple[str, ...]) -> AuthReference:
    if not isinstance(scheme, dict):
        raise UnusableError(f"the security scheme {name[:100]!r} is not described")
    kind = scheme.get("type")
    if kind == "apiKey":
        location, field = scheme.get("in"), scheme.get("name")
        if location not in ("header", "query", "cookie") or not isinstance(field, str) or not field:
            raise UnusableError(f"the API key {name[:100]!r} has no place in the request")
        if location != "query" and not is_token(field):
            raise UnusableError(f"{field[:100]!r} cannot be the name of a {location}")
        return AuthReference(
            scheme="api_key", location=location, name=field, environment=environment
        )
    http_scheme = str(scheme.get("scheme", "")).lower()
    if kind == "basic" or (kind == "http" and http_scheme == "basic"):
        return AuthReference(scheme="basic", environment=environment)
    if kind in ("oauth2", "openIdConnect") or (kind == "http" and http_scheme == "bearer"):
        return AuthReference(scheme="bearer", environment=environment)
    what = f"HTTP {http_scheme}" if kind == "http" else str(kind)
    raise UnusableError(f"authentication by {what[:100]!r} is not supported")


def _environment(api: str) -> tuple[str, ...]:
    prefix = environment_prefix(api)[:150]
    return f"{prefix}_TOKEN", f"{prefix}_API_KEY", f"CCOS_AUTH_{prefix.lstrip('_')}"
