"""Making a tool ready to be registered, without writing anything."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled, Language
from ccos.engine.library import CompiledScript
from ccos.engine.policy import SecurityLevel, SecurityPolicy
from ccos.engine.scripts import Script, check_source
from ccos.engine.scripts import script_id as content_id
from ccos.errors import CcosError, CompilationError, ScriptError, SecurityViolationError
from ccos.migration.definitions import RuneTool, file_name
from ccos.migration.failures import failure_of
from ccos.migration.outcomes import MigrationError
from ccos.migration.parts import MigrationParts
from ccos.migration.problems import MigrationErrorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A tool that was compiled for the level that it is to have.

    Attributes:
        content_id: Identity of its text, language and policy.
        made: The script under its id to be, and what the language made of it.
        unit_format: Of the language.
    """

    tool: RuneTool
    content_id: str
    made: CompiledScript
    unit_format: str

    @property
    def script(self) -> Script:
        """The script to be kept."""
        return self.made.script

    @property
    def policy(self) -> SecurityPolicy:
        """What it may use when it runs."""
        return self.made.policy

    @property
    def compiled(self) -> Compiled:
        """What the language made of it."""
        return self.made.compiled


class Stager:
    """Compiles tools for a level.

    Args:
        parts: Languages and host modules.
        preserve_ids: Whether a script gets the tool's own id.
    """

    def __init__(self, parts: MigrationParts, *, preserve_ids: bool) -> None:
        self._parts = parts
        self._preserve_ids = preserve_ids
        self._granted: dict[SecurityPolicy, dict[str, HostFunction]] = {}
        self._formats: dict[str, str] = {}

    async def stage(self, tool: RuneTool, level: SecurityLevel) -> Staged:
        """Compile a tool.

        Raises:
            MigrationFailedError: if its text is not accepted, or uses what the level does not
                have; the context then names the levels that have it.
        """
        policy = self._parts.policy_at(level)
        started, now = time.perf_counter(), time.time()
        try:
            language = self._parts.language(tool.language)
            check_source(
                tool.source_code,
                file_name(tool),
                max_bytes=self._parts.engine_config.max_source_size,
            )
            compiled = await self._compile(tool, language, policy)
            self._check_entry(tool, compiled)
            unit_format = await self._format(language)
        except SecurityViolationError as error:
            raise (await self._violation(tool, error, level)).raised(error.next_step) from error
        except CcosError as error:
            raise failure_of(tool, error, phase="compile").raised(error.next_step) from error
        definition, options = tool.definition, {"policy": policy.options()}
        identity = content_id(tool.source_code, language.name, options)
        script = Script(
            script_id=tool.id if self._preserve_ids else identity,
            language=language.name,
            name=file_name(tool),
            source=tool.source_code,
            level=policy.level,
            options=options,
            description=definition.description,
            author=definition.author or "",
            version=definition.version,
            tags=definition.tags,
            created_at=now,
            updated_at=now,
        )
        seconds = time.perf_counter() - started
        made = CompiledScript(script, policy, language, compiled, False, seconds)
        return Staged(tool=tool, content_id=identity, made=made, unit_format=unit_format)

    async def allowed_at(self, tool: RuneTool) -> tuple[SecurityLevel, ...]:
        """The levels at which a tool compiles."""
        language = self._parts.language(tool.language)
        found = []
        for level in SecurityLevel:
            try:
                await self._compile(tool, language, self._parts.policy_at(level))
            except ScriptError:
                continue
            found.append(level)
        return tuple(found)

    async def _compile(
        self, tool: RuneTool, language: Language, policy: SecurityPolicy
    ) -> Compiled:
        functions = self._granted.get(policy)
        if functions is None:
            functions = self._granted[policy] = dict(self._parts.modules.granted(policy))
        return await language.compile(
            tool.source_code, name=file_name(tool), functions=functions, level=policy.name
        )

    def _check_entry(self, tool: RuneTool, compiled: Compiled) -> None:
        entry = tool.definition.entry.function
        if entry not in compiled.exports:
            raise CompilationError(
                f"Tool {tool.name!r} failed to compile: it has no function {entry}."
            )

    async def _format(self, language: Language) -> str:
        known = self._formats.get(language.name)
        if known is None:
            known = self._formats[language.name] = await asyncio.to_thread(lambda: language.format)
        return known

    async def _violation(
        self, tool: RuneTool, error: SecurityViolationError, level: SecurityLevel
    ) -> MigrationError:
        allowed = [one.value for one in await self.allowed_at(tool)]
        base = failure_of(tool, error, phase="compile")
        having = (
            f"It would be allowed at {' or '.join(allowed)}." if allowed else "No level has it."
        )
        return MigrationError(
            tool_name=tool.name,
            error_type=MigrationErrorType.VALIDATION_FAILED,
            message=f"{base.message} {having}",
            context={**base.context, "level": level.value, "allowed_at": allowed},
        )
