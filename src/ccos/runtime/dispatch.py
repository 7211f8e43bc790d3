"""Making one call: the provider is asked, and its answer is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ccos.errors import (
    CcosError,
    DefinitionChangedError,
    ProviderError,
    ProviderInterruptedError,
    ProviderTimeoutError,
)
from ccos.marketplace import Marketplace, Registered
from ccos.providers.base import Invoker
from ccos.runtime.gate import result_fault
from ccos.runtime.missing import MissingCapabilities, Sighting


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a provider, or that nothing certain did.

    Exactly one of the three holds: a value, an error, or ``unknown`` with the reason.

    Attributes:
        shape: What the type of the value says beyond JSON, where the caller can use it.
        cached: Whether it is the answer to an earlier call.
    """

    value: Any = None
    error: CcosError | None = None
    unknown: str | None = None
    shape: Any = None
    cached: bool = False

    @property
    def outcome(self) -> dict[str, Any]:
        """The settled outcome as the journal keeps it."""
        if self.error is not None:
            return {"error": self.error.as_dict()}
        if self.shape is None:
            return {"value": self.value}
        return {"value": self.value, "shape": self.shape}


class Dispatcher:
    """Sends calls to the invoker of the provider's kind."""

    def __init__(
        self,
        invokers: Mapping[str, Invoker],
        marketplace: Marketplace,
        missing: MissingCapabilities,
    ) -> None:
        self._invokers = invokers
        self._marketplace = marketplace
        self._missing = missing

    async def dispatch(
        self, registered: Registered, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Answer:
        """Make the call. Never raises for a failure of the provider."""
        manifest = registered.manifest
        invoker = self._invokers.get(manifest.provider.type)
        if invoker is None:
            return Answer(
                error=ProviderError(f"No provider of kind {manifest.provider.type} is set up.")
            )
        try:
            value = await invoker.invoke(manifest, arguments, idempotency_key=idempotency_key)
        except (ProviderTimeoutError, ProviderInterruptedError) as error:
            if manifest.effect_type.repeatable:
                return Answer(error=error)
            return Answer(unknown=error.message)
        except DefinitionChangedError as error:
            await self._marketplace.quarantine(manifest.id, actor="ccos", reason=error.message)
            execution_id = idempotency_key.partition(":")[0]
            await self._missing.definition_changed(
                Sighting(manifest.id, arguments, execution_id, error.message)
            )
            return Answer(error=error)
        except CcosError as error:
            return Answer(error=error)
        fault = result_fault(registered, value)
        return Answer(value=value) if fault is None else Answer(error=fault)

    async def aclose(self) -> None:
        """Release every invoker."""
        for invoker in self._invokers.values():
            await invoker.aclose()
