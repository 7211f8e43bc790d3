"""The database: one writer with group commit, many readers, SQLite or Postgres.

Every write is a named *unit*: a function that gets a :class:`Transaction`. Units that wait at the
same moment share one commit on the writer thread, each behind its own savepoint, so a unit that
fails takes nothing of the others with it. A lone unit is committed at once. A unit's caller goes
on only after the commit is on disk. A process never competes with itself for the write lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import sqlalchemy as sa

from ccos.errors import StorageError, StorageFullError
from ccos.storage.revisions import bring_up_to_date

T = TypeVar("T")
_AnyFuture = asyncio.Future[Any] | Future[Any]

_logger = logging.getLogger(__name__)

_GROUP_LIMIT: Final = 256
_LOCK_WAIT_SECONDS: Final = 30.0
_SLOW_COMMIT_SECONDS: Final = 0.02
_SLOW_DISK_PAUSE_SECONDS: Final = 0.25
_RETRIES: Final = 5
_PAGES_BEFORE_CHECKPOINT: Final = 4000


class WriteObserver(Protocol):
    """Is told when a unit of writing begins to be committed and when it is committed.

    Tests use it to stop the process at a named point; it runs where the unit runs.
    """

    def before_commit(self, name: str) -> None:
        """All of the unit's statements ran; nothing is on disk yet."""
        ...

    def after_commit(self, name: str) -> None:
        """The unit is on disk; its caller does not know yet."""
        ...


