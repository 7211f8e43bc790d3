"""What the prelude of RTFS promises wherever there is a host: printing, logging, time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

PRINTLN: Final = "ccos.io.println"
LOG: Final = "ccos.io.log"
CLOCK: Final = "ccos.system.current-timestamp-ms"
SLEEP_MS: Final = "ccos.system.sleep-ms"
SERVICES: Final = frozenset({PRINTLN, LOG, CLOCK, SLEEP_MS})

HOST_FUNCTIONS: Final = {
    "ccos.io.file-exists": "crucible.file.file_exists",
    "ccos.io.read-file": "crucible.file.file_read",
    "ccos.io.write-file": "crucible.file.file_write",
    "ccos.network.http-fetch": "crucible.http.http_get",
}
"""Names of the prelude for what host functions do, where those exist."""

LEVELS: Final = ("debug", "info", "warn", "error")


def line_of(values: Sequence[Any]) -> str:
    """Values as one line of text."""
    words = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in values)
    return " ".join(words) + "\n"


def log_line(values: Sequence[Any]) -> str:
    """Values as a line of a log; the first may be its level."""
    if len(values) > 1 and values[0] in LEVELS:
        return f"{values[0].upper()} {line_of(values[1:])}"
    return f"INFO {line_of(values)}"
