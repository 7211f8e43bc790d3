"""The requests of scripts, sent through the project's one way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ccos.egress import Egress, EgressRecord
from ccos.engine.hosts import HttpAnswer
from ccos.errors import EgressError

PURPOSE: Final = "script"

_CARRIED: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})
"""Headers of a script that may follow a redirect to another origin; others may hold a secret."""


class EgressRequests:
    """:class:`~ccos.engine.hosts.HttpRequests` over an :class:`~ccos.egress.Egress`.

    The limits of time and size are those of its policy.
    """

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float | None,
        allowed_hosts: frozenset[str],
    ) -> HttpAnswer:
        """Send one request and read the whole answer.

        Args:
            method: Such as ``GET``.
            url: Where to; HTTP or HTTPS.
            headers: By name. All but the harmless ones stay behind when a redirect leads to
                another origin.
            body: What is sent; None for nothing.
            timeout: Seconds; None leaves it to the policy, and it never allows more.
            allowed_hosts: Nothing else may be contacted, on any hop; ``.example.com`` is
                example.com and all below it. Empty for the policy's own.

        Raises:
            EgressError: if it is refused or fails; ``details["network_bytes"]`` were used by
                then.
        """
        records: list[EgressRecord] = []
        try:
            response = await self._egress.request(
                method,
                url,
                headers=headers,
                content=body,
                purpose=PURPOSE,
                only_hosts=frozenset(map(_pattern, allowed_hosts)),
                secret_headers=frozenset(name.lower() for name in headers) - _CARRIED,
                timeout_seconds=timeout,
                observer=records.append,
            )
        except EgressError as error:
            error.details["network_bytes"] = _network_bytes(records)
            raise
        return HttpAnswer(
            status=response.status,
            headers=dict(response.headers),
            text=response.text,
            network_bytes=_network_bytes(records),
        )


def _pattern(host: str) -> str:
    """A host of a security policy as egress writes it."""
    return f"*{host}" if host.startswith(".") else host


def _network_bytes(records: list[EgressRecord]) -> int:
    return sum(record.network_bytes for record in records)
