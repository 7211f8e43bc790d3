"""What may be reached, and how much may be sent and read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ccos.egress.addresses import PRIVATE_KINDS, PUBLIC, address_kind
from ccos.egress.refusal import refusal
from ccos.egress.target import Target, is_address, normalise_host
from ccos.errors import ConfigurationError

LOCAL_NAMES = frozenset({"localhost", "*.localhost", "*.local", "*.internal", "metadata.goog"})
"""Names that mean the machine or its network (RFC 6761, RFC 6762, ICANN's ``.internal``)."""


@dataclass(frozen=True)
class EgressPolicy:
    """The rules every outgoing request is held to.

    A domain is matched exactly, and written as ``*.example.com`` together with all its
    subdomains. Names are compared in lower case, IDNA-encoded and without a trailing dot.

    Attributes:
        require_https: Refuse plain http, except to ``private_hosts``.
        allowed_domains: Hosts that may be reached; empty means every public host.
        blocked_domains: Hosts that may not; these win over everything else.
        private_hosts: Hosts (``localhost``), hosts with a port (``127.0.0.1:8080``,
            ``[::1]:80``) and networks (``10.0.0.0/8``) that may be loopback or private.
            These count as allowed. A host without a port may be reached on any port. A
            *name* listed here still never leads to a link-local (metadata), multicast or
            reserved address; only naming that address or its network opens it.
        allowed_ports: Ports that may be reached on all other hosts.
        max_request_bytes: Limit of a request body.
        max_response_bytes: Limit of a response body, before and after decompression.
        timeout_seconds: Wall-clock time for one request with all its redirects.
        max_redirects: Redirects followed before giving up.

    Raises:
        ConfigurationError: An entry cannot be read, or a limit is not positive.
    """

    require_https: bool = True
    allowed_domains: frozenset[str] = frozenset()
    blocked_domains: frozenset[str] = frozenset()
    private_hosts: frozenset[str] = frozenset()
    allowed_ports: frozenset[int] = frozenset({80, 443})
    max_request_bytes: int = 10 * 1024 * 1024
    max_response_bytes: int = 50 * 1024 * 1024
    timeout_seconds: float = 30.0
    max_redirects: int = 5

    def __post_init__(self) -> None:
        for name in ("allowed_domains", "blocked_domains"):
            object.__setattr__(self, name, normalise_patterns(getattr(self, name), name))
        for name in ("max_request_bytes", "max_response_bytes", "timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be greater than 0.")
        if self.max_redirects < 0:
            raise ConfigurationError("max_redirects must not be negative.")
        if not all(0 < port < 65536 for port in self.allowed_ports):
            raise ConfigurationError("allowed_ports must lie between 1 and 65535.")
        _ = self._private  # fails now rather than at the first request

    def check(
        self,
        target: Target,
        extra_allowed_hosts: frozenset[str] = frozenset(),
        only_hosts: frozenset[str] = frozenset(),
    ) -> None:
        """Refuse a target by its scheme, host or port, before anything is resolved.

        Args:
            target: Where the request goes.
            extra_allowed_hosts: Patterns that count as allowed for this request alone.
            only_hosts: Patterns outside of which nothing is allowed for this request, private
                hosts included; empty for no such restriction.

        Raises:
            EgressRefusedError: Reason ``blocked-domain``, ``private-name``,
                ``private-address``, ``not-allowed-domain``, ``port`` or ``scheme``.
        """
        host, port = target.host, target.port
        if matches(host, self.blocked_domains):
            raise refusal("blocked-domain", "the host is blocked", host, port)
        if only_hosts and not matches(host, normalise_patterns(only_hosts, "only_hosts")):
            raise refusal("not-allowed-domain", "the host is not in its own allow list", host, port)
        if self.names_private(host, port):
            return
        if matches(host, LOCAL_NAMES):
            raise refusal("private-name", "the name means the local network", host, port)
        if is_address(host):
            self.check_addresses(host, port, [host])
        if self.allowed_domains and not (
            matches(host, self.allowed_domains)
            or matches(host, normalise_patterns(extra_allowed_hosts, "extra_allowed_hosts"))
        ):
            raise refusal("not-allowed-domain", "the host is not in the allow list", host, port)
        if port not in self.allowed_ports:
            raise refusal("port", f"port {port} is not allowed", host, port)
        if target.scheme == "http" and self.require_https:
            raise refusal("scheme", "plain http is not allowed", host, port)

    def check_addresses(self, host: str, port: int, addresses: list[str]) -> None:
        """Refuse a host if any one of its addresses must not be reached.

        Raises:
            EgressRefusedError: Reason ``private-address``.
        """
        named = self._private.covers_name(host, port)
        for text in addresses:
            try:
                address = ip_address(text)
            except ValueError:
                raise refusal(
                    "private-address", "its name has an unreadable address", host, port
                ) from None
            kind = address_kind(address)
            if (
                kind == PUBLIC
                or (named and (kind in PRIVATE_KINDS or text == host))
                or self._private.covers_address(text)
            ):
                continue
            raise refusal(
                "private-address", f"it leads to a {kind} address", host, port, address=text
            )

    def names_private(self, host: str, port: int) -> bool:
        """Whether ``private_hosts`` names this host, or the network its literal address is in."""
        return self._private.covers_name(host, port) or self._private.covers_address(host)

    @cached_property
    def _private(self) -> PrivateHosts:
        return PrivateHosts.parse(self.private_hosts)


@dataclass(frozen=True, slots=True)
class PrivateHosts:
    """The entries of ``private_hosts`` once read; a port of None stands for every port."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = field(default=())

    @classmethod
    def parse(cls, entries: Iterable[str]) -> PrivateHosts:
        """Read the entries.

        Raises:
            ConfigurationError: An entry is neither a host, a host with a port, nor a network.
        """
        if isinstance(entries, str):
            raise ConfigurationError("private_hosts must be a set of hosts, not one string.")
        hosts, networks = set(), []
        for entry in entries:
            try:
                if "/" in entry:
                    networks.append(ip_network(entry))
                else:
                    hosts.add(_split_port(entry))
            except ValueError as error:
                raise ConfigurationError(
                    f"private_hosts has an entry that cannot be read: {entry!a}.",
                    next_step="Write a host, host:port, [IPv6]:port, or a network in CIDR form.",
                ) from error
        return cls(frozenset(hosts), tuple(networks))

    def covers_name(self, host: str, port: int) -> bool:
        """Whether an entry is this very host, on this port or any."""
        return (host, port) in self.hosts or (host, None) in self.hosts

    def covers_address(self, host: str) -> bool:
        """Whether ``host`` is an address inside one of the networks."""
        if not self.networks:
            return False
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def normalise_patterns(patterns: Iterable[str], setting: str) -> frozenset[str]:
    """Bring patterns (``example.com``, ``*.example.com``) into the spelling hosts have.

    Raises:
        ConfigurationError: A pattern is no host; ``setting`` says where it stands.
    """
    if isinstance(patterns, str):
        raise ConfigurationError(f"{setting} must be a set of domains, not one string.")
    normalised = set()
    for pattern in patterns:
        wildcard, bare = ("*.", pattern[2:]) if pattern.startswith("*.") else ("", pattern)
        try:
            normalised.add(wildcard + normalise_host(bare))
        except ValueError as error:
            raise ConfigurationError(
                f"{setting} has an entry that is not a domain: {pattern!a}.",
                next_step="Write example.com, or *.example.com to include its subdomains.",
            ) from error
    return frozenset(normalised)


def matches(host: str, patterns: frozenset[str]) -> bool:
    """Whether a normalised host is one of the patterns, or below a wildcard one."""
    if host in patterns:
        return True
    labels = host.split(".")
    return any(f"*.{'.'.join(labels[start:])}" in patterns for start in range(len(labels)))


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        separator, port = rest[:1], rest[1:]
    elif entry.count(":") == 1:
        host, separator, port = entry.partition(":")
    else:
        host, separator, port = entry, "", ""
    if separator not in ("", ":") or (separator and not (port.isascii() and port.isdigit())):
        raise ValueError("not a port")
    if separator and not 0 < int(port) < 65536:
        raise ValueError("port out of range")
    return normalise_host(host), int(port) if separator else None
