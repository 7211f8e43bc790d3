"""Invokes functions of scripts that the script engine keeps."""

from __future__ import annotations

from typing import Any

from ccos.capabilities import Manifest, ScriptProvider
from ccos.engine.executions import ExecutionContext
from ccos.engine.scripts import script_id
from ccos.engine.service import ScriptEngine
from ccos.errors import (
    CapabilityFailedError,
    DefinitionChangedError,
    EngineBusyError,
    EngineStoppedError,
    InvalidManifestError,
    IsolationError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ScriptError,
    ScriptNotFoundError,
    ScriptTimeoutError,
)
from ccos.events import Event, EventType

_CALLER = "capability"


class ScriptInvoker:
    """Calls scripts in the engine, each exactly as it was registered.

    Args:
        engine: Where they run; nothing else ever runs them instead.
    """

    def __init__(self, engine: ScriptEngine) -> None:
        self._engine = engine
        self._known: dict[str, str] = {}

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Call the function and return its value.

        Raises:
            ProviderUnavailableError: nothing ran: the script is gone, the engine stands still or
                is too busy, or this machine cannot isolate the script.
            ProviderTimeoutError: it was stopped, and may have acted before.
            CapabilityFailedError: it failed; ``details['code']`` says how.
            DefinitionChangedError: the engine has another script under that id.
        """
        provider = manifest.provider
        if not isinstance(provider, ScriptProvider):
            raise InvalidManifestError(f"{manifest.id} is not a script.")
        bound = {provider.argument: arguments} if provider.argument else arguments
        context = ExecutionContext(function=provider.function, arguments=bound, caller=_CALLER)
        try:
            await self._pin(manifest.id, provider)
            result = await self._engine.execute_script(provider.script_id, context)
        except (
            EngineBusyError,
            EngineStoppedError,
            IsolationError,
            ScriptNotFoundError,
        ) as error:
            raise ProviderUnavailableError(error.message, next_step=error.next_step) from error
        except ScriptError as error:
            raise _failed(manifest, error) from error
        if isinstance(result.error, ScriptTimeoutError):
            raise ProviderTimeoutError(result.error.message, next_step=result.error.next_step)
        if result.error is not None:
            raise _failed(manifest, result.error) from result.error
        return result.value

    async def aclose(self) -> None:
        """Nothing to release."""

    async def _pin(self, capability_id: str, provider: ScriptProvider) -> None:
        """Make sure that what the engine runs is what was registered.

        An id can stay while its text changes, also by another process.
        """
        if self._known.get(provider.script_id) == provider.content_id:
            return
        event = Event(EventType.SCRIPT_UNLOADED, data={"script_id": provider.script_id})
        await self._engine.handle_event(event)
        script = await self._engine.find_script(provider.script_id)
        content = script_id(script.source, script.language, script.options)
        if content != provider.content_id:
            raise DefinitionChangedError(
                f"The script {provider.script_id} of {capability_id} is another than the one that "
                "was registered."
            )
        self._known[provider.script_id] = content


def _failed(manifest: Manifest, error: ScriptError) -> CapabilityFailedError:
    return CapabilityFailedError(
        f"{manifest.id} failed: {error.message}",
        next_step=error.next_step,
        details={"code": error.code, **error.details},
    )
