"""The scripts of an engine: compiled, kept, found again, and offered as tools."""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ccos.engine.broker import SOURCE
from ccos.engine.cache import CompileCache
from ccos.engine.executions import CompilationContext
from ccos.engine.hosts import HostFunction, HostModules
from ccos.engine.languages import Compiled, Language
from ccos.engine.ledger import Ledger
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.scripts import Script, check_source, script_id
from ccos.engine.store import ScriptStore
from ccos.errors import (
    CompilationError,
    ConfigurationError,
    ScriptError,
    SecurityViolationError,
)
from ccos.events import Event, EventType

_ERRORS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class CompiledScript:
    """A script that is ready to run.

    Attributes:
        script: As it is kept.
        policy: What it may use when it runs.
        language: What runs it.
        compiled: What the language made of it.
        cached: Whether it was compiled before.
        seconds: What compiling took; 0 if it was cached.
    """

    script: Script
    policy: SecurityPolicy
    language: Language
    compiled: Compiled
    cached: bool
    seconds: float

    @property
    def script_id(self) -> str:
        """Its id."""
        return self.script.script_id

    def as_dict(self) -> dict[str, Any]:
        """What is worth telling of it, as JSON data."""
        return {
            "script_id": self.script_id,
            "name": self.script.name,
            "language": self.language.name,
            "format": self.language.format,
            "security_level": self.policy.level.value,
            "policy": self.policy.name,
            "exports": {name: list(names) for name, names in self.compiled.exports.items()},
            "modules": sorted(self.compiled.modules),
            "warnings": [one.as_dict() for one in self.compiled.warnings],
            "cached": self.cached,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class SecurityValidation:
    """Whether a text may run under a policy.

    Attributes:
        issues: What stands against it; empty if nothing does.
        modules: Host modules that it uses.
        levels: The levels at which nothing stands against it.
        diagnostics: Where each thing is, as data: what stands against it, or warnings.
    """

    issues: tuple[str, ...]
    modules: frozenset[str]
    levels: tuple[SecurityLevel, ...]
    diagnostics: tuple[dict[str, Any], ...] = ()

    @property
    def valid(self) -> bool:
        """Whether nothing stands against it."""
        return not self.issues

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "valid": self.valid,
            "issues": list(self.issues),
            "modules": sorted(self.modules),
            "levels": [level.value for level in self.levels],
            "diagnostics": list(self.diagnostics),
        }


