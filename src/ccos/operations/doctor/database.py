"""The database itself: whether it can be used, and whether its files are whole."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from ccos.config.settings import masked_url
from ccos.durable import file_beside
from ccos.errors import SchemaTooNewError, StorageError
from ccos.operations.doctor.checks import Check, Status
from ccos.operations.doctor.reading import (
    NothingStoredError,
    any_schema,
    has_log,
    open_sqlite,
    revision,
    sqlite_path,
)
from ccos.storage.revisions import HEAD

_WRITE_VERSION: Final = 18
"""Where the header of a SQLite file says how it is written (SQLite file format, 1.3.3)."""
_WRITE_AHEAD: Final = 2
_PROBLEMS: Final = 10
_QUICK_CHECK_SECONDS: Final = 8.0
_STEPS_BETWEEN_LOOKS: Final = 100_000
_RESTORE: Final = "Stop CCOS and restore the file from a backup; keep the damaged one."


def reachable(url: str) -> Iterator[Check]:
    """Whether the database answers, and has the tables of this version."""
    shown = masked_url(url)
    try:
        with any_schema(url) as connection:
            found = revision(connection)
    except NothingStoredError:
        yield _nothing_stored(shown)
        return
    except StorageError as error:
        step = "Check the address in CCOS_DATABASE_URL, and that the database is up and whole."
        yield Check("database", Status.FAILED, error.message, step, {"url": shown})
        return
    if found is None:
        yield _nothing_stored(shown)
        return
    path = sqlite_path(url)
    if path is not None and not _is_writable(path):
        message = f"{path}, or the folder it is in, cannot be written by this user."
        step = "Run CCOS as the user that owns it, or give this user the folder."
        yield Check("database", Status.FAILED, message, step, {"url": shown})
        return
    yield judged(found, shown, known_revisions())


def _nothing_stored(shown: str) -> Check:
    message = f"Nothing is stored yet in {shown}."
    return Check("database", Status.WARNING, message, "Run: ccos init", {"url": shown})


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def judged(found: str, shown: str, known: frozenset[str], *, head: str = HEAD) -> Check:
    """What revision ``found`` of the tables means where ``known`` ones lead up to ``head``."""
    details = {"url": shown, "revision": found, "expected": head}
    if found == head:
        message = f"{shown} answers; its schema is current ({head})."
        return Check("database", Status.OK, message, details=details)
    if found in known:
        message = f"{shown} has schema {found}; this version works with {head}."
        step = "Back it up and run `ccos init`, which upgrades it; older versions cannot go back."
        return Check("database", Status.WARNING, message, step, details)
    message = f"{shown} has schema {found}, written by a newer CCOS; this one knows up to {head}."
    return Check("database", Status.FAILED, message, SchemaTooNewError.default_next_step, details)


def known_revisions() -> frozenset[str]:
    """Every revision that this version can upgrade from, and its own."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(resources.files("ccos.storage") / "migrations"))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return frozenset(script.revision for script in scripts)


def whole(url: str) -> Iterator[Check]:
    """Whether the files of a SQLite database are whole and in write-ahead-log mode."""
    path = sqlite_path(url)
    if path is None:
        yield Check("files", Status.OK, "The Postgres server looks after its own files.")
        return
    files = [one for one in (path, file_beside(path)) if _holds_data(one)]
    if not files:
        yield Check("files", Status.OK, "There are none yet.")
    deadline = time.monotonic() + _QUICK_CHECK_SECONDS
    for file in files:
        yield _file(file, deadline)


def _holds_data(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _file(path: Path, deadline: float) -> Check:
    details = {"path": str(path), "bytes": path.stat().st_size}
    try:
        problems = _quick_check(path, deadline) and _quick_check(path, deadline)
    except TimeoutError:
        message = f"{path} is too large to be checked within {_QUICK_CHECK_SECONDS:g} seconds."
        step = "Run `PRAGMA quick_check` with the sqlite3 program when there is time."
        return Check("files", Status.WARNING, message, step, details)
    if problems:
        message = f"{path} is damaged: {problems[0]}"
        return Check("files", Status.FAILED, message, _RESTORE, {**details, "problems": problems})
    if not _writes_ahead(path):
        message = f"{path} is whole, but not in write-ahead-log mode."
        step = "CCOS sets it at its next start. If it does not stay, move the file to a local disk."
        return Check("files", Status.WARNING, message, step, details)
    return Check("files", Status.OK, f"{path} is whole.", details=details)


def _writes_ahead(path: Path) -> bool:
    # A file that this process may have open must not be opened past SQLite: closing it again
    # would let go of SQLite's locks (How To Corrupt An SQLite Database File, 2.2).
    if has_log(path):
        return True
    with path.open("rb") as file:
        return file.read(_WRITE_VERSION + 1)[-1] == _WRITE_AHEAD


def _quick_check(path: Path, deadline: float) -> list[str]:
    """What SQLite finds wrong in a file; a first finding may be a write that began meanwhile.

    Raises:
        TimeoutError: if it is not done at ``deadline``.
    """
    connection = open_sqlite(path)
    try:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
        rows = connection.execute(f"PRAGMA quick_check({_PROBLEMS})").fetchall()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise TimeoutError from None
        return [str(error)]
    finally:
        connection.close()
    return [line for (text,) in rows if text != "ok" for line in str(text).splitlines()]
