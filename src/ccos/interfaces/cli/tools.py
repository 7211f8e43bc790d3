"""``ccos tools``: find the legacy tools of a folder, look at them, and call them in the engine."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from ccos.errors import FeatureDisabledError, ScriptToolNotFoundError
from ccos.interfaces.cli.exits import ExitCode, UsageError, code_of
from ccos.interfaces.cli.levels import policy_at
from ccos.interfaces.cli.options import COMMON, Common, LongCommon, read_arguments
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import Screen
from ccos.interfaces.cli.session import load, opened, screen_of

if TYPE_CHECKING:
    from ccos.config import Settings
    from ccos.engine.executions import ExecutionResult
    from ccos.engine.scripts import ScriptTool
    from ccos.engine.service import ScriptEngine
    from ccos.migration import Discovery, DiscoveryConfig, FileReport, RuneTool, ToolDefinition

app = App(name="tools", help="Find legacy tools, look at them, and call them in the engine.")

_PROGRESS_SECONDS: Final = 1.0
_LINE: Final = 100

Directories = Annotated[
    list[Path] | None,
    Parameter(
        name=("--directory", "-d"),
        negative="",
        help="Look in this folder or file, in place of the tools that are registered; may be "
        "given several times.",
    ),
]
Name = Annotated[str, Parameter(help="Its name.", allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Looking:
    """The options of looking through folders."""

    follow_symlinks: Annotated[
        bool, Parameter(negative="", help="Follow links that stay in the folder.")
    ] = False
    flat: Annotated[
        bool, Parameter(negative="", help="Do not look into folders of the folder.")
    ] = False
    exclude: Annotated[
        list[str] | None,
        Parameter(name="--exclude", negative="", help="Pass over files and folders of this name."),
    ] = None
    max_file_size: Annotated[
        int | None, Parameter(help="In bytes; a larger file is a failure. 10 MiB by default.")
    ] = None

    def config(self) -> DiscoveryConfig:
        """How discovery is to look.

        Raises:
            ConfigurationError: if that makes no sense.
        """
        import dataclasses

        from ccos.migration import DiscoveryConfig

        config = DiscoveryConfig(follow_symlinks=self.follow_symlinks, recursive=not self.flat)
        excluded = frozenset(self.exclude or ())
        if self.max_file_size is not None:
            config = dataclasses.replace(config, max_file_size=self.max_file_size)
        return dataclasses.replace(
            config,
            exclude_dirs=config.exclude_dirs | excluded,
            exclude_files=config.exclude_files | excluded,
        )


LOOKING: Final = Looking()


@app.command
async def discover(
    *directories: Annotated[
        Path, Parameter(help="Folders or files; by default tools and rune_tools.")
    ],
    looking: Looking = LOOKING,
    common: Common = COMMON,
) -> ExitCode:
    """Say of every file what it is: a tool, a library, a script, a hook, or invalid, and why.

    Nothing of a file runs but the functions that describe a tool, and those where nothing of the
    host exists. Nothing is registered. Exit code 1 if a tool cannot be used.
    """
    screen = screen_of(common)
    found = await _discovered(load(common).settings, directories, looking, screen)
    screen.document(found.as_dict())
    screen.table(
        ("file", "is", "tools", "reason"),
        (
            (
                _shown(report.path),
                report.verdict.value,
                ", ".join(tool.name for tool in report.tools) or "-",
                short(report.reason, _LINE),
            )
            for report in found.files
        ),
        empty="No files that may have tools.",
    )
    for report in found.failed:
        _show_problems(screen, report)
    for one in found.skipped:
        screen.note(f"{_shown(one.path)} is passed over: {one.reason}")
    for warning in found.warnings:
        screen.note(f"Warning: {warning}")
    summary = found.as_dict()["summary"]
    screen.text(
        f"{_counted(summary['tools'], 'tool')} found, {summary['failed']} failed; "
        f"{summary['ignored']} of {_counted(summary['files'], 'file')} ignored; "
        f"{summary['seconds']:.2f} s."
    )
    return ExitCode.FAILED if found.failed else ExitCode.DONE


@app.command(name="list")
async def list_tools(
    *,
    directory: Directories = None,
    looking: Looking = LOOKING,
    common: Common = COMMON,
) -> None:
    """List the tools that are registered in the engine, or those of a folder."""
    async with _tools(common, directory, looking) as tools:
        known = await tools.all()
        tools.screen.document({"tools": [one.as_dict() for one in known]})
        tools.screen.table(
            ("name", "version", "category", "tags", "description", "from"),
            (
                (
                    one.definition.name,
                    one.definition.version,
                    one.definition.category,
                    ", ".join(one.definition.tags) or "-",
                    short(one.definition.description, 60),
                    one.place,
                )
                for one in known
            ),
            empty="There are no tools here; `ccos tools discover` says why.",
        )


@app.command
async def show(
    name: Name,
    /,
    *,
    directory: Directories = None,
    looking: Looking = LOOKING,
    common: Common = COMMON,
) -> None:
    """Show one tool: what it takes and gives, and where it comes from."""
    async with _tools(common, directory, looking) as tools:
        one = await tools.find(name)
        definition = one.definition
        tools.screen.document(one.as_dict())
        tools.screen.fields(
            [
                ("name", definition.name),
                ("description", definition.description),
                ("version", definition.version),
                ("category", definition.category),
                ("tags", ", ".join(definition.tags) or "-"),
                ("author", definition.author or "-"),
                ("form", definition.form.value),
                ("function", definition.entry.function),
                ("from", one.place),
                ("enabled", definition.enabled),
                ("takes", _text(definition.input_schema)),
                ("gives", _text(definition.output_schema) if definition.output_schema else "-"),
            ]
        )


@app.command
async def call(
    name: Name,
    /,
    *,
    arguments: Annotated[
        str | None,
        Parameter(
            help="A JSON object of arguments, @FILE, or - for standard input.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    arg: Annotated[
        list[str] | None,
        Parameter(name="--arg", negative="", help="NAME=VALUE; may be given several times."),
    ] = None,
    level: Annotated[
        str | None,
        Parameter(
            help="safe, development (dev) or production (prod), for a tool of a folder; by "
            "default that of the engine. A registered tool has its own."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        Parameter(help="Stop it after so many seconds; can only shorten what its level allows."),
    ] = None,
    directory: Directories = None,
    looking: Looking = LOOKING,
    common: Common = COMMON,
) -> ExitCode:
    """Call a tool in the engine. What it prints comes before its result.

    Arguments and result are held to the tool's schemas. Exit code 1 if it fails, 4 if there is no
    such tool.
    """
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise UsageError("--timeout is a number of seconds above 0.")
    if level is not None and not directory:
        raise UsageError("--level is for a tool of a --directory; a registered one has its own.")
    given = read_arguments(arg or (), arguments)
    async with _tools(common, directory, looking) as tools:
        from ccos.engine.executions import ExecutionContext
        from ccos.migration import call_in_engine

        if not tools.engine.is_running():
            raise FeatureDisabledError(
                "The script engine is switched off.",
                next_step="Set CCOS_SCRIPT_ENGINE_ENABLED=true to switch it on.",
            )
        one = await tools.find(name)
        script_id = await tools.compiled(one, level)
        context = ExecutionContext(
            timeout=timeout, working_directory=Path.cwd(), caller=tools.settings.approver
        )
        result = await call_in_engine(tools.engine, script_id, one.definition, given, context)
        return _show_result(result, tools.screen)


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool that is registered, or was found in a file; exactly one of them."""

    definition: ToolDefinition
    registered: ScriptTool | None = None
    found: RuneTool | None = None

    @property
    def place(self) -> str:
        """Where it comes from."""
        if self.found is not None and self.found.file_path is not None:
            return _shown(self.found.file_path)
        return "the engine"

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        if self.found is not None:
            return {**self.found.as_dict(), "registered": False}
        assert self.registered is not None
        return {
            **self.definition.as_dict(),
            "script_id": self.registered.script_id,
            "file_path": self.registered.metadata.get("original_file_path"),
            "registered": True,
        }


