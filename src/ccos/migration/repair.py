"""Repairing what validation finds: lost scripts come back, orphans go, reserved keys are quoted.

Every change is listed. What cannot be repaired is left as it is.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from ccos.errors import CcosError
from ccos.migration.backups import copy_of
from ccos.migration.bridge import ToolMigrationBridge
from ccos.migration.definitions import RuneTool
from ccos.migration.journal import Step
from ccos.migration.outcomes import MigratedTool
from ccos.storage import Transaction

_RESERVED: Final = re.compile(r"`(\w+)` is a reserved word and no key")
_MOST_KEYS: Final = 100


async def repair(bridge: ToolMigrationBridge, name: str | None = None) -> list[str]:
    """Repair what can be, of all tools or of one; returns what was changed.

    Args:
        bridge: The bridge that keeps the tools.
        name: Of the one tool; None for all, for orphans, and for files that failed to compile.
    """
    tools = [one for one in await bridge.list_migrated_tools() if name in (None, one.original_name)]
    faults = await bridge.migrator.faults(tools)
    changes = [await _restored(bridge, one) for one in tools if faults[one.original_name]]
    if name is None:
        changes += await _without_orphans(bridge)
    for step in await _failed_files(bridge, name):
        changes += await _with_quoted_keys(bridge, Path(step.path))
    return changes


async def _restored(bridge: ToolMigrationBridge, tool: MigratedTool) -> str:
    """Register a tool again from its text; without that, drop what is left of it."""
    found = await _same_text(bridge, tool)
    if found is not None:
        try:
            await bridge.migrate_single_tool(found, force=True)
        except CcosError as error:
            return f"{tool.original_name}: left as it is, since {error.message}"
        return f"{tool.original_name}: registered again."

    def unit(transaction: Transaction) -> None:
        bridge.migrator.registrar.drop_in(transaction, tool, reason="its text is lost")

    await bridge.migrator.parts.storage.write("migrated_tool_removed", unit)
    return f"{tool.original_name}: dropped, since neither its script nor its text is left."


async def _same_text(bridge: ToolMigrationBridge, tool: MigratedTool) -> RuneTool | None:
    """The tool from its file, or from the copy that was made of it, as it was migrated."""
    path, wanted = tool.metadata["original_file_path"], tool.metadata["source_hash"]
    if path == "memory":
        return None
    found = await bridge.discover(Path(path))
    reports = list(found.files)
    if not any(one.source_hash == wanted for one in reports):
        migration = await bridge.migrator.journal.migration(tool.metadata["migration_id"])
        folder = None if migration is None else migration.backup
        content = None if folder is None else copy_of(Path(folder), wanted)
        if content is None:
            return None
        reports = [await bridge.read_copy(content, Path(path))]
    for report in reports:
        for one in report.tools:
            if one.name == tool.original_name and one.source_hash == wanted:
                return one
    return None


async def _without_orphans(bridge: ToolMigrationBridge) -> list[str]:
    """Unregister what a migration left in the engine that no migrated tool stands behind."""
    known = {one.original_name for one in await bridge.list_migrated_tools()}
    changes = []
    for tool in await bridge.engine.list_script_tools():
        if "migration_id" in tool.metadata and tool.name not in known:
            await bridge.engine.unregister_tool(tool.name)
            changes.append(f"{tool.name}: an orphan of the engine, unregistered.")
    return changes


async def _failed_files(bridge: ToolMigrationBridge, name: str | None) -> list[Step]:
    """The files that failed for a reserved key in the last migration."""
    found: dict[str, Step] = {}
    for _, step in await bridge.migrator.journal.failures():
        reserved = step.error is not None and _RESERVED.search(step.error.message)
        if reserved and name in (None, step.tool):
            found.setdefault(step.path, step)
    return [found[path] for path in sorted(found)]


async def _with_quoted_keys(bridge: ToolMigrationBridge, path: Path) -> list[str]:
    """Quote the reserved keys of a file, if it compiles then; what it was stays beside it."""
    try:
        before = await asyncio.to_thread(path.read_bytes)
        text = before.decode()
    except (OSError, UnicodeDecodeError):
        return []
    quoted: list[str] = []
    for _ in range(_MOST_KEYS):
        report = await bridge.read_copy(text.encode(), path)
        places = [
            (one.line, one.column, found[1])
            for one in report.problems
            if (found := _RESERVED.search(one.message)) is not None
        ]
        if not places:
            break
        changed = _quoted(text, *places[0])
        if changed is None:
            return []
        text = changed
        quoted.append(f"line {places[0][0]}: {places[0][2]}")
    if not quoted or not report.tools:
        return []
    kept = await asyncio.to_thread(_replace, path, before, text.encode())
    listed = ", ".join(quoted)
    return [f"{path}: reserved keys quoted ({listed}); the file as it was is {kept.name}."]


def _quoted(text: str, line: int, column: int, word: str) -> str | None:
    lines = text.splitlines(keepends=True)
    if not 0 < line <= len(lines):
        return None
    content, start = lines[line - 1], column - 1
    if content[start : start + len(word)] != word:
        return None
    lines[line - 1] = f'{content[:start]}"{word}"{content[start + len(word) :]}'
    return "".join(lines)


def _replace(path: Path, before: bytes, after: bytes) -> Path:
    """Write a file in one step, after keeping what it was."""
    kept = path.with_name(f"{path.name}.bak")
    if not kept.exists():
        kept.write_bytes(before)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False, suffix=".tmp") as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
    temporary = Path(file.name)
    temporary.chmod(path.stat().st_mode & 0o777)
    temporary.replace(path)
    return kept