class Transaction:
    """What a unit of writing may do: run statements, and ask for something after the commit."""

    __slots__ = ("_after", "_gathered", "connection")

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._after: dict[str, Callable[[], None]] = {}
        self._gathered: dict[Callable[[Transaction, list[Any]], None], list[Any]] = {}

    def execute(
        self,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> sa.CursorResult[Any]:
        """Run one statement."""
        return self.connection.execute(statement, parameters)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.connection.dialect.name

    def gather(self, write: Callable[[Transaction, list[Any]], None], items: Iterable[Any]) -> None:
        """Have ``write`` called once, at the end of the unit, with all items gathered for it."""
        self._gathered.setdefault(write, []).extend(items)

    def finish(self) -> None:
        """Write what was gathered; called by the storage when the unit's function returned."""
        for write, items in self._gathered.items():
            write(self, items)

    def after_commit(self, key: str, action: Callable[[], None]) -> None:
        """Run ``action`` once the unit is on disk; a later action of the same key replaces it."""
        self._after.pop(key, None)
        self._after[key] = action


class _SharedTransactionLostError(Exception):
    """A unit broke the transaction that it shared with others, so each has to run alone."""


class _Job:
    """A unit on its way, and the caller that waits for it."""

    __slots__ = ("_future", "_loop", "_thread", "actions", "name", "settled", "unit", "value")

    def __init__(self, name: str, unit: Callable[[Transaction], Any], future: _AnyFuture) -> None:
        self.name = name
        self.unit = unit
        self.actions: dict[str, Callable[[], None]] = {}
        self.value: Any = None
        self.settled = False
        self._future = future
        self._loop = future.get_loop() if isinstance(future, asyncio.Future) else None
        self._thread = threading.get_ident()

    def succeed(self) -> None:
        """Let the caller go on."""
        self._settle(self._future.set_result, self.value)

    def fail(self, error: BaseException) -> None:
        """Let the caller go on with an error."""
        self._settle(self._future.set_exception, error)

    def _settle(self, action: Callable[[Any], None], value: Any) -> None:
        """Settle at once on the caller's own thread, which is much quicker than to wake it."""
        self.settled = True
        if self._loop is None or threading.get_ident() == self._thread:
            self._settle_here(action, value)
        else:
            with contextlib.suppress(RuntimeError):  # the caller's event loop is gone
                self._loop.call_soon_threadsafe(self._settle_here, action, value)

    def _settle_here(self, action: Callable[[Any], None], value: Any) -> None:
        if not self._future.done():
            action(value)


class Storage:
    """The database behind a URL.

    Use it as an async context manager. ``sqlite:///path`` opens a file in write-ahead-log mode
    with every commit synced; ``postgresql+psycopg://…`` opens a server's database.
    """

    def __init__(self, url: str, *, observer: WriteObserver | None = None) -> None:
        self.url = sa.make_url(url)
        self._observer = observer
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._submitting = threading.Lock()
        self._engine: sa.Engine | None = None
        self._reader: sa.Connection | None = None
        self._reading = threading.Lock()
        self._gathered: list[_Job] = []
        self._writing = threading.Lock()
        self._here: sa.Connection | None = None
        """The connection for commits on the event loop's own thread."""
        self._not_here_until = 0.0

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    async def __aenter__(self) -> Storage:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._hand_over()
        await asyncio.to_thread(self.close)

    def _open(self) -> None:
        try:
            with translated_errors(f"open {self.url.render_as_string(hide_password=True)}"):
                if self.is_sqlite and self.url.database:
                    Path(self.url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._engine = self._create_engine()
                bring_up_to_date(self._engine)
                if self.is_sqlite:
                    self._reader = self._engine.connect()
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._write_loop, name="ccos-writer", daemon=True)
        self._thread.start()

    def _create_engine(self) -> sa.Engine:
        if not self.is_sqlite:
            return sa.create_engine(self.url, isolation_level="READ COMMITTED", pool_pre_ping=True)
        arguments: dict[str, Any] = {"timeout": _LOCK_WAIT_SECONDS, "check_same_thread": False}
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", connect_args=arguments)

        @sa.event.listens_for(engine, "connect")
        def _configure(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_BEFORE_CHECKPOINT}")

        return engine

    def _connect(self, *, waiting: bool = True) -> sa.Connection:
        """A connection that waits for another process to finish its write, or does not."""
        assert self._engine is not None
        connection = self._engine.connect()
        if self.is_sqlite:
            milliseconds = int(_LOCK_WAIT_SECONDS * 1000) if waiting else 0
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
        return connection

    def close(self) -> None:
        """Finish the writes under way and close every connection. Closing again does nothing."""
        with self._submitting:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(None)
        if thread is not None:
            thread.join()
        with self._writing, self._reading:
            for connection in (self._reader, self._here):
                if connection is not None:
                    connection.close()
            self._reader = self._here = None
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    async def write(
        self, name: str, unit: Callable[[Transaction], T], *, in_background: bool = False
    ) -> T:
        """Run ``unit`` in a transaction and return its value once it is on disk.

        A unit may run more than once (a lost connection, a deadlock), so it must have no effect
        but its statements. Cancelling the caller does not undo a unit that was handed over.

        Args:
            name: What is written, such as ``park``; observers and errors speak of it.
            unit: Called on the writer thread, or on this one.
            in_background: Whether nobody waits for it, so that it never holds this thread up.

        Raises:
            StorageError: if it could not be written; nothing of the unit is stored then.
            CcosError: whatever the unit itself raised; nothing of it is stored.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = _Job(name, unit, future)
        if self.is_sqlite and self._thread is not None and not in_background:
            self._gather(job)
        else:
            self._submit(job)
        return await future

    def _gather(self, job: _Job) -> None:
        """Wait for the end of this turn of the event loop, to see whether others write too."""
        self._gathered.append(job)
        if len(self._gathered) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Commit a lone unit here, if that is quick; anything else is the writer's.

        Waking the writer and being woken by it takes longer than the commit itself. But the event
        loop must not be held up, neither by another process that writes nor by a slow disk.
        """
        group, self._gathered = self._gathered, []
        alone = len(group) == 1 and self._jobs.empty() and time.monotonic() >= self._not_here_until
        if not (alone and self._commit_here(group[0])):
            for job in group:
                self._submit(job)

    def _commit_here(self, job: _Job) -> bool:
        """Commit on this thread; False if that would mean to wait."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            started = time.monotonic()
            if self._engine is None:
                return False
            try:
                if self._here is None:
                    self._here = self._connect(waiting=False)
                self._here.exec_driver_sql("BEGIN IMMEDIATE")
            except sa.exc.OperationalError:
                return False
            self._here = self._commit_group(self._here, [job], begun=True)
            if time.monotonic() - started > _SLOW_COMMIT_SECONDS:
                self._not_here_until = time.monotonic() + _SLOW_DISK_PAUSE_SECONDS
            return True
        finally:
            self._writing.release()

    def write_blocking(self, name: str, unit: Callable[[Transaction], T]) -> T:
        """Equivalent to :meth:`write`, for threads without an event loop."""
        future: Future[T] = Future()
        self._submit(_Job(name, unit, future))
        return future.result()

    def _submit(self, job: _Job) -> None:
        """Hand a unit to the writer; nothing follows the end that :meth:`close` marks."""
        with self._submitting:
            if self._thread is None:
                job.fail(StorageError("The storage is not open."))
            else:
                self._jobs.put(job)

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Run ``query`` against what is committed now and return its value.

        On SQLite it runs at once on the caller's thread: a reader in WAL mode never waits.
        On Postgres it runs in a thread.
        """
        if self.is_sqlite:
            return self.read_blocking(query)
        return await asyncio.to_thread(self.read_blocking, query)

    def read_blocking(self, query: Callable[[sa.Connection], T]) -> T:
        """Equivalent to :meth:`read`, for threads without an event loop."""
        if self._engine is None:
            raise StorageError("The storage is not open.")
        with translated_errors("read"):
            if self._reader is not None:
                with self._reading:
                    return query(self._reader)
            with self._engine.connect() as connection:
                return query(connection)

    def _write_loop(self) -> None:
        assert self._engine is not None
        connection: sa.Connection | None = None
        while (job := self._jobs.get()) is not None:
            group = [job]
            stop = False
            while len(group) < _GROUP_LIMIT:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    stop = True
                    break
                group.append(following)
            with self._writing:
                connection = self._commit_group(connection, group)
            if stop:
                break
        if connection is not None:
            connection.close()

    def _commit_group(
        self, connection: sa.Connection | None, group: list[_Job], *, begun: bool = False
    ) -> sa.Connection | None:
        """Commit a group and tell its callers; returns the connection if it is still good."""
        for attempt in range(_RETRIES):
            try:
                with translated_errors(f"write {group[0].name}"):
                    if connection is None:
                        connection, begun = self._connect(), False
                    if self.is_sqlite and not begun:
                        connection.exec_driver_sql("BEGIN IMMEDIATE")
                    elif not self.is_sqlite and not connection.in_transaction():
                        connection.begin()
                    done = self._run_group(connection, group)
                self._announce(done)
                return connection
            except _SharedTransactionLostError:
                _discard(connection)
                connection = None
                for job in group:
                    if not job.settled:
                        connection = self._commit_group(connection, [job])
                return connection
            except Exception as error:
                _discard(connection)
                connection = None
                if attempt + 1 == _RETRIES or not _is_transient(error.__cause__):
                    for job in group:
                        if not job.settled:
                            job.fail(error)
                    return None
        return None

    def _run_group(self, connection: sa.Connection, group: list[_Job]) -> list[_Job]:
        """Run the units that still wait, commit once, and return those that succeeded."""
        waiting = [job for job in group if not job.settled]
        alone = len(waiting) == 1
        done = [job for job in waiting if self._run_unit(connection, job, alone=alone)]
        if self._observer is not None:
            for job in done:
                self._observer.before_commit(job.name)
        if self.is_sqlite:
            connection.exec_driver_sql("COMMIT" if done else "ROLLBACK")
        elif done:
            connection.commit()
        else:
            connection.rollback()
        return done

    def _run_unit(self, connection: sa.Connection, job: _Job, *, alone: bool) -> bool:
        transaction = Transaction(connection)
        if not alone:
            connection.exec_driver_sql("SAVEPOINT unit")
        try:
            with translated_errors(f"write {job.name}"):
                job.value = job.unit(transaction)
                transaction.finish()
        except Exception as error:
            if isinstance(error.__cause__, sa.exc.OperationalError):
                if alone:
                    raise
                raise _SharedTransactionLostError from error
            if not alone:
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT unit")
                connection.exec_driver_sql("RELEASE SAVEPOINT unit")
            job.fail(error)
            return False
        if not alone:
            connection.exec_driver_sql("RELEASE SAVEPOINT unit")
        job.actions = transaction._after
        return True

    def _announce(self, done: list[_Job]) -> None:
        if self._observer is not None:
            for job in done:
                self._observer.after_commit(job.name)
        actions: dict[str, Callable[[], None]] = {}
        for job in done:
            for key, action in job.actions.items():
                actions.pop(key, None)
                actions[key] = action
        for key, action in actions.items():
            try:
                action()
            except Exception:
                _logger.exception("The action %r after a commit failed", key)
        # Last, so that the callers do not run, and take the interpreter, while this thread works.
        for job in done:
            job.succeed()


def _discard(connection: sa.Connection | None) -> None:
    """Drop a connection of which nobody knows what state it is in."""
    if connection is not None:
        with contextlib.suppress(Exception):
            connection.invalidate()
            connection.close()


def _is_transient(cause: BaseException | None) -> bool:
    """Whether running the same units again can succeed."""
    if not isinstance(cause, sa.exc.DBAPIError):
        return False
    if cause.connection_invalidated:
        return True
    state = getattr(cause.orig, "sqlstate", None)
    return state in {"40001", "40P01", "55P03"}


@contextlib.contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Turn the driver's errors into this tree's, keeping the driver's words."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        original = getattr(error, "orig", None) or error
        words = str(original).strip().splitlines()[0] if str(original).strip() else "no details"
        full = "is full" in words or getattr(original, "sqlstate", None) == "53100"
        kind = StorageFullError if full else StorageError
        raise kind(f"Could not {what}: {words}") from error
    except OSError as error:
        kind = StorageFullError if error.errno == 28 else StorageError
        raise kind(f"Could not {what}: {error.strerror or error}") from error
