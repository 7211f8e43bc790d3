"""The seam between an execution and whatever does a capability's work."""

from __future__ import annotations

from typing import Any, Protocol

from ccos.capabilities import Manifest


class Invoker(Protocol):
    """Invokes capabilities whose provider is of one kind.

    An invoker tells apart what a crash-safe caller must know. It raises

    * ``ProviderUnavailableError`` when the request certainly never reached the provider,
    * ``ProviderTimeoutError`` or ``ProviderInterruptedError`` when it may have,
    * ``CapabilityFailedError`` when the provider answered that the call failed, and
    * ``DefinitionChangedError`` when the provider offers something else than was registered.
    """

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Make the call and return its result as JSON data.

        Args:
            manifest: The capability as registered; its provider is of this invoker's kind.
            arguments: Already valid against the manifest's input schema.
            idempotency_key: The same for every attempt at the same call; sent along where the
                provider's protocol has a place for it.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and processes. Calling it again does nothing."""
        ...


class Secrets(Protocol):
    """Looks up secrets by name when a request needs them; nothing keeps them."""

    def find(self, names: tuple[str, ...]) -> str | None:
        """The value of the first of ``names`` that is set, or None."""
        ...
