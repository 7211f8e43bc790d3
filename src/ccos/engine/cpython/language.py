"""Full CPython, as a language of the engine."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Mapping
from typing import Final

from ccos.engine.cpython.reading import read_script
from ccos.engine.cpython.workers import CPythonWorkers
from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled, Session, SessionRequest
from ccos.engine.policy import SecurityLevel, SecurityPolicy
from ccos.errors import IsolationError

FORMAT: Final = f"cpython {platform.python_version()}"


class CPythonLanguage:
    """Scripts in Python on the interpreter that runs the service, in processes of their own.

    It is for Development alone. A script has all that its user has: files, network, processes,
    and the packages of this interpreter. What it does not have is the service itself: neither its
    memory, nor its variables, nor its terminal, and nothing of the script outlives its session.
    That holds where the machine has Landlock or lets an ordinary user make namespaces; see
    :func:`ccos.engine.jail.seclusion.seclude`.
    Time and random numbers are the machine's own, so a script cannot be replayed.

    Host functions are in the modules they are in on every other interpreter. Those that only
    compute are called; the others are awaited, and may be awaited together. ``await`` is allowed
    outside of functions. A text that is run from top to bottom is the module ``__main__``; one
    whose function is called is not.

    A timer of the script that goes off while a host call is pending is noticed by the host once
    the next call is settled.

    Args:
        workers: Starts the processes.
    """

    name = "cpython"
    suffixes = (".py",)
    format = FORMAT

    def __init__(self, workers: CPythonWorkers) -> None:
        self._workers = workers

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Refuse every level but Development.

        Raises:
            IsolationError: for any other.
        """
        if policy.level is not SecurityLevel.DEVELOPMENT:
            raise IsolationError(
                f"Full CPython has no sandbox, so it does not run scripts at level "
                f"{policy.level.value}.",
                next_step="Run it as language python, or at level development if the script may "
                "do all that its user may.",
                details={"language": self.name, "level": policy.level.value},
            )

    async def compile(
        self, source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
    ) -> Compiled:
        """Read a script; see :class:`ccos.engine.languages.Language`."""
        return await asyncio.to_thread(
            read_script, source, name=name, functions=functions, level=level
        )

    @contextlib.asynccontextmanager
    async def session(self, compiled: Compiled, request: SessionRequest) -> AsyncIterator[Session]:
        """A fresh process; see :class:`ccos.engine.languages.Language`.

        Raises:
            IsolationError: as :meth:`check_isolation`.
        """
        self.check_isolation(request.policy)
        async with self._workers.session(compiled, request) as session:
            yield session

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of the scripts' first processes."""
        return self._workers.worker_ids()
