"""``ccos doctor``: look at this CCOS and its machine, and say what to do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import COMMON, Common
from ccos.interfaces.cli.session import load, screen_of

if TYPE_CHECKING:
    from ccos.config import LoadedSettings
    from ccos.errors import ConfigurationError
    from ccos.operations.doctor import Check

_SYMBOLS: Final = {"ok": "✓", "warning": "!", "failed": "✗"}


def doctor(*, common: Common = COMMON) -> ExitCode:
    """Check this CCOS and the machine it is on; nothing is changed, and nothing is made.

    It looks at Python, the settings, the home folder and its key, the disk, the database and its
    files, the newest audit entries, what waits, the workers, the sandbox of scripts and its
    isolation, the clock, and the launchers of MCP servers. Each finding is ok, a warning or
    failed, and says what to do. Exit code 1 if something failed; a warning is no failure.
    """
    from ccos.operations import doctor as operation

    screen = screen_of(common)
    found = operation.diagnose(_settings(common), operation.Machine())
    counts = Counter(check.status.value for check in found)
    healthy = not counts["failed"]
    screen.document(
        {
            "healthy": healthy,
            **{status: counts[status] for status in _SYMBOLS},
            "checks": [check.as_dict() for check in found],
        }
    )
    screen.text(_headline(counts))
    symbols = _symbols()
    screen.table(
        ("status", "check", "finding"),
        ((f"{symbols[one.status]} {one.status}".strip(), one.name, one.message) for one in found),
    )
    if steps := _what_to_do(found):
        screen.text("\n".join(["", "What to do:", *steps]))
    return ExitCode.DONE if healthy else ExitCode.FAILED


def _settings(common: Common) -> LoadedSettings | ConfigurationError:
    from ccos.errors import ConfigurationError

    try:
        return load(common)
    except ConfigurationError as error:
        return error


def _headline(counts: Counter[str]) -> str:
    parts = [f"{counts['ok']} ok"]
    if counts["warning"]:
        parts.append(f"{counts['warning']} to look at")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return f"{', '.join(parts)}."


def _symbols() -> dict[str, str]:
    """Signs before the words, where the terminal has them."""
    try:
        "".join(_SYMBOLS.values()).encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return dict.fromkeys(_SYMBOLS, "")
    return _SYMBOLS


def _what_to_do(found: Sequence[Check]) -> list[str]:
    return [f"  {check.name}: {check.next_step}" for check in found if check.next_step]
