"""Snapshots at rest: sealed, and bound to the interpreter and the plan that made them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Final

from ccos.keys import LocalKey

_MAGIC: Final = b"CCOSSNAP1"
_TAG_BYTES: Final = 32
_LENGTH_BYTES: Final = 4


class UnusableSnapshotError(Exception):
    """The snapshot cannot be loaded here; the execution is replayed from its journal instead."""


class SnapshotSeal:
    """Seals and opens snapshots with a key of this installation.

    An interpreter trusts what it loads, so nothing is loaded that was not sealed here.
    """

    def __init__(self, key: LocalKey) -> None:
        self._key = key.derived("snapshot")

    def sealed(self, header: dict[str, Any], state: bytes) -> bytes:
        """One blob that holds ``header`` (JSON data) and the interpreter's ``state``."""
        head = json.dumps(header, separators=(",", ":")).encode()
        body = len(head).to_bytes(_LENGTH_BYTES, "big") + head + state
        return _MAGIC + self._tag(body) + body

    def opened(self, blob: bytes, **expected: str) -> tuple[dict[str, Any], bytes]:
        """The header and the state of a blob.

        Args:
            blob: What :meth:`sealed` returned.
            expected: Fields that the header must hold with exactly these values.

        Raises:
            UnusableSnapshotError: if it was not sealed with this key, or a field differs.
        """
        tag = blob[len(_MAGIC) : len(_MAGIC) + _TAG_BYTES]
        body = blob[len(_MAGIC) + _TAG_BYTES :]
        if not blob.startswith(_MAGIC) or not hmac.compare_digest(tag, self._tag(body)):
            raise UnusableSnapshotError("it was not sealed by this installation")
        length = int.from_bytes(body[:_LENGTH_BYTES], "big")
        header: dict[str, Any] = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])
        for name, value in expected.items():
            if header.get(name) != value:
                raise UnusableSnapshotError(f"its {name} is {header.get(name)}, not {value}")
        return header, body[_LENGTH_BYTES + length :]

    def _tag(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)
