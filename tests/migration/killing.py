"""Migrations in processes that are killed at a write; run as a program, it forks one for each.

It reads one command a line, JSON, from standard input: ``home``, ``folder``, ``config``, and
``at``, the number of the write at which the process dies (before its commit, or after it with
``after``); without ``at`` it lives. The answer is a line: how the process ended, and how many
writes it had made.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from migration.managing import manager_of
from opening import opened


class Killer:
    """Kills this process at one of its writes that concern a migration."""

    def __init__(self, at: int | None, after: bool, pipe: int) -> None:
        self._at = at
        self._after = after
        self._pipe = pipe
        self._count = 0

    def before_commit(self, name: str) -> None:
        if name.startswith("migrat"):
            self._count += 1
            os.write(self._pipe, b".")
            if self._count == self._at and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)

    def after_commit(self, name: str) -> None:
        # Writes that share a commit are all counted before it.
        if self._after and self._at is not None and self._count >= self._at:
            os.kill(os.getpid(), signal.SIGKILL)


async def migrate(command: dict[str, Any], killer: Killer) -> None:
    """Migrate as the command says, unless killed."""
    async with opened(Path(command["home"]), observer=killer) as ccos:
        folder, config = Path(command["folder"]), command["config"]
        async with manager_of(ccos, folder, **config) as manager:
            if "roll_back" in command:
                await manager.recover()
                await manager.rollback_migration(command["roll_back"])
            else:
                await manager.execute_migration()


def in_a_process(command: dict[str, Any]) -> dict[str, Any]:
    """Do it in a process of its own, and say what became of that."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            killer = Killer(command.get("at"), command.get("after", False), writing)
            asyncio.run(migrate(command, killer))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    writes = 0
    while part := os.read(reading, 4096):
        writes += len(part)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "writes": writes}


def main() -> None:
    """Answer commands until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(in_a_process(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
