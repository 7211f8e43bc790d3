"""Patterns that capability ids are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from ccos.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class IdPattern:
    """An exact id, or one with a single ``*`` for any text: ``weather.*``, ``*.uuid``, ``a.*.b``.

    Raises:
        ConfigurationError: on construction, if it has several stars or nothing else.
    """

    text: str

    def __post_init__(self) -> None:
        if self.text.count("*") > 1 or not self.text.strip("*. "):
            raise ConfigurationError(
                f"{self.text!r} is not a pattern of capability ids.",
                next_step="Write an id, with at most one '*' beside other text.",
            )

    def fits(self, capability_id: str) -> float:
        """How well the id fits: 1 exactly, less the more is left to the star, 0 not at all."""
        wanted, text = capability_id.lower(), self.text.lower()
        if "*" not in text:
            return 1.0 if wanted == text else 0.0
        before, after = text.split("*")
        if len(wanted) <= len(before) + len(after):
            return 0.0
        if not (wanted.startswith(before) and wanted.endswith(after)):
            return 0.0
        return 0.8 + 0.15 * (len(before) + len(after)) / len(wanted)
