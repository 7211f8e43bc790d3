"""The request that a call would make, shown without making it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final

from ccos.capabilities import (
    CertificateReference,
    Manifest,
    OAuth2Reference,
    SchemaValidator,
    SecretReference,
)
from ccos.errors import InvalidArgumentsError
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_request import HttpRequest
from ccos.providers.parameter_styles import escape

PREVIEWED_KEY: Final = "the same for every attempt"


def preview(
    manifest: Manifest, arguments: dict[str, Any], build: Callable[[], HttpRequest]
) -> dict[str, Any]:
    """A request as JSON data: ``method``, ``url``, ``headers``, and ``body`` or None.

    A body that is not text is ``{"base64": …}``.

    Args:
        manifest: The capability.
        arguments: The arguments of the call.
        build: Puts the request together, with names in the places of secrets.

    Raises:
        InvalidArgumentsError: The arguments do not satisfy the input schema, or cannot be written
            where they belong; ``details["faults"]`` lists each place.
    """
    faults = SchemaValidator(manifest.input_schema).faults(arguments)
    if faults:
        raise InvalidArgumentsError(
            f"The arguments of {manifest.id} are not valid: {faults[0].message}",
            details={"faults": [{"path": one.path, "message": one.message} for one in faults]},
        )
    request = build()
    body: Any = None
    if request.content is not None:
        try:
            body = request.content.decode()
        except UnicodeDecodeError:
            body = {"base64": base64.b64encode(request.content).decode()}
    return {"method": request.method, "url": request.url, "headers": request.headers, "body": body}


def named_credentials(references: Iterable[SecretReference]) -> Credentials:
    """Names in the places of secrets, written so that nobody takes them for the secrets."""
    named = Credentials()
    for reference in references:
        text = f"${reference.environment[0]}"
        if isinstance(reference, CertificateReference):
            continue  # it is shown when the connection opens, and is no part of the request
        if isinstance(reference, OAuth2Reference):
            named.headers["Authorization"] = f"Bearer {text}"
            continue
        if reference.scheme == "basic":
            text = f"Basic base64({text})"
        elif reference.scheme == "bearer":
            text = f"Bearer {text}"
        if reference.location == "query":
            named.query.append((escape(reference.name), text))
        elif reference.location == "cookie":
            named.cookies.append((reference.name, text))
        else:
            named.headers[reference.name] = text
    return named
