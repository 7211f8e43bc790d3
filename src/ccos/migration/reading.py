"""What was made of one file: a verdict with its reason, tools, and problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ccos.migration.definitions import ToolDefinition
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.problems import Problem


class Verdict(StrEnum):
    """What a file is."""

    TOOL = "tool"
    LIBRARY = "library"
    """It has functions for others, and no tool."""
    SCRIPT = "script"
    """It has ``main`` and no contract: it is run as a whole."""
    HOOK = "hook"
    """Its functions answer events of another system."""
    INVALID = "invalid"
    """It cannot be read, does not compile, or breaks the contract."""


IGNORED = frozenset({Verdict.LIBRARY, Verdict.SCRIPT, Verdict.HOOK})
"""Verdicts on files that are no tool and need not be."""


@dataclass(frozen=True, slots=True)
class Described:
    """A tool that was read, or why it cannot be; ``warnings`` do not stand against it."""

    definition: ToolDefinition | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was made of one text."""

    verdict: Verdict
    reason: str
    tools: tuple[Described, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


class SourceReader(Protocol):
    """Reads the tools of a language; nothing of a text runs for that."""

    @property
    def language(self) -> str:
        """Its name in the engine."""
        ...

    @property
    def extensions(self) -> tuple[str, ...]:
        """The endings of its files, without the dot."""
        ...

    async def read(self, source: str, name: str, config: DiscoveryConfig) -> Reading:
        """What a text is, with every tool that it has and everything that is wrong.

        Args:
            source: The text.
            name: Of its file, for messages.
            config: Says what is looked for.

        Raises:
            ScriptError: if the text cannot be read at all.
        """
        ...


def refused(problems: Iterable[Problem], warnings: Iterable[str] = ()) -> Reading:
    """The reading of a text that has no usable tool; there is at least one problem."""
    found = tuple(problems)
    return Reading(Verdict.INVALID, str(found[0]), (), found, tuple(warnings))