@dataclass(frozen=True, slots=True)
class _Tools:
    """The tools that a command is about: those of folders, or else those of the engine."""

    engine: ScriptEngine
    settings: Settings
    screen: Screen
    discovery: Discovery | None

    async def all(self) -> list[_Tool]:
        """All of them, by name."""
        from ccos.migration import definition_of

        if self.discovery is not None:
            return [_Tool(tool.definition, found=tool) for tool in self.discovery.tools]
        kept = await self.engine.list_script_tools()
        return [_Tool(definition_of(tool), registered=tool) for tool in kept]

    async def find(self, name: str) -> _Tool:
        """One of them, by its name or an alias.

        Raises:
            ScriptToolNotFoundError: if there is none, saying what stands in its way.
        """
        from ccos.migration import ToolRegistry, definition_of, registered_tool

        if self.discovery is None:
            kept = await registered_tool(self.engine, name)
            return _Tool(definition_of(kept), registered=kept)
        registry = ToolRegistry()
        for tool in self.discovery.tools:
            if tool.name in (name, name.removeprefix("rune_")):
                registry.register_tool(tool)
        found = registry.get_tool(name)
        if found is None:
            raise self._unknown(name)
        return _Tool(found.definition, found=found)

    async def compiled(self, one: _Tool, level: str | None) -> str:
        """The id of the compiled script of a tool.

        Raises:
            ScriptError: if it cannot be compiled at that level.
            ConfigurationError: if there is no such level.
        """
        if one.registered is not None:
            return one.registered.script_id
        assert one.found is not None
        from ccos.engine.executions import CompilationContext
        from ccos.engine.policy import SecurityLevel

        path = one.found.file_path
        policy = None
        if level is not None:
            policy = policy_at(SecurityLevel.parse(level), self.engine, self.settings)
        context = CompilationContext(
            name=f"{one.definition.name}.rn" if path is None else _shown(Path(path.name)),
            language="rune",
            policy=policy,
            description=one.definition.description,
            author=one.definition.author or "",
            version=one.definition.version,
            tags=one.definition.tags,
        )
        return (await self.engine.compile_script(one.found.source_code, context)).script_id

    def _unknown(self, name: str) -> ScriptToolNotFoundError:
        assert self.discovery is not None
        problems = [
            f"{_shown(report.path)}: {problem}"
            for report in self.discovery.failed
            for problem in report.problems
            if problem.tool in (name, name.removeprefix("rune_"))
        ]
        reason = f" {problems[0]}" if problems else ""
        return ScriptToolNotFoundError(
            f"No tool {short(name, 100)} can be used here.{reason}",
            next_step="See what there is, and why, with `ccos tools discover`.",
            details={"tool": name, "problems": problems},
        )


