"""Compiled units at rest: sealed, bound to what they were made of, and bounded in number and size.

An interpreter trusts the unit that it loads. So a unit is used only if it was sealed by this
installation, for this script as it is now, and for this interpreter; otherwise the script is
compiled again, which costs time and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ccos.engine.languages import Compiled, Diagnostic, Severity
from ccos.engine.policy import MIB
from ccos.engine.script_rows import script_of
from ccos.engine.scripts import script_id as content_id
from ccos.engine.scripts import source_size
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import compiled_scripts, scripts

_KIND: Final = "compiled script 1"
_SECONDS_UNTIL_NOTED: Final = 3600.0
"""How old the time of last use may be before a use is written down: each costs a commit."""

_STORED: Final = Statement(
    sa.select(
        compiled_scripts.c.unit, compiled_scripts.c.stored_at, compiled_scripts.c.last_used, scripts
    ).where(
        compiled_scripts.c.script_id == sa.bindparam("script_id"),
        compiled_scripts.c.format == sa.bindparam("format"),
        scripts.c.id == compiled_scripts.c.script_id,
    )
)


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """What was found of a compiled script.

    Attributes:
        compiled: The compiled script; None if it cannot be used.
        stored_at: When it was stored, in seconds since the Unix epoch.
        altered: Whether it is not what this installation stored.
    """

    compiled: Compiled | None
    stored_at: float
    altered: bool = False


class CompiledUnits:
    """Compiled forms of the scripts in the store, for every process of this installation.

    Args:
        storage: Where they are kept.
        seal: Proves that a unit was made here.
        max_entries: Most units that are kept; the least recently used go first.
        max_bytes: Most bytes of texts and units that are kept.
    """

    def __init__(
        self,
        storage: Storage,
        seal: SnapshotSeal,
        *,
        max_entries: int = 4096,
        max_bytes: int = 256 * MIB,
    ) -> None:
        self._storage = storage
        self._seal = seal
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    async def load(self, script_id: str, unit_format: str, *, now: float) -> StoredUnit | None:
        """What is kept of a script for an interpreter; None if nothing is.

        Args:
            script_id: The script.
            unit_format: Name and version of the interpreter.
            now: Seconds since the Unix epoch.
        """
        key = {"script_id": script_id, "format": unit_format}
        row = await self._storage.read(lambda connection: _STORED.first(connection, key))
        if row is None:
            return None
        try:
            header, unit = self._seal.opened(row.unit)
        except UnusableSnapshotError:
            return StoredUnit(None, row.stored_at, altered=True)
        if {name: header.get(name) for name in key} != key:
            return StoredUnit(None, row.stored_at, altered=True)
        if now - row.last_used > _SECONDS_UNTIL_NOTED:
            await self._note_use(script_id, unit_format, now)
        if (header.get("kind"), header.get("content")) != (_KIND, _content(row)):
            return StoredUnit(None, row.stored_at)
        return StoredUnit(_compiled(row.source, header, unit), row.stored_at)

    async def keep(
        self, script_id: str, unit_format: str, compiled: Compiled, *, now: float
    ) -> bool:
        """Keep a compiled script, in place of what was kept of it for this interpreter.

        Returns:
            Whether it is kept. It is not if the store has no such script, or has another text
            under that id, or if it is larger than everything that may be kept together.
        """
        return await self._storage.write(
            "unit",
            lambda transaction: self.keep_in(
                transaction, script_id, unit_format, compiled, now=now
            ),
        )

    def keep_in(
        self,
        transaction: Transaction,
        script_id: str,
        unit_format: str,
        compiled: Compiled,
        *,
        now: float,
    ) -> bool:
        """Equivalent to :meth:`keep` as part of ``transaction``."""
        size = compiled_size(compiled)
        query = sa.select(scripts).where(scripts.c.id == script_id).with_for_update(read=True)
        script = transaction.execute(query).first()
        if size > self._max_bytes or script is None or script.source != compiled.source:
            return False
        header = {
            "kind": _KIND,
            "script_id": script_id,
            "format": unit_format,
            "content": _content(script),
            **_described(compiled),
        }
        row = {
            "script_id": script_id,
            "format": unit_format,
            "size": size,
            "stored_at": now,
            "last_used": now,
            "unit": self._seal.sealed(header, compiled.unit),
        }
        dialect = sqlite if transaction.dialect == "sqlite" else postgresql
        insert = dialect.insert(compiled_scripts).values(row)
        transaction.execute(
            insert.on_conflict_do_update(index_elements=["script_id", "format"], set_=row)
        )
        self._trim(transaction)
        return True

    async def drop(self, script_id: str) -> None:
        """Forget every unit of a script."""
        statement = sa.delete(compiled_scripts).where(compiled_scripts.c.script_id == script_id)
        await self._storage.write("unit_dropped", lambda unit: unit.execute(statement))

    async def clear(self) -> dict[tuple[str, str], int]:
        """Forget all units, and return the size of each by its script and format."""
        statement = sa.delete(compiled_scripts).returning(
            compiled_scripts.c.script_id, compiled_scripts.c.format, compiled_scripts.c.size
        )
        rows = await self._storage.write(
            "units_cleared", lambda transaction: transaction.execute(statement).all()
        )
        return {(row.script_id, row.format): row.size for row in rows}

    async def size(self) -> tuple[int, int]:
        """How many units are kept, and their bytes in all."""
        total = sa.func.coalesce(sa.func.sum(compiled_scripts.c.size), 0)
        query = sa.select(sa.func.count(), total).select_from(compiled_scripts)
        entries, size = await self._storage.read(lambda one: one.execute(query).one())
        return int(entries), int(size)

    async def _note_use(self, script_id: str, unit_format: str, now: float) -> None:
        statement = (
            sa.update(compiled_scripts)
            .where(
                compiled_scripts.c.script_id == script_id, compiled_scripts.c.format == unit_format
            )
            .values(last_used=now)
        )
        await self._storage.write("unit_used", lambda unit: unit.execute(statement))

    def _trim(self, transaction: Transaction) -> None:
        """Delete what was not used for longest, as far as there is too much."""
        newest_first: Any = (
            compiled_scripts.c.last_used.desc(),
            compiled_scripts.c.script_id,
            compiled_scripts.c.format,
        )
        key = (compiled_scripts.c.script_id, compiled_scripts.c.format)
        ranked = sa.select(
            *key,
            sa.func.row_number().over(order_by=newest_first).label("place"),
            sa.func.sum(compiled_scripts.c.size).over(order_by=newest_first).label("bytes"),
        ).subquery()
        too_much = sa.select(ranked.c.script_id, ranked.c.format).where(
            (ranked.c.place > self._max_entries) | (ranked.c.bytes > self._max_bytes)
        )
        transaction.execute(sa.delete(compiled_scripts).where(sa.tuple_(*key).in_(too_much)))


def compiled_size(compiled: Compiled) -> int:
    """Bytes of a compiled script: its text and its unit."""
    return source_size(compiled.source) + len(compiled.unit)


def _content(row: Any) -> str:
    """The identity of a script as it is stored now, whatever it is called."""
    script = script_of(row)
    return content_id(script.source, script.language, script.options)


def _described(compiled: Compiled) -> dict[str, Any]:
    return {
        "name": compiled.name,
        "exports": {name: list(parameters) for name, parameters in compiled.exports.items()},
        "modules": sorted(compiled.modules),
        "warnings": [warning.as_dict() for warning in compiled.warnings],
    }


def _compiled(source: str, header: dict[str, Any], unit: bytes) -> Compiled:
    return Compiled(
        source=source,
        name=header["name"],
        unit=unit,
        exports={name: tuple(parameters) for name, parameters in header["exports"].items()},
        modules=frozenset(header["modules"]),
        warnings=tuple(
            Diagnostic(**{**warning, "severity": Severity(warning["severity"])})
            for warning in header["warnings"]
        ),
    )
