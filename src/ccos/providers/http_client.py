"""The seam between invokers and the way out, and what its errors mean for a call."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ccos.errors import (
    CcosError,
    EgressError,
    EgressRefusedError,
    EgressTimeoutError,
    InvalidResultError,
    ProviderInterruptedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ResponseTooLargeError,
)
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_request import HttpRequest
from ccos.providers.http_results import HttpResponse, failure, read_result


class HttpClient(Protocol):
    """Sends requests under the policy of the installation; ``ccos.egress.Egress`` is one."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
        purpose: str,
        extra_allowed_hosts: frozenset[str] = frozenset(),
        only_hosts: frozenset[str] = frozenset(),
        secret_headers: frozenset[str] = frozenset(),
        timeout_seconds: float | None = None,
        client_certificate: Path | None = None,
    ) -> HttpResponse:
        """Send one request and read the whole answer.

        Raises:
            EgressError: No answer; ``details["sent"]`` is False when nothing left.
        """
        ...


async def call(
    client: HttpClient,
    request: HttpRequest,
    *,
    capability: str,
    credentials: Credentials,
    timeout_seconds: float,
) -> Any:
    """Send a capability's request and return the answer as JSON data.

    Raises:
        ProviderError: As ``send`` says; ``CapabilityFailedError`` if the answer has a status of 400
            or above.
        InvalidResultError: The answer is larger than the policy allows, or broken JSON.
    """
    response = await send(
        client,
        request,
        capability=capability,
        credentials=credentials,
        timeout_seconds=timeout_seconds,
    )
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise failure(response, credentials, capability=capability)
    return read_result(response, method=request.method, capability=capability)


async def send(
    client: HttpClient,
    request: HttpRequest,
    *,
    capability: str,
    credentials: Credentials,
    timeout_seconds: float,
) -> HttpResponse:
    """Send a capability's request and return the answer as it came.

    Registering the capability was a decision for its host, so the host needs no other permission;
    a blocked one stays blocked.

    Raises:
        ProviderUnavailableError: Nothing was sent.
        ProviderTimeoutError: No complete answer in time.
        ProviderInterruptedError: The connection broke after something was sent.
        InvalidResultError: The answer is larger than the policy allows.
    """
    try:
        return await client.request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            purpose=f"call {capability}",
            extra_allowed_hosts=frozenset({urlsplit(request.url).hostname or ""}),
            secret_headers=frozenset(credentials.headers),
            timeout_seconds=timeout_seconds,
            client_certificate=credentials.client_certificate,
        )
    except EgressError as error:
        raise provider_error(error, capability) from error


def provider_error(error: EgressError, capability: str) -> CcosError:
    """What a failure of the way out means for a call, by the rules of ``Invoker``."""
    kind: type[CcosError]
    # A redirect may be refused after the first server has acted, and then ``sent`` says so.
    if error.details.get("sent", not isinstance(error, EgressRefusedError)) is False:
        kind, what = ProviderUnavailableError, "could not be called"
    elif isinstance(error, EgressTimeoutError):
        kind, what = ProviderTimeoutError, "did not answer in time"
    elif isinstance(error, ResponseTooLargeError):
        kind, what = InvalidResultError, "answered too much"
    else:
        kind, what = ProviderInterruptedError, "was interrupted"
    return kind(
        f"{capability} {what}: {error.message}",
        next_step=error.next_step,
        details={**error.details, "cause": error.code},
    )