class Library:
    """Compiles scripts and keeps them.

    The store has every script; the cache has what was made of some, and can be emptied any time.
    """

    def __init__(
        self,
        languages: Sequence[Language],
        modules: HostModules,
        store: ScriptStore,
        cache: CompileCache,
        ledger: Ledger,
        *,
        max_source_size: int,
        max_ready: int,
    ) -> None:
        self._languages = {language.name: language for language in languages}
        self._modules = modules
        self._store = store
        self._cache = cache
        self._ledger = ledger
        self._max_source_size = max_source_size
        self._max_ready = max_ready
        self._granted: dict[SecurityPolicy, Mapping[str, HostFunction]] = {}
        self._ready: OrderedDict[str, CompiledScript] = OrderedDict()
        self._errors: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()

    def granted(self, policy: SecurityPolicy) -> Mapping[str, HostFunction]:
        """The host functions that exist under a policy."""
        functions = self._granted.get(policy)
        if functions is None:
            functions = self._granted[policy] = self._modules.granted(policy)
        return functions

    def language_of(self, name: str, language: str | None) -> Language:
        """The language of a text: the one that is named, or that of the ending of its name.

        Raises:
            ConfigurationError: if there is none.
        """
        if language is not None:
            if language not in self._languages:
                known = ", ".join(sorted(self._languages))
                raise ConfigurationError(
                    f"There is no language {language!r}.", next_step=f"Use one of: {known}."
                )
            return self._languages[language]
        suffix = Path(name).suffix.lower()
        for one in self._languages.values():
            if suffix in one.suffixes:
                return one
        raise ConfigurationError(
            f"Nothing tells the language of {name}.",
            next_step="Give the file the ending of its language, or name the language.",
        )

    async def compile(
        self, source: str, context: CompilationContext, policy: SecurityPolicy
    ) -> CompiledScript:
        """Compile a text, or find what was made of it before.

        Raises:
            CompilationError: if the language does not accept it.
            SecurityViolationError: if it uses what its policy does not have.
            ConfigurationError: if there is no such language.
        """
        check_source(source, context.name, max_bytes=self._max_source_size)
        language = self.language_of(context.name, context.language)
        identity = script_id(source, language.name, {"policy": policy.options()})
        ready = self._ready.get(identity)
        if ready is not None and self._cache.held(identity, language.format) is not None:
            return ready
        return await self._make(
            _script(source, context, policy, language, identity), policy, language
        )

    async def load(self, identity: str) -> CompiledScript:
        """A kept script, ready to run.

        Raises:
            ScriptNotFoundError: if there is none of this id.
            ScriptError: if it can no longer be compiled.
        """
        ready = self._ready.get(identity)
        if ready is not None and self._cache.held(identity, ready.language.format) is not None:
            return ready
        script = await self._store.get(identity)
        policy = SecurityPolicy.from_options(script.options["policy"])
        return await self._make(script, policy, self.language_of(script.name, script.language))

    async def validate(self, script: Script) -> SecurityValidation:
        """What stands against a text under its policy, and at which levels nothing would."""
        policy = SecurityPolicy.from_options(script.options["policy"])
        context = CompilationContext(name=script.name, language=script.language)
        return await self.validate_source(script.source, context, policy)

    async def validate_source(
        self, source: str, context: CompilationContext, policy: SecurityPolicy
    ) -> SecurityValidation:
        """The same of a text that is not kept, and does not come to be kept by this.

        Raises:
            CompilationError: if no language could accept it, such as for its size.
            ConfigurationError: if there is no such language.
        """
        check_source(source, context.name, max_bytes=self._max_source_size)
        language = self.language_of(context.name, context.language)
        issues: list[str] = []
        diagnostics: list[dict[str, Any]] = []
        found: frozenset[str] = frozenset()
        levels = []
        policies = (policy, *(level_policy(level) for level in SecurityLevel))
        for number, one in enumerate(policies):
            try:
                compiled = await language.compile(
                    source,
                    name=context.name,
                    functions=self.granted(one),
                    level=one.name,
                )
            except ScriptError as error:
                if number == 0:
                    issues.append(error.message)
                    diagnostics += _findings(error, context.name)
                continue
            found |= compiled.modules
            if number == 0:
                diagnostics += [warning.as_dict() for warning in compiled.warnings]
            else:
                levels.append(one.level)
        return SecurityValidation(tuple(issues), found, tuple(levels), tuple(diagnostics))

    def errors(self, identity: str) -> list[dict[str, Any]]:
        """The diagnostics of the last attempt to compile a script; empty if it succeeded."""
        return self._errors.get(identity, [])

    async def forget(self, identity: str) -> None:
        """Drop what was made of a script; it is compiled again when it is needed."""
        self._ready.pop(identity, None)
        await self._cache.forget(identity)

    def forget_all(self) -> None:
        """Drop what this process has in hand."""
        self._ready.clear()

    async def _make(
        self, script: Script, policy: SecurityPolicy, language: Language
    ) -> CompiledScript:
        identity = script.script_id
        compiled = await self._cache.get(identity, language.format)
        if compiled is not None:
            made = CompiledScript(script, policy, language, compiled, cached=True, seconds=0.0)
            self._hold(made)
            return made
        started = time.perf_counter()
        compiled = await self._compile(script, policy, language)
        seconds = time.perf_counter() - started
        await self._store.save(script)
        await self._cache.put(identity, language.format, compiled)
        made = CompiledScript(script, policy, language, compiled, cached=False, seconds=seconds)
        self._hold(dataclasses.replace(made, cached=True, seconds=0.0))
        event = self._event(
            EventType.SCRIPT_COMPILED,
            identity,
            success=True,
            name=script.name,
            level=policy.level.value,
            duration_ms=round(seconds * 1000, 3),
            warnings=len(compiled.warnings),
            errors=[],
        )
        self._ledger.add([event])
        return made

    def _hold(self, made: CompiledScript) -> None:
        self._ready[made.script_id] = made
        self._ready.move_to_end(made.script_id)
        while len(self._ready) > self._max_ready:
            self._ready.popitem(last=False)

    async def _compile(
        self, script: Script, policy: SecurityPolicy, language: Language
    ) -> Compiled:
        identity = script.script_id
        try:
            compiled = await language.compile(
                script.source,
                name=script.name,
                functions=self.granted(policy),
                level=policy.name,
            )
        except (CompilationError, SecurityViolationError) as error:
            error.details.setdefault("script_id", identity)
            self._keep_errors(identity, script.name, error)
            await self._ledger.write(*self._refusal(script, policy, error))
            raise
        self._errors.pop(identity, None)
        return compiled

    def _refusal(self, script: Script, policy: SecurityPolicy, error: ScriptError) -> list[Event]:
        events = [
            self._event(
                EventType.SCRIPT_COMPILED,
                script.script_id,
                success=False,
                name=script.name,
                level=policy.level.value,
                errors=[error.as_dict()],
            )
        ]
        if isinstance(error, SecurityViolationError):
            events.append(
                self._event(
                    EventType.SECURITY_VIOLATION,
                    script.script_id,
                    violation_type="module",
                    details=error.message,
                    action_taken="not compiled",
                )
            )
        return events

    def _keep_errors(self, identity: str, name: str, error: ScriptError) -> None:
        self._errors[identity] = _findings(error, name)
        while len(self._errors) > _ERRORS_KEPT:
            self._errors.popitem(last=False)

    def _event(self, kind: EventType, identity: str, **data: Any) -> Event:
        return Event(kind, data={"script_id": identity, **data}, source=SOURCE)


def _script(
    source: str,
    context: CompilationContext,
    policy: SecurityPolicy,
    language: Language,
    identity: str,
) -> Script:
    now = time.time()
    return Script(
        script_id=identity,
        language=language.name,
        name=context.name,
        source=source,
        level=policy.level,
        options={"policy": policy.options()},
        description=context.description,
        author=context.author,
        version=context.version,
        tags=context.tags,
        created_at=now,
        updated_at=now,
    )


def _findings(error: ScriptError, name: str) -> list[dict[str, Any]]:
    """What an error of compiling says, as diagnostics."""
    return error.details.get("diagnostics") or [
        {"message": error.message, "code": error.code, "severity": "error", "file": name}
        | error.details
    ]
