"""Everything one CCOS process needs to know before it starts."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr, StringConstraints

from ccos.config.fields import (
    INLINE,
    LOWER_CASE,
    FilePath,
    FilePaths,
    Names,
    PositiveCount,
    PositiveNumber,
    Setting,
    SettingsModel,
    Switch,
)
from ccos.config.flags import FeatureProfile
from ccos.config.migration import MigrationSettings
from ccos.config.missing import MissingCapabilityConfig
from ccos.config.services import ServicesConfig

_POSTGRES_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
_PASSWORD_PARAMETER = re.compile(r"([?&][^=&]*password[^=&]*=)[^&]*", re.IGNORECASE)
MASK = "********"


def _read_database_url(value: object) -> str:
    """Read a database address; the errors never show it, since it may hold a password."""
    if not isinstance(value, str):
        raise ValueError("expected a database URL")
    scheme, separator, rest = value.strip().partition("://")
    if not separator:
        raise ValueError("expected a database URL such as sqlite:////var/lib/ccos/ccos.sqlite")
    if scheme == "sqlite":
        if not rest.startswith("/") or rest == "/" or ":memory:" in rest:
            raise ValueError("expected sqlite:///PATH; a parked call has to survive the process")
        return f"sqlite://{rest}"
    if scheme in _POSTGRES_SCHEMES:
        try:
            urlsplit(f"postgresql://{rest}").port  # noqa: B018 - reading the port checks it
        except ValueError:
            raise ValueError("expected postgresql://USER@HOST:PORT/DATABASE") from None
        return f"postgresql+psycopg://{rest}"
    raise ValueError("expected a URL that starts with sqlite:/// or postgresql://")


def _blank_is_none(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else value


Credential = Annotated[SecretStr | None, BeforeValidator(_blank_is_none)]


def masked_url(url: str) -> str:
    """`url` with every password in it replaced."""
    parts = urlsplit(url)
    if parts.password is not None:
        user_and_password, _, address = parts.netloc.rpartition("@")
        user = user_and_password.partition(":")[0]
        url = url.replace(parts.netloc, f"{user}:{MASK}@{address}", 1)
    return _PASSWORD_PARAMETER.sub(rf"\1{MASK}", url)


def _default_home() -> Path:
    return platformdirs.user_data_path("ccos", appauthor=False)


def _operating_system_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number that has no name
        return f"uid-{os.getuid()}"


class Settings(SettingsModel):
    """Everything one CCOS process needs to know before it starts.

    The keys of `missing` stand at the top level of a configuration file.
    """

    home: Annotated[
        FilePath,
        Setting(
            "CCOS_HOME",
            "Folder of everything CCOS keeps.",
            default_text="the user's data folder, such as ~/.local/share/ccos",
            environment_only=True,
        ),
    ] = Field(default_factory=_default_home)
    config_file: Annotated[
        FilePath | None,
        Setting(
            "CCOS_CONFIG",
            "Configuration file, JSON or TOML.",
            default_text="missing-capability-config.json, ccos.toml or ccos.json in home",
            environment_only=True,
        ),
    ] = None
    feature_profile: Annotated[
        FeatureProfile,
        LOWER_CASE,
        Setting(
            "CCOS_FEATURE_PROFILE",
            "Preset of the feature flags: production, development or testing.",
        ),
    ] = "production"
    database_url: Annotated[
        str,
        BeforeValidator(_read_database_url),
        Setting(
            "CCOS_DATABASE_URL",
            "Database: sqlite:///PATH or postgresql://…",
            default_text="sqlite file ccos.sqlite in home",
        ),
    ] = Field(
        default_factory=lambda values: f"sqlite:///{values['home'] / 'ccos.sqlite'}", repr=False
    )
    approver: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1),
        Setting(
            "CCOS_APPROVER",
            "Name under which approvals are decided.",
            default_text="the user of the operating system",
        ),
    ] = Field(default_factory=_operating_system_user)
    capability_storage: Annotated[
        FilePath,
        Setting(
            "CCOS_CAPABILITY_STORAGE",
            "Folder of local capability manifests.",
            default_text="capabilities in home",
        ),
    ] = Field(default_factory=lambda values: values["home"] / "capabilities")
    generated_capability_storage: Annotated[
        FilePath,
        Setting(
            "CCOS_GENERATED_CAPABILITY_STORAGE",
            "Folder of manifests imported from API descriptions.",
            default_text="capabilities/generated in home",
        ),
    ] = Field(default_factory=lambda values: values["home"] / "capabilities" / "generated")
    synthesized_capability_storage: Annotated[
        FilePath,
        Setting(
            "CCOS_SYNTHESIZED_CAPABILITY_STORAGE",
            "Folder of capabilities written by a language model.",
            default_text="capabilities/synthesized in home",
        ),
    ] = Field(default_factory=lambda values: values["home"] / "capabilities" / "synthesized")
    openapi_documents: Annotated[
        Names,
        Setting(
            "CCOS_OPENAPI_DOCUMENTS",
            "Folders, files and URLs of API descriptions.",
            default_text="apis in home",
        ),
    ] = Field(default_factory=lambda values: (str(values["home"] / "apis"),))
    catalogue_files: Annotated[
        FilePaths, Setting("CCOS_CATALOGUE_FILES", "Further files of curated capabilities.")
    ] = ()
    egress_private_hosts: Annotated[
        Names,
        Setting("CCOS_EGRESS_PRIVATE_HOSTS", "Loopback and private hosts that may be contacted."),
    ] = ()
    mcp_call_timeout_seconds: Annotated[
        PositiveNumber,
        Setting("CCOS_MCP_CALL_TIMEOUT_SECONDS", "Longest wait for one call of an MCP tool."),
    ] = 30
    max_parallel_calls: Annotated[
        PositiveCount,
        Setting("CCOS_MAX_PARALLEL_CALLS", "Most capability calls of one plan at once."),
    ] = 50
    plan_max_source_bytes: Annotated[
        PositiveCount, Setting("CCOS_PLAN_MAX_SOURCE_BYTES", "Largest source text of a plan.")
    ] = 1024 * 1024
    plan_max_memory_bytes: Annotated[
        PositiveCount, Setting("CCOS_PLAN_MAX_MEMORY_BYTES", "Most memory a running plan may use.")
    ] = 100 * 1024 * 1024
    plan_timeout_seconds: Annotated[
        PositiveNumber,
        Setting(
            "CCOS_PLAN_TIMEOUT_SECONDS",
            "Longest run time of the script of a plan.",
        ),
    ] = 30
    plan_max_calls: Annotated[
        PositiveCount, Setting("CCOS_PLAN_MAX_CALLS", "Most capability calls of one plan.")
    ] = 1000
    quiet_resolver: Annotated[
        Switch, Setting("CCOS_QUIET_RESOLVER", "Do not print the progress of resolutions.")
    ] = False
    interactive: Annotated[
        Switch, Setting("CCOS_INTERACTIVE", "Ask on the terminal when there is one.")
    ] = False
    debug_missing_capability: Annotated[
        Switch, Setting("CCOS_DEBUG_MISSING_CAPABILITY", "Log every step of a resolution.")
    ] = False
    mcp_auth_token: Annotated[
        Credential,
        Setting(
            "MCP_AUTH_TOKEN",
            "Credential for MCP servers that have none of their own.",
            environment_only=True,
        ),
    ] = None
    google_search_api_key: Annotated[
        Credential,
        Setting("GOOGLE_SEARCH_API_KEY", "Key for Google search.", environment_only=True),
    ] = None
    google_search_cx: Annotated[
        str | None,
        BeforeValidator(_blank_is_none),
        Setting("GOOGLE_SEARCH_CX", "Search engine id for Google search.", environment_only=True),
    ] = None
    bing_search_api_key: Annotated[
        Credential,
        Setting("BING_SEARCH_API_KEY", "Key for Bing search.", environment_only=True),
    ] = None
    missing: Annotated[MissingCapabilityConfig, INLINE] = MissingCapabilityConfig()
    services: ServicesConfig = ServicesConfig()
    migration: MigrationSettings = MigrationSettings()
