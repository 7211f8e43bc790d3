"""The durable engine: workflows that go on after a crash. The only module that knows DBOS.

A workflow is a coroutine function whose steps are recorded. When its process dies, another worker
takes it over, and steps that were recorded are not made again. Arguments and results are JSON
data.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from ccos.errors import StorageError

WORKFLOW_VERSION: Final = "1"
"""Changes when a workflow's steps change in a way that a running one could not go on with."""

_SCHEMA: Final = "ccos_durable"

Workflow = Callable[..., Coroutine[Any, Any, Any]]


def file_beside(database: Path) -> Path:
    """The engine's own SQLite file: it writes often, and must not hold up the executions."""
    return database.with_suffix(".durable.sqlite")


class DurableEngine:
    """Runs workflows. There is at most one in a process, since DBOS keeps global state.

    Args:
        url: A SQLite or Postgres database; on Postgres its own schema is used.
        executor_id: The worker that this process is known as.
    """

    def __init__(self, url: sa.URL, *, executor_id: str) -> None:
        self._url = url
        self._executor_id = executor_id
        self._functions: dict[str, Workflow] = {}
        self._registered: dict[str, Workflow] = {}
        self._running = False
        self._starting = asyncio.Lock()

    @property
    def running(self) -> bool:
        """Whether :meth:`start` was called and :meth:`aclose` was not."""
        return self._running

    def register(self, name: str, workflow: Workflow) -> None:
        """Make a workflow known by name; before :meth:`start` only."""
        if self._running:
            raise StorageError(
                f"The workflow {name} comes too late: the durable engine runs already."
            )

        async def plain(*arguments: Any) -> Any:
            return await workflow(*arguments)

        self._functions[name] = plain

    async def start(self) -> None:
        """Open the engine's database and begin to work. Starting again does nothing.

        Raises:
            StorageError: if another engine works in this process already, or its database cannot
                be opened.
        """
        async with self._starting:
            if not self._running:
                # DBOS writes to standard error itself unless its logger has a handler.
                if not logging.getLogger("dbos").handlers:
                    logging.getLogger("dbos").addHandler(logging.NullHandler())
                await asyncio.to_thread(importlib.import_module, "dbos")
                self._start()

    def _start(self) -> None:
        """Launch on the event loop's own thread, which DBOS then runs workflows on."""
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer
        from dbos import _dbos as internals

        if internals._dbos_global_instance is not None:
            raise StorageError(
                "A durable engine works in this process already.",
                next_step="Close the other CCOS of this process first, or use another process.",
            )
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            try:
                with contextlib.closing(sqlite3.connect(self._url.database)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.Error as error:
                raise StorageError(
                    f"The durable engine cannot open {self._url.database}: {error}."
                ) from error
        logging.getLogger("dbos").setLevel(logging.ERROR)
        configuration: DBOSConfig = {
            "name": "ccos",
            "system_database_url": self._url.render_as_string(hide_password=False),
            "dbos_system_schema": _SCHEMA,
            "application_version": WORKFLOW_VERSION,
            "executor_id": self._executor_id,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
            # Nothing here waits for notifications, but stopping waits for the poller.
            "notification_listener_polling_interval_sec": 0.25,
        }
        DBOS(config=configuration)
        self._registered = {
            name: DBOS.workflow(name=name)(function) for name, function in self._functions.items()
        }
        try:
            DBOS.launch()
        except Exception as error:
            DBOS.destroy(destroy_registry=True)
            raise StorageError(f"The durable engine cannot start: {error}") from error
        self._running = True

    async def aclose(self) -> None:
        """Stop working; what is unfinished is taken over by another worker, or later by this."""
        if not self._running:
            return
        from dbos import DBOS

        self._running = False
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        # DBOS made its own pool the loop's default and has shut it down.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    async def run(self, name: str, workflow_id: str, *arguments: Any) -> Any:
        """Run a workflow to its end and return its result.

        A workflow id runs once: asked again, the result of the first run is returned, after
        taking the run over if its worker died.
        """
        from dbos import DBOS, SetWorkflowID

        status = await DBOS.get_workflow_status_async(workflow_id)
        if status is not None:
            if status.status == "PENDING" and status.executor_id != self._executor_id:
                await DBOS.resume_workflow_async(workflow_id)
            handle: Any = await DBOS.retrieve_workflow_async(workflow_id)
        else:
            with SetWorkflowID(workflow_id):
                handle = await DBOS.start_workflow_async(self._registered[name], *arguments)
        return await handle.get_result()

    async def step(self, name: str, function: Workflow, *arguments: Any) -> Any:
        """Within a workflow: do something once, and record what came of it."""
        from dbos import DBOS

        return await DBOS.run_step_async({"name": name}, function, *arguments)
