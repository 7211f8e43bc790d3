"""How a refusal is worded."""

from __future__ import annotations

from ccos.errors import EgressRefusedError


def refusal(
    reason: str,
    because: str,
    host: str = "",
    port: int | None = None,
    *,
    address: str | None = None,
) -> EgressRefusedError:
    """An error whose ``details`` hold ``reason``, ``host``, ``port``, ``sent`` and ``address``.

    Args:
        reason: The stable code programs compare, such as ``private-address``.
        because: The same for people, without the host.
        host: The host asked for; escaped here, since it is untrusted text.
        port: The port asked for, if known.
        address: The resolved address that was refused, if it came that far.
    """
    shown = ascii(host[:253])[1:-1]
    where = f"to {shown} " if shown else ""
    return EgressRefusedError(
        f"The request {where}was refused: {because}.",
        details={
            "reason": reason,
            "host": shown,
            "port": port,
            "address": address,
            "sent": False,
        },
    )
