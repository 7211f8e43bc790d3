"""Loading tools into a registry: from folders, again when they changed, and by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ccos.errors import CcosError, ScriptError
from ccos.migration.definitions import RuneTool, shown_path
from ccos.migration.discovery import Discoverer, Discovery, FileReport
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.folders import fingerprint
from ccos.migration.inspection import Inspector
from ccos.migration.registry import ToolRegistry

_log = logging.getLogger(__name__)


class ToolLoader:
    """Keeps a registry as the folders are that it was shown.

    Args:
        config: How to look for tools.
        inspector: Reads the sources.
        registry: Takes the tools.
        try_out: Makes sure that a new version can run, before it takes the place of the old one.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        inspector: Inspector,
        registry: ToolRegistry,
        try_out: Callable[[RuneTool], Awaitable[object]],
    ) -> None:
        self._config = config
        self._discoverer = Discoverer(config, inspector)
        self._registry = registry
        self._try_out = try_out
        self._marks: dict[Path, str] = {}
        self._changing = asyncio.Lock()
        self.roots: list[Path] = []
        """The folders that were looked into."""

    async def report(self, tool: RuneTool) -> FileReport | None:
        """What the file of a tool is now; None if it is gone or never was."""
        if tool.file_path is None:
            return None
        found = await self._discoverer.discover(tool.file_path)
        return found.files[0] if found.files else None

    async def discover(self, paths: Sequence[Path] = ()) -> int:
        """Look into folders, or into those of the configuration; returns how many tools are new."""
        roots = tuple(paths) or self._config.directories
        async with self._changing:
            self.roots += [root for root in roots if root not in self.roots]
            before = {tool.name for tool in self._registry.list_tools()}
            _, marks = await self._look(roots)
            self._marks |= marks
            return len({tool.name for tool in self._registry.list_tools()} - before)

    async def reload_all(self) -> int:
        """Look again where tools were found; returns how many were loaded, anew or given up.

        A tool whose file is gone is given up; one whose file is bad now goes on as it was.
        """
        async with self._changing:
            if not self.roots:
                return 0
            before = self._hashes()
            found, self._marks = await self._look(self.roots)
            for tool in self._registry.list_tools():
                if _is_gone(tool, found):
                    self._registry.unregister_tool(tool.name)
            after = self._hashes()
            return sum(before.get(name) != after.get(name) for name in before | after)

    async def reload(self, name: str) -> bool:
        """Load a tool anew from its file; False if its text has not changed.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
            ScriptError: if the file is gone or its text cannot be used; the old one stays.
        """
        async with self._changing:
            return await self._reload(self._registry.find(name))

    async def _look(self, roots: Sequence[Path]) -> tuple[Discovery, dict[Path, str]]:
        """What is in some folders, and the marks by which a later change is noticed."""
        # Taken first: what changes while the files are read is noticed the next time.
        marks = await asyncio.to_thread(fingerprint, self._config, roots)
        found = await self._discoverer.discover(*roots)
        for tool in found.tools:
            try:
                await self._take(tool)
            except CcosError as error:
                _log.warning("%s is not loaded: %s", place(tool), error.message)
        for report in (one for one in found.failed if not one.cached):
            _log.warning("%s: %s", shown_path(report.path), report.problems[0])
        return found, marks

    async def _take(self, tool: RuneTool) -> bool:
        """Register a tool, or replace the one from the same file if it changed."""
        known = self._registry.get_tool(tool.name)
        if known is None or (known.name, known.file_path) != (tool.name, tool.file_path):
            self._registry.register_tool(tool)
            return True
        if not self._registry.needs_reload(tool.name, tool.source_hash):
            self._registry.looked_at(tool.name)
            return False
        await self._try_out(tool)
        self._registry.reload_tool(tool)
        return True

    async def _reload(self, tool: RuneTool) -> bool:
        if tool.file_path is None:
            return False
        report = await self.report(tool)
        if report is None:
            raise ScriptError(
                f"The file of tool {tool.name!r} is gone: {place(tool)}.",
                next_step="Put it back, or unregister the tool.",
            )
        fresh = next((one for one in report.tools if one.name == tool.name), None)
        if fresh is None:
            raise ScriptError(
                f"Tool {tool.name!r} cannot be loaded anew: {report.reason}",
                next_step="Correct its file; until then the old version serves.",
                details={"problems": [one.as_dict() for one in report.problems]},
            )
        return await self._take(fresh)

    async def watch(self) -> None:
        """Load tools anew when their files changed and are then left alone for a moment."""
        config = self._config
        while True:
            await asyncio.sleep(config.interval_seconds)
            marks = await asyncio.to_thread(fingerprint, config, self.roots)
            if marks == self._marks:
                continue
            settled = None
            while settled != marks:
                settled = marks
                await asyncio.sleep(config.debounce_seconds)
                marks = await asyncio.to_thread(fingerprint, config, self.roots)
            try:
                await self.reload_all()
            except CcosError as error:
                _log.warning("Tools could not be loaded anew: %s", error.message)

    def _hashes(self) -> dict[str, str]:
        return {tool.name: tool.source_hash for tool in self._registry.list_tools()}


def _is_gone(tool: RuneTool, found: Discovery) -> bool:
    """Whether a tool is no longer in its file, and nothing in that file is wrong."""
    if tool.file_path is None:
        return False
    for report in found.files:
        if report.path == tool.file_path:
            return not report.problems and tool.name not in {one.name for one in report.tools}
    return True


def place(tool: RuneTool) -> str:
    """Where a tool comes from, for messages."""
    return tool.name if tool.file_path is None else shown_path(tool.file_path)
