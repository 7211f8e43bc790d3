"""The old stub and manual configuration, and what it means in the new one."""

from __future__ import annotations

from typing import Annotated

from ccos.config.fields import Setting, SettingsModel, Switch


class OldConfig(SettingsModel):
    """Settings of the stub system; unset unless an old deployment still names them."""

    stub_enabled: Annotated[
        Switch | None,
        Setting(
            "CCOS_STUB_ENABLED",
            "Old: stand-in results. Now switches resolution on unless that is said explicitly; "
            "after a rollback only a handler registered by the program may answer.",
        ),
    ] = None
    manual_resolution: Annotated[
        Switch | None,
        Setting(
            "CCOS_MANUAL_RESOLUTION",
            "Old: resolution by hand. Now resolution with a person's approval.",
        ),
    ] = None
    stub_generation_enabled: Annotated[
        Switch | None,
        Setting("CCOS_STUB_GENERATION_ENABLED", "Old: generated stubs. They no longer exist."),
    ] = None


def flags_from(old: OldConfig) -> dict[str, tuple[bool, str]]:
    """The feature flags that `old` stands for.

    Returns:
        The name of each flag with its value and the name of the old setting it comes from.
    """
    flags: dict[str, tuple[bool, str]] = {}
    if old.stub_enabled:
        flags["enabled"] = (True, "stub_enabled")
    if old.manual_resolution is not None:
        flags["auto_resolution"] = (old.manual_resolution, "manual_resolution")
    if old.manual_resolution:
        flags["enabled"] = (True, "manual_resolution")
        flags["human_approval_required"] = (True, "manual_resolution")
    return flags


def warnings_about(old: OldConfig, *, resolution_enabled: bool) -> list[tuple[str, str]]:
    """What the owner of an old configuration has to know: setting and sentence."""
    warnings = []
    if old.stub_enabled and resolution_enabled:
        warnings.append(
            ("stub_enabled", "has no stubs to enable; missing capabilities are resolved instead")
        )
    elif old.stub_enabled:
        warnings.append(
            (
                "stub_enabled",
                "has no stubs to enable; only a handler that the program itself registered "
                "can answer for a missing capability",
            )
        )
    if old.stub_generation_enabled:
        warnings.append(("stub_generation_enabled", "has no effect: stubs are never generated"))
    return warnings
