"""The seam between invokers and the way out, and what its errors mean for a call."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
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
        secret_headers: frozenset[str] = frozenset(),
        timeout_seconds: float | None = None,
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

    Registering the capability was a decision for its host, so the host needs no other permission;
    a blocked one stays blocked.

    Raises:
        ProviderUnavailableError: Nothing was sent.
        ProviderTimeoutError: No complete answer in time.
        ProviderInterruptedError: The connection broke after something was sent.
        CapabilityFailedError: The answer has a status of 400 or above.
        InvalidResultError: The answer is larger than the policy allows, or broken JSON.
    """
    try:
        response = await client.request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.content,
            purpose=f"call {capability}",
            extra_allowed_hosts=frozenset({urlsplit(request.url).hostname or ""}),
            secret_headers=frozenset(credentials.headers),
            timeout_seconds=timeout_seconds,
        )
    except EgressError as error:
        raise _meaning(error, capability) from error
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise failure(response, credentials, capability=capability)
    return read_result(response, method=request.method, capability=capability)


def _meaning(error: EgressError, capability: str) -> CcosError:
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
