"""The one way out: every HTTP request CCOS makes, held to one policy.

`Egress.request` asks and reads a whole answer; `Egress.websocket` opens a WebSocket;
`Egress.transport` gives the same guard to an HTTP client of someone else's.
"""

from ccos.egress.client import Egress, EgressResponse
from ccos.egress.hop import EgressRecord, Observer
from ccos.egress.network import Resolver, SystemResolver
from ccos.egress.policy import EgressPolicy
from ccos.egress.strict_json import MAX_JSON_DEPTH, parse_json, read_json
from ccos.egress.target import Target, normalise_host, parse_url
from ccos.egress.transport import GuardedTransport

__all__ = [
    "MAX_JSON_DEPTH",
    "Egress",
    "EgressPolicy",
    "EgressRecord",
    "EgressResponse",
    "GuardedTransport",
    "Observer",
    "Resolver",
    "SystemResolver",
    "Target",
    "normalise_host",
    "parse_json",
    "parse_url",
    "read_json",
]
