"""Vectors of texts on disk, so that no text is embedded twice."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_logger = logging.getLogger(__name__)

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS vectors ("
    "model TEXT NOT NULL, text_hash BLOB NOT NULL, vector BLOB NOT NULL, "
    "PRIMARY KEY (model, text_hash)) WITHOUT ROWID"
)
_AT_ONCE: Final = 500


class VectorCache:
    """Keeps vectors by model and text in a SQLite file, which several processes may share.

    All that it keeps can be computed again: a file that is damaged or cannot be written is left
    alone, with a warning in the log, and the vectors are computed anew.

    Args:
        path: The file; it is made when needed.
        model: Identity of what makes the vectors.
        dimensions: Numbers of a vector.
    """

    def __init__(self, path: Path, model: str, dimensions: int) -> None:
        self._path = path
        self._model = model
        self._size = dimensions * np.dtype(np.float16).itemsize

    def read(self, texts: Sequence[str]) -> dict[str, Floats]:
        """The vectors of those texts that are known."""
        found: dict[str, Floats] = {}
        by_hash = {_hash(text): text for text in texts}
        hashes = list(by_hash)
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(hashes), _AT_ONCE):
                    some = hashes[start : start + _AT_ONCE]
                    places = ", ".join("?" * len(some))
                    rows = connection.execute(
                        f"SELECT text_hash, vector FROM vectors WHERE model = ? "  # noqa: S608
                        f"AND text_hash IN ({places})",
                        (self._model, *some),
                    )
                    for digest, blob in rows:
                        if isinstance(blob, bytes) and len(blob) == self._size:
                            vector = np.frombuffer(blob, dtype=np.float16)
                            found[by_hash[digest]] = vector.astype(np.float32)
        except (sqlite3.Error, OSError) as error:
            _logger.warning("Vectors cannot be read from %s: %s", self._path, error)
        return found

    def write(self, vectors: Mapping[str, Floats]) -> None:
        """Keep the vectors of these texts."""
        rows = [
            (self._model, _hash(text), vector.astype(np.float16).tobytes())
            for text, vector in vectors.items()
        ]
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            _logger.warning("Vectors cannot be kept in %s: %s", self._path, error)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(self._path, timeout=10)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_CREATE)
        return connection


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
