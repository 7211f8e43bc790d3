"""Which configurations of missing capability resolution make sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ccos.config.fields import shown
from ccos.config.legacy import warnings_about

if TYPE_CHECKING:
    from ccos.config.missing import MissingCapabilityConfig

_POSITIVE = (
    "max_resolution_attempts",
    "resolution_timeout_seconds",
    "max_concurrent_resolutions",
    "human_approval_timeout_seconds",
    "max_pending_capabilities",
    "poll_interval_seconds",
    "retry_backoff_config.initial_delay_seconds",
    "retry_backoff_config.max_delay_seconds",
    "security_config.max_request_size_bytes",
    "security_config.max_response_size_bytes",
    "security_config.max_execution_time_seconds",
    "mcp_registry_config.timeout_seconds",
    "mcp_registry_config.max_servers",
    "llm_synthesis_config.max_attempts",
    "web_search_config.max_results",
    "web_search_config.timeout_seconds",
    "tool_selection.max_tools",
    "tool_selection.max_description_chars",
)
_NOT_NEGATIVE = (
    "resolution_cache_ttl_seconds",
    "drift_check_interval_seconds",
    "mcp_registry_config.cache_ttl_seconds",
)
_AT_MOST = {
    "max_concurrent_resolutions": 100,
    "tool_selection.max_tools": 100,
    "tool_selection.max_description_chars": 2000,
}
_NOT_EMPTY = ("tool_selection.prompt_id", "tool_selection.prompt_version")
_POLICIES = ("data_privacy", "performance", "api_design")
# Off by default and without effect while `enabled` is off.
_DEPENDANTS = (
    "runtime_detection",
    "auto_resolution",
    "importers_enabled",
    "http_wrapper_enabled",
    "llm_synthesis_enabled",
    "web_search_enabled",
    "continuous_resolution",
    "auto_resume_enabled",
)


@dataclass(frozen=True)
class Finding:
    """Something about the setting `key` that an operator must or should change."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key} {self.message}"

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON-ready data."""
        return {"key": self.key, "message": self.message}


@dataclass(frozen=True)
class Findings:
    """What `check` found: errors stand in the way, warnings do not."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def check(config: MissingCapabilityConfig) -> Findings:
    """Everything that is wrong or doubtful about `config`."""
    errors = (
        *_flag_errors(config),
        *_limit_errors(config),
        *_network_errors(config),
        *_synthesis_errors(config),
    )
    return Findings(errors, tuple(_warnings(config)))


def _flag_errors(config: MissingCapabilityConfig) -> Iterator[Finding]:
    flags = config.feature_flags
    # With `enabled` off nothing depends on anything, so that switching this one flag off
    # leaves every valid configuration valid.
    if not flags.enabled:
        return
    if not flags.runtime_detection:
        yield Finding("feature_flags.runtime_detection", "is off although enabled is on")
    for name in ("auto_resume_enabled", "continuous_resolution"):
        if getattr(flags, name) and not flags.auto_resolution:
            yield Finding(f"feature_flags.{name}", "is on although auto_resolution is off")


def _limit_errors(config: MissingCapabilityConfig) -> Iterator[Finding]:
    for key in _POSITIVE:
        if (number := _number(config, key)) <= 0:
            yield Finding(key, f"must be greater than 0, not {number:g}")
    for key in _NOT_NEGATIVE:
        if (number := _number(config, key)) < 0:
            yield Finding(key, f"must not be negative, as {number:g} is")
    for key, most in _AT_MOST.items():
        if (number := _number(config, key)) > most:
            yield Finding(key, f"must be at most {most}, not {number:g}")
    for name in config.validation_policies:
        if name not in _POLICIES:
            yield Finding(
                "validation_policies", f"names {shown(name)}, not one of {', '.join(_POLICIES)}"
            )
    for key in _NOT_EMPTY:
        if not str(_value(config, key)).strip():
            yield Finding(key, "must not be empty")
    backoff = config.retry_backoff_config
    if backoff.initial_delay_seconds > backoff.max_delay_seconds:
        yield Finding(
            "retry_backoff_config.initial_delay_seconds",
            f"must not exceed max_delay_seconds ({backoff.max_delay_seconds:g}), "
            f"as {backoff.initial_delay_seconds:g} does",
        )
    if backoff.backoff_multiplier < 1:
        yield Finding(
            "retry_backoff_config.backoff_multiplier",
            f"must be at least 1, not {backoff.backoff_multiplier:g}",
        )


def _network_errors(config: MissingCapabilityConfig) -> Iterator[Finding]:
    security = config.security_config
    if security.require_https and not security.allowed_domains:
        yield Finding(
            "security_config.allowed_domains", "names no host although require_https is on"
        )
    if not config.feature_flags.mcp_registry_enabled:
        return
    problem = _registry_problem(config.mcp_registry_config.base_url, security.require_https)
    if problem:
        yield Finding("mcp_registry_config.base_url", problem)


def _registry_problem(url: str, https_required: bool) -> str | None:
    if not url.strip():
        return "is empty although the registry is on"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is not a URL"
    if not host:
        return "names no host"
    if parts.scheme == "https":
        return None
    if parts.scheme == "http" and _is_loopback(host):
        return "must use https while require_https is on" if https_required else None
    return "must use https"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _synthesis_errors(config: MissingCapabilityConfig) -> Iterator[Finding]:
    if not config.feature_flags.llm_synthesis_enabled:
        return
    synthesis = config.llm_synthesis_config
    if synthesis.max_tokens <= 0:
        yield Finding(
            "llm_synthesis_config.max_tokens",
            f"must be greater than 0, not {synthesis.max_tokens}",
        )
    if not 0 <= synthesis.temperature <= 2:
        yield Finding(
            "llm_synthesis_config.temperature",
            f"must be between 0 and 2, not {synthesis.temperature:g}",
        )


def _warnings(config: MissingCapabilityConfig) -> Iterator[Finding]:
    flags, security = config.feature_flags, config.security_config
    blocked = {domain.lower() for domain in security.blocked_domains}
    for domain in security.allowed_domains:
        if domain.lower() in blocked:
            yield Finding(
                "security_config.blocked_domains", f"wins for {domain!r}, which is allowed too"
            )
    idle = [name for name in _DEPENDANTS if getattr(flags, name)]
    if idle and not flags.enabled:
        yield Finding("feature_flags.enabled", f"is off, so no effect has: {', '.join(idle)}")
    yield from (
        Finding(f"old_config.{name}", message)
        for name, message in warnings_about(config.old_config, resolution_enabled=flags.enabled)
    )


def _value(config: MissingCapabilityConfig, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _number(config: MissingCapabilityConfig, key: str) -> float:
    value = _value(config, key)
    if not isinstance(value, int | float):
        raise TypeError(f"{key} is no number")
    return value
