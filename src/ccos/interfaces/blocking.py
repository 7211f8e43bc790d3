"""CCOS for programs that are not asynchronous: the same calls, which block until they are done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ccos import assembly
from ccos.assembly import Ccos
from ccos.config import Settings
from ccos.errors import ExecutionStateError
from ccos.interfaces.following import follow
from ccos.marketplace import Registration
from ccos.resolution.approvals import Approval
from ccos.resolution.detection import Dependencies
from ccos.resolution.results import ResolutionResult
from ccos.runtime import CallPolicy, Execution, ExecutionState, Outcome

T = TypeVar("T")


class BlockingCcos:
    """A running CCOS behind blocking methods. Made by :func:`open_sync`; use it with ``with``.

    An event loop of its own runs in a thread; the methods may be called from any other thread.

    Attributes:
        asynchronous: The CCOS that does the work; :meth:`wait_for` reaches what has no method here.
    """

    def __init__(self, ccos: Ccos) -> None:
        self.asynchronous = ccos
        self._portal: BlockingPortal | None = None
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> BlockingCcos:
        with contextlib.ExitStack() as exits:
            self._portal = exits.enter_context(start_blocking_portal("asyncio"))
            exits.enter_context(self._portal.wrap_async_context_manager(self.asynchronous))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._exits.close()
        self._portal = None

    def wait_for(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Run a coroutine function on the loop of :attr:`asynchronous` and return its result.

        Raises:
            ExecutionStateError: outside the ``with`` block.
        """
        if self._portal is None:
            raise ExecutionStateError(
                "This CCOS is not open.", next_step="Use it inside `with ccos.open_sync() as …`."
            )
        result: T = self._portal.call(function, *arguments)
        return result

    def call(
        self,
        capability_id: str,
        arguments: dict[str, Any] | None = None,
        *,
        principal: str = "agent",
    ) -> Outcome:
        """Equivalent to :meth:`Ccos.call`."""
        ccos = self.asynchronous
        return self.wait_for(partial(ccos.call, principal=principal), capability_id, arguments)

    def run(self, source: str, *, name: str = "plan", principal: str = "agent") -> Outcome:
        """Equivalent to :meth:`Ccos.run`."""
        ccos = self.asynchronous
        return self.wait_for(partial(ccos.run, name=name, principal=principal), source)

    def check(self, source: str, *, name: str = "plan") -> Dependencies:
        """Equivalent to :meth:`Ccos.check`."""
        return self.wait_for(partial(self.asynchronous.check, name=name), source)

    def register(
        self, capability_id: str, handler: Callable[..., Any], **definition: Any
    ) -> Registration:
        """Equivalent to :meth:`Ccos.register`."""
        ccos = self.asynchronous
        return self.wait_for(partial(ccos.register, **definition), capability_id, handler)

    def settled(self, execution_id: str) -> Outcome:
        """Equivalent to :meth:`Ccos.settled`: wait however long it takes."""
        return self.wait_for(self.asynchronous.settled, execution_id)

    def follow(self, execution_id: str, *, timeout_seconds: float | None = None) -> Outcome | None:
        """Wait until an execution ends or a person is needed; see :func:`following.follow`."""
        return self.wait_for(
            partial(follow, timeout_seconds=timeout_seconds), self.asynchronous, execution_id
        )

    def resume(self, execution_id: str) -> Outcome:
        """Equivalent to :meth:`Runtime.resume`."""
        return self.wait_for(self.asynchronous.runtime.resume, execution_id)

    def cancel(self, execution_id: str, *, actor: str, reason: str = "") -> None:
        """Equivalent to :meth:`Runtime.cancel`."""
        runtime = self.asynchronous.runtime
        self.wait_for(partial(runtime.cancel, actor=actor, reason=reason), execution_id)

    def executions(
        self, *, state: ExecutionState | None = None, limit: int = 50
    ) -> list[Execution]:
        """Equivalent to :meth:`Runtime.executions`."""
        return self.wait_for(
            partial(self.asynchronous.runtime.executions, state=state, limit=limit)
        )

    def resolve(self, capability_id: str, **options: Any) -> ResolutionResult:
        """Equivalent to :meth:`MissingCapabilityResolver.resolve_capability`."""
        resolver = self.asynchronous.resolver
        return self.wait_for(partial(resolver.resolve_capability, **options), capability_id)

    def approve(self, **answer: Any) -> Approval:
        """Equivalent to :meth:`MissingCapabilityResolver.approve`."""
        return self.wait_for(partial(self.asynchronous.resolver.approve, **answer))

    def reject(self, **answer: Any) -> Approval:
        """Equivalent to :meth:`MissingCapabilityResolver.reject`."""
        return self.wait_for(partial(self.asynchronous.resolver.reject, **answer))


def open_sync(
    settings: Settings | None = None,
    *,
    home: Path | str | None = None,
    config_file: Path | None = None,
    work: bool = True,
    policy: CallPolicy | None = None,
) -> BlockingCcos:
    """Open a CCOS, to be used with ``with``. The arguments are those of :func:`ccos.open`.

    Raises:
        ConfigurationError: if the settings cannot be read or contradict each other.
    """
    return BlockingCcos(
        assembly.open(settings, home=home, config_file=config_file, work=work, policy=policy)
    )
