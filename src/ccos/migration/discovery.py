"""Discovery: every file of some folders, with a verdict and a reason for each."""

from __future__ import annotations

import asyncio
import dataclasses
import fnmatch
import re
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ccos.engine.scripts import unstorable_character
from ccos.errors import (
    CompilationError,
    ResourceExceededError,
    ScriptError,
    ScriptRaisedError,
    ScriptTimeoutError,
)
from ccos.migration.contract import read_contract
from ccos.migration.definitions import RUNE, RuneTool, content_hash, shown_path
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.folders import (
    FoundFile,
    Passed,
    UnreadableFileError,
    Walk,
    read_content,
    walk,
)
from ccos.migration.inspection import Inspector, Outline
from ccos.migration.problems import MigrationErrorType, Problem, undiscovered
from ccos.migration.reading import IGNORED, Described, Reading, SourceReader, Verdict, refused

_READINGS_KEPT: Final = 20_000

Progress = Callable[[int, int], None]
"""Called with how many files are done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What was made of one file.

    Attributes:
        reason: Why the verdict is what it is, in one sentence.
        tools: The tools in it that can be used.
        problems: What is wrong, of the file or of single tools in it.
        warnings: What stands against nothing, but should be known.
        source_hash: Of its bytes; empty if it could not be read.
        cached: Whether it was known already.
    """

    path: Path
    root: Path
    verdict: Verdict
    reason: str
    tools: tuple[RuneTool, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    source_hash: str = ""
    size_bytes: int = 0
    cached: bool = False

    @property
    def failures(self) -> int:
        """How many tools of it cannot be used; one, if nobody knows how many it has."""
        named = {one.tool for one in self.problems if one.tool}
        return len(named) or bool(self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "path": shown_path(self.path),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "tools": [tool.as_dict() for tool in self.tools],
            "problems": [problem.as_dict() for problem in self.problems],
            "warnings": list(self.warnings),
            "source_hash": self.source_hash,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found in some folders.

    Attributes:
        files: Every file that was looked at, in order.
        skipped: Links that were not followed, with the reason.
        warnings: Folders that are not there.
    """

    files: tuple[FileReport, ...]
    skipped: tuple[Passed, ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def tools(self) -> tuple[RuneTool, ...]:
        """The tools that can be used, by name."""
        found = (tool for report in self.files for tool in report.tools)
        return tuple(sorted(found, key=lambda tool: tool.name))

    @property
    def failed(self) -> tuple[FileReport, ...]:
        """The files in which something cannot be used."""
        return tuple(report for report in self.files if report.problems)

    @property
    def ignored(self) -> tuple[FileReport, ...]:
        """The files that are no tool and need not be."""
        return tuple(report for report in self.files if report.verdict in IGNORED)

    @property
    def total_discovered(self) -> int:
        """Tools that can be used, and those that cannot."""
        return len(self.tools) + sum(report.failures for report in self.failed)

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "summary": {
                "files": len(self.files),
                "tools": len(self.tools),
                "failed": sum(report.failures for report in self.failed),
                "ignored": len(self.ignored),
                "skipped": len(self.skipped),
                "seconds": self.seconds,
            },
            "files": [report.as_dict() for report in self.files],
            "skipped": [
                {"path": shown_path(one.path), "reason": one.reason} for one in self.skipped
            ],
            "warnings": list(self.warnings),
        }


class Discoverer:
    """Looks for tools. What it read once it does not read again until the content changes.

    Args:
        config: How it looks.
        inspector: Reads the sources in Rune.
        readers: Read those in other languages; files of their endings count besides those of the
            configuration.
        clock: Gives the time, in seconds since the Unix epoch.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        inspector: Inspector,
        *,
        readers: Sequence[SourceReader] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._readers = {one: reader for reader in readers for one in reader.extensions}
        extensions = (*config.extensions, *(one for one in self._readers))
        self.config = dataclasses.replace(config, extensions=tuple(dict.fromkeys(extensions)))
        self._inspector = inspector
        self._clock = clock
        self._readings: OrderedDict[Path, tuple[str, Reading]] = OrderedDict()

    async def discover(self, *roots: Path, progress: Progress | None = None) -> Discovery:
        """Look into folders, or at single files.

        Args:
            roots: Where; the folders of the configuration if none are named. What is named is
                searched whatever it is called.
            progress: Is told after each file.

        Raises:
            IsolationError, ConfigurationError: if no source can be read at all, such as for want
                of the Rune worker.
        """
        started = time.perf_counter()
        found = await asyncio.to_thread(walk, self.config, roots or self.config.directories)
        reports = await self._reports(found, progress)
        return Discovery(
            files=without_duplicates(reports),
            skipped=tuple(found.skipped),
            warnings=tuple(f"{shown_path(one)} does not exist." for one in found.missing),
            seconds=time.perf_counter() - started,
        )

    async def read_source(self, source: str, name: str = "memory.rn") -> FileReport:
        """What a text is that comes from no file; its tools have no path."""
        content = source.encode(errors="surrogatepass")
        found = FoundFile(Path(name), Path(name), Path(name))
        report = await self._judged(found, content, self._clock())
        (report,) = without_duplicates([report])
        tools = tuple(dataclasses.replace(tool, file_path=None) for tool in report.tools)
        return dataclasses.replace(report, tools=tools)

    async def read_content(self, content: bytes, path: Path) -> FileReport:
        """What the bytes of a file are, such as of a copy; its tools are said to be from there."""
        report = await self._judged(FoundFile(path, path, path), content, self._clock())
        (report,) = without_duplicates([report])
        return report

    async def _reports(self, found: Walk, progress: Progress | None) -> list[FileReport]:
        done = 0
        total = len(found.files)
        gate = asyncio.Semaphore(self.config.concurrency)

        async def one(file: FoundFile) -> FileReport:
            nonlocal done
            async with gate:
                report = await self._report(file)
            done += 1
            if progress is not None:
                progress(done, total)
            return report

        tasks = [asyncio.create_task(one(file)) for file in found.files]
        try:
            reports = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        unreadable = (_unreadable(one.path, one.path, one.reason) for one in found.unreadable)
        return [*reports, *unreadable]

    async def _report(self, found: FoundFile) -> FileReport:
        try:
            content, modified_at = await asyncio.to_thread(read_content, found, self.config)
        except UnreadableFileError as error:
            return _unreadable(found.path, found.root, str(error))
        return await self._judged(found, content, modified_at)

    async def _judged(self, found: FoundFile, content: bytes, modified_at: float) -> FileReport:
        digest = content_hash(content)
        known = self._readings.get(found.target)
        cached = known is not None and known[0] == digest
        if known is not None and cached:
            reading = known[1]
        else:
            reading, for_good = await self._read(found, content)
            if for_good:
                self._keep(found.target, digest, reading)
        source = content.decode("utf-8-sig", errors="replace")
        tools = (
            self._tool(one, found, source, digest, modified_at)
            for one in reading.tools
            if one.definition is not None
        )
        return FileReport(
            path=found.path,
            root=found.root,
            verdict=reading.verdict,
            reason=reading.reason,
            tools=tuple(tools),
            problems=reading.problems,
            warnings=reading.warnings,
            source_hash=digest,
            size_bytes=len(content),
            cached=cached,
        )

    async def _read(self, found: FoundFile, content: bytes) -> tuple[Reading, bool]:
        """What a text is, and whether reading it again would give the same."""
        try:
            source = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return refused([undiscovered(f"It is not UTF-8 text (byte {error.start}).")]), True
        place = unstorable_character(source)
        if place is not None:
            line = source.count("\n", 0, place) + 1
            message = f"It has the character U+{ord(source[place]):04X}, which cannot be kept."
            return refused([dataclasses.replace(undiscovered(message), line=line)]), True
        name, stem = shown_path(Path(found.path.name)), shown_path(Path(found.path.stem))
        reader = self._reader_of(found)
        try:
            if reader is not None:
                return await reader.read(source, name, self.config), True
            answer = await self._inspector.inspect(source, name)
        except _OF_THE_SOURCE as error:
            return refused([_failed(error)]), False
        return read_contract(Outline.of(answer), stem, self.config), True

    def _reader_of(self, found: FoundFile) -> SourceReader | None:
        """What reads a file that is not in Rune."""
        return self._readers.get(found.path.suffix.lower().removeprefix("."))

    def _tool(
        self, one: Described, found: FoundFile, source: str, digest: str, modified_at: float
    ) -> RuneTool:
        assert one.definition is not None
        reader = self._reader_of(found)
        return RuneTool(
            definition=one.definition,
            source_code=source,
            source_hash=digest,
            file_path=found.path,
            metadata=self._metadata(found, one),
            created_at=self._clock(),
            modified_at=modified_at,
            language=RUNE if reader is None else reader.language,
        )

    def _metadata(self, found: FoundFile, one: Described) -> dict[str, str]:
        assert one.definition is not None
        patterns, relative = self.config.patterns, shown_path(found.relative)
        known = {"line": str(one.line)}
        labels = [
            label
            for label, pattern in sorted(patterns.custom_patterns.items())
            if fnmatch.fnmatchcase(relative, pattern)
        ]
        if labels:
            known["patterns"] = ",".join(labels)
        if patterns.semantic_naming:
            module = one.definition.entry.function.rpartition("::")[0]
            words = set(re.split(r"[^a-z]+", f"{relative} {module}".lower()))
            consumers = [name for name, hints in _CONSUMERS.items() if words & hints]
            if consumers:
                known["consumers"] = ",".join(consumers)
        return known

    def _keep(self, target: Path, digest: str, reading: Reading) -> None:
        self._readings[target] = (digest, reading)
        self._readings.move_to_end(target)
        while len(self._readings) > _READINGS_KEPT:
            self._readings.popitem(last=False)


def without_duplicates(reports: Sequence[FileReport]) -> tuple[FileReport, ...]:
    """The same reports without the tools that share a name; each problem lists where all are.

    Nobody can tell which of them is meant, and the last one winning would be chance.
    """
    places: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        for tool in report.tools:
            places[tool.name].append(f"{shown_path(report.path)}:{tool.metadata['line']}")
    shared = {name: found for name, found in places.items() if len(found) > 1}
    return tuple(_without(report, shared) for report in reports)


def _without(report: FileReport, shared: Mapping[str, list[str]]) -> FileReport:
    names = sorted({tool.name for tool in report.tools if tool.name in shared})
    if not names:
        return report
    duplicates = tuple(
        undiscovered(
            f"{len(shared[name])} tools are called {name!r}: {', '.join(shared[name])}.",
            tool=name,
            hint="Rename all but one, or leave the others out.",
        )
        for name in names
    )
    left = tuple(tool for tool in report.tools if tool.name not in shared)
    return dataclasses.replace(
        report,
        verdict=report.verdict if left else Verdict.INVALID,
        reason=report.reason if left else str(duplicates[0]),
        tools=left,
        problems=(*duplicates, *report.problems),
    )


def _unreadable(path: Path, root: Path, reason: str) -> FileReport:
    return FileReport(
        path=path,
        root=root,
        verdict=Verdict.INVALID,
        reason=reason,
        problems=(undiscovered(reason),),
    )


def _failed(error: ScriptError) -> Problem:
    return Problem(
        type=MigrationErrorType.COMPILATION_FAILED, message=error.message, code=error.code
    )


_OF_THE_SOURCE: Final = (
    CompilationError,
    ResourceExceededError,
    ScriptRaisedError,
    ScriptTimeoutError,
)
"""Errors that one source causes; all others concern every source."""

_CONSUMERS: Final[Mapping[str, frozenset[str]]] = {
    "ui": frozenset({"ui"}),
    "agents": frozenset({"agent", "ai", "analysis", "recommend"}),
    "services": frozenset({"file", "search", "data", "storage"}),
}
"""For whom a tool may be, by words in the names of its folder, file and module."""
