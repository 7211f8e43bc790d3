"""Looking closely at a migrated tool: trying it out, and holding it against the original."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.engine.executions import ExecutionContext, ExecutionResult
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.service import ScriptEngine
from ccos.errors import (
    CcosError,
    InvalidArgumentsError,
    InvalidResultError,
    ScriptTimeoutError,
)
from ccos.migration.calls import bound_arguments, checked_result
from ccos.migration.definitions import RUNE, RuneTool, ToolDefinition, content_hash
from ccos.migration.engine_tools import call_in_engine
from ccos.migration.inputs import refused_sample, samples
from ccos.migration.manifests import declares_effects
from ccos.migration.migration_config import ValidationConfig
from ccos.migration.outcomes import MigratedTool
from ccos.migration.parts import MigrationParts
from ccos.migration.rune_service import RuneService
from ccos.migration.sandbox import ToolSandbox
from ccos.migration.staging import Staged
from ccos.migration.tool_service import (
    ToolExecutionContext,
    ToolExecutionRequest,
    ToolExecutionResult,
)

CALLER: Final = "migration"
_COMPUTING: Final = frozenset({"crucible.basic", "crucible.json"})
_TIMED: Final = 5
_UNNOTICED_SECONDS: Final = 0.02
"""Differences below this are the noise of a machine, and nobody waits for them."""


@dataclass(slots=True)
class Findings:
    """What was found out about a tool.

    Attributes:
        issues: What stands against it.
        warnings: What should be known.
        checks: What was done and measured, JSON data.
    """

    issues: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)

    def failed(self, *, strict: bool) -> bool:
        """Whether the tool cannot be relied on."""
        return bool(self.issues or (strict and self.warnings))

    def first(self) -> str:
        """The first thing that stands against it."""
        return (*self.issues, *self.warnings)[0]


class Probe:
    """Tries tools out where nothing outside can be reached, whatever their level.

    Args:
        config: What is demanded.
        parts: Languages and host modules.
    """

    def __init__(self, config: ValidationConfig, parts: MigrationParts) -> None:
        self._config = config
        self._parts = parts
        self._sandboxes: dict[tuple[str, SecurityPolicy], ToolSandbox] = {}

    async def check(self, staged: Staged) -> Findings:
        """Contract, schemas, and a call with the smallest arguments that the schema accepts.

        A tool that declares effects is not called.
        """
        found = Findings()
        definition = staged.tool.definition
        self._check_contract(staged, found)
        if found.issues:
            return found
        reason = self._why_not(staged)
        if reason:
            found.warnings += [reason] if reason != _SWITCHED_OFF else []
            found.checks["called"] = False
            return found
        chosen = samples(definition.input_schema, 1)
        if not chosen:
            found.warnings.append("No arguments could be made that its schema accepts.")
            found.checks["called"] = False
            return found
        result = await self._call(staged, chosen[0])
        found.checks |= {"called": True, "seconds": result.seconds, "arguments": chosen[0]}
        self._judge(staged.tool, result, found)
        return found

    def _why_not(self, staged: Staged) -> str:
        """Why a tool is not called; empty if it is."""
        if not self._config.validate_functionality:
            return _SWITCHED_OFF
        if declares_effects(staged):
            return "It declares effects, so it was not called to try it out."
        if not staged.tool.enabled:
            return "It is disabled, so it was not called to try it out."
        return ""

    def may_call(self, staged: Staged) -> bool:
        """Whether a tool may be called just to see what it gives."""
        return not self._why_not(staged)

    async def stop(self) -> None:
        """End what runs."""
        for sandbox in self._sandboxes.values():
            await sandbox.stop()

    def _check_contract(self, staged: Staged, found: Findings) -> None:
        definition = staged.tool.definition
        for what, text in (("name", definition.name), ("description", definition.description)):
            if not text.strip():
                found.issues.append(f"Its {what} is empty.")
        known = staged.compiled.exports.get(definition.entry.function)
        if known is None:
            found.issues.append(f"It has no function {definition.entry.function}.")
        elif tuple(known) != definition.entry.parameters:
            found.issues.append(
                f"{definition.entry.function} has the parameters {', '.join(known) or 'none'}, "
                f"and the contract says {', '.join(definition.entry.parameters) or 'none'}."
            )

    async def _call(self, staged: Staged, arguments: Mapping[str, Any]) -> ExecutionResult:
        sandbox = self._sandbox(staged)
        bound = bound_arguments(staged.tool.definition, dict(arguments))
        context = ExecutionContext(caller=CALLER)
        return await sandbox.run(
            staged.tool, bound, timeout=self._config.probe_seconds, context=context
        )

    def _judge(self, tool: RuneTool, result: ExecutionResult, found: Findings) -> None:
        """A tool may refuse arguments that nobody chose; it may not loop, flood or break."""
        error = result.error
        if error is None:
            try:
                checked_result(tool.definition, result.value)
            except InvalidResultError as broken:
                found.issues.append(f"Test execution failed: {broken.message}")
            return
        text = f"Test execution failed: {error.message}"
        if isinstance(error, ScriptTimeoutError) or error.code != "CCOS-SCRIPT-RAISED":
            found.issues.append(text)
        else:
            found.warnings.append(text)

    def _sandbox(self, staged: Staged) -> ToolSandbox:
        """Where a tool is tried out: at Safe, with what only computes."""
        policy = _probing(staged.policy)
        language = staged.made.language
        key = (language.name, policy)
        if key not in self._sandboxes:
            self._sandboxes[key] = ToolSandbox(
                policy,
                language=language,
                modules=self._parts.modules,
                storage=self._parts.storage,
                audit=self._parts.audit,
                events=self._parts.events,
                requests=self._parts.requests,
            )
        sandbox = self._sandboxes[key]
        if policy.allowed_modules == staged.policy.allowed_modules:
            sandbox.adopt(staged.tool, staged.made)
        return sandbox


class Comparison:
    """Holds migrated tools against the originals, on the same arguments.

    Args:
        config: What is demanded.
        engine: Where migrated tools run.
        original: The original runtime, which has the same tools.
        probe: Tells which tools may be called.
    """

    def __init__(
        self,
        config: ValidationConfig,
        engine: ScriptEngine,
        original: RuneService | None,
        probe: Probe,
    ) -> None:
        self._config = config
        self._engine = engine
        self._original = original
        self._probe = probe

    async def check(self, staged: Staged, migrated: MigratedTool) -> Findings:
        """Source, definition, arguments to be refused, results, limits, and time."""
        found = Findings()
        await asyncio.to_thread(_check_source, staged.tool, migrated, found)
        definition = migrated.definition
        if not _refuses(definition):
            found.issues.append("Arguments that its schema refuses are accepted.")
        if not self._probe.may_call(staged):
            found.checks["compared"] = 0
            return found
        chosen = samples(definition.input_schema, self._config.samples)
        compared = 0
        for arguments in chosen:
            ours = await self._ours(migrated, arguments)
            theirs = await self._theirs(staged.tool, arguments)
            if theirs is None:
                if isinstance(ours, CcosError) and ours.code not in _OF_ITS_OWN:
                    found.issues.append(f"Test execution failed: {ours.message}")
                continue
            compared += 1
            if _same(ours, theirs):
                continue
            await self._explain(staged.tool, arguments, ours, theirs, found)
            break
        if self._original_runs(staged.tool) is None:
            found.warnings.append(
                f"There is no original runtime for {staged.tool.language}; results were not "
                "compared."
            )
        found.checks["compared"] = compared
        if compared and not found.issues:
            await self._time(staged, migrated, chosen[0], found)
        return found

    async def _explain(
        self, tool: RuneTool, arguments: dict[str, Any], ours: Any, theirs: Any, found: Findings
    ) -> None:
        """A tool that differs from itself differs by time or chance, which is no fault."""
        again = await self._theirs(tool, arguments)
        text = (
            f"With {_shown(arguments)} the original gives {_shown(theirs)} and the migrated tool "
            f"{_shown(ours)}."
        )
        if again is not None and not _same(theirs, again):
            found.warnings.append(f"{text} The original gives something else each time.")
        else:
            found.issues.append(text)

    async def _ours(self, migrated: MigratedTool, arguments: dict[str, Any]) -> Any:
        context = ExecutionContext(caller=CALLER, timeout=self._config.probe_seconds)
        try:
            result = await call_in_engine(
                self._engine, migrated.migrated_script_id, migrated.definition, arguments, context
            )
        except CcosError as error:
            return error
        return result.value if result.error is None else result.error

    async def _theirs(self, tool: RuneTool, arguments: dict[str, Any]) -> Any:
        result = await self._called(tool, arguments)
        if result is None:
            return None
        return _Gave(result.result) if result.error is None else result.error

    def _original_runs(self, tool: RuneTool) -> RuneService | None:
        return self._original if tool.language == RUNE else None

    async def _called(
        self, tool: RuneTool, arguments: dict[str, Any]
    ) -> ToolExecutionResult | None:
        original = self._original_runs(tool)
        if original is None or original.registry.get_tool(tool.name) is None:
            return None
        request = ToolExecutionRequest(
            tool_name=tool.name,
            parameters=arguments,
            context=ToolExecutionContext(timeout=self._config.probe_seconds, user_context=CALLER),
        )
        return await original.execute_tool(request)

    async def _time(
        self, staged: Staged, migrated: MigratedTool, arguments: dict[str, Any], found: Findings
    ) -> None:
        """Both in turn, so that what else the machine does falls on both."""
        ours, theirs = [], []
        context = ExecutionContext(caller=CALLER, timeout=self._config.probe_seconds)
        for _ in range(_TIMED):
            result = await call_in_engine(
                self._engine, migrated.migrated_script_id, migrated.definition, arguments, context
            )
            ours.append(result.seconds)
            called = await self._called(staged.tool, arguments)
            if called is None or result.error is not None:
                return
            theirs.append(called.execution_time)
        now, before = statistics.median(ours), statistics.median(theirs)
        found.checks |= {"seconds": now, "original_seconds": before}
        allowed = before * (1 + self._config.max_performance_degradation / 100)
        if now <= allowed + _UNNOTICED_SECONDS:
            return
        text = f"A call takes {now * 1000:.1f} ms; the original takes {before * 1000:.1f} ms."
        if self._config.validate_performance:
            found.issues.append(text)
        else:
            found.warnings.append(text)


@dataclass(frozen=True, slots=True)
class _Gave:
    """A value that the original gave, null among them."""

    value: Any


_SWITCHED_OFF: Final = "off"
_OF_ITS_OWN: Final = ("CCOS-SCRIPT-RAISED", InvalidArgumentsError.code)


def _probing(policy: SecurityPolicy) -> SecurityPolicy:
    """Safe, with those modules of a policy that only compute."""
    safe = level_policy(SecurityLevel.SAFE)
    modules = frozenset(one for one in _COMPUTING if policy.allows_module(one))
    if modules == safe.allowed_modules:
        return safe
    return safe.derive("probe", looser=True, allowed_modules=modules)


def _check_source(tool: RuneTool, migrated: MigratedTool, found: Findings) -> None:
    if migrated.metadata["source_hash"] != tool.source_hash:
        found.issues.append("What is registered is not the text that was read.")
    if migrated.definition != tool.definition:
        found.issues.append("What is registered has another definition than the original.")
    if tool.file_path is None:
        return
    try:
        now = content_hash(tool.file_path.read_bytes())
    except OSError:
        found.warnings.append("Its file cannot be read any more.")
        return
    if now != tool.source_hash:
        found.warnings.append("Its file changed while it was migrated; reload it to follow.")


def _refuses(definition: ToolDefinition) -> bool:
    """Whether arguments that the schema refuses are refused."""
    wrong = refused_sample(definition.input_schema)
    if wrong is None:
        return True
    try:
        bound_arguments(definition, wrong)
    except CcosError:
        return True
    return False


def _same(ours: Any, theirs: Any) -> bool:
    match ours, theirs:
        case CcosError(), CcosError():
            return ours.code == theirs.code
        case (CcosError(), _) | (_, CcosError()):
            return False
    left = ours.value if isinstance(ours, _Gave) else ours
    right = theirs.value if isinstance(theirs, _Gave) else theirs
    return _text(left) == _text(right)


def _text(value: Any) -> str:
    """JSON tells 1 from 1.0, which Python does not."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _shown(value: Any) -> str:
    if isinstance(value, CcosError):
        return f"the error {value.code}"
    text = _text(value.value if isinstance(value, _Gave) else value)
    return text if len(text) <= 200 else text[:200] + "…"


def listed(tool: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Findings with the name of their tool."""
    return tuple(f"{tool}: {text}" for text in texts)