@contextlib.asynccontextmanager
async def _tools(
    common: LongCommon, directories: list[Path] | None, looking: Looking
) -> AsyncIterator[_Tools]:
    async with opened(common) as session:
        screen, found = session.screen, None
        if directories:
            found = await _discovered(session.settings, directories, looking, screen)
            for warning in found.warnings:
                screen.note(f"Warning: {warning}")
        yield _Tools(session.ccos.script_engine, session.settings, screen, found)


async def _discovered(
    settings: Settings, directories: Iterable[Path], looking: Looking, screen: Screen
) -> Discovery:
    from ccos.engine.jail import probe
    from ccos.engine.modules import host_modules
    from ccos.engine.rune import RuneLanguage, RuneWorkers
    from ccos.migration import Discoverer, RuneInspector

    config, engine, modules = looking.config(), settings.services.script_engine, host_modules()
    workers = RuneWorkers(
        processes=min(engine.workers, config.concurrency),
        max_waiting=0,
        isolation=None if engine.isolation == "interpreter" else cache(probe),
    )
    async with workers:
        inspector = RuneInspector(RuneLanguage(workers, modules), modules)
        discoverer = Discoverer(config, inspector)
        return await discoverer.discover(*directories, progress=_Progress(screen))


class _Progress:
    """Says on standard error, once a second, how far a long search is."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._due = time.monotonic() + _PROGRESS_SECONDS

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._due and done < total:
            self._due = now + _PROGRESS_SECONDS
            self._screen.note(f"{done} of {total} files are read.")


def _show_problems(screen: Screen, report: FileReport) -> None:
    for problem in report.problems:
        place = ":".join(
            [_shown(report.path), *(str(one) for one in (problem.line, problem.column) if one)]
        )
        hint = f"\n  {problem.hint}" if problem.hint else ""
        screen.text(f"{place}: {problem.type.value}: {problem.message}{hint}")


def _show_result(result: ExecutionResult, screen: Screen) -> ExitCode:
    screen.document(result.as_dict())
    screen.part(result.stdout)
    screen.part(result.stderr, error=True)
    if result.error is not None:
        error = result.error
        screen.note(f"{error.code}: {error.message}\n{error.next_step}")
        return code_of(error)
    if result.value is not None:
        if result.stdout and not result.stdout.endswith("\n"):
            screen.part("\n")
        screen.value(result.value)
    return ExitCode.DONE


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _shown(path: Path) -> str:
    from ccos.migration.definitions import shown_path

    return shown_path(path)


def _text(schema: Any) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)
