"""The signed head: what the newest audit entry was, kept outside the database."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ccos.canonical import canonical_json
from ccos.errors import AuditError
from ccos.keys import LocalKey

_RECORD_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class Head:
    """The number and hash of the newest entry; ``signed`` tells whether its signature holds."""

    seq: int
    hash: str
    signed: bool = True


class HeadFile:
    """The file that holds the signed head. It only ever moves forward."""

    def __init__(self, path: Path, key: LocalKey) -> None:
        self._path = path
        self._key = key

    def read(self) -> Head | None:
        """The head as stored; None if there is no file.

        Raises:
            AuditError: if the file cannot be read as a head.
        """
        try:
            record = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            data = json.loads(record)
            seq, digest, signature = int(data["seq"]), str(data["hash"]), data["signature"]
            signed = self._key.verifies(bytes.fromhex(signature), _message(seq, digest))
        except (ValueError, KeyError, TypeError) as error:
            raise AuditError(f"The audit head {self._path} is damaged: {error}") from error
        return Head(seq, digest, signed)

    def stored_seq(self) -> int:
        """The number in the file, whoever signed it; -1 if there is none to be read."""
        try:
            return _stored_seq(self._path.read_bytes())
        except FileNotFoundError:
            return -1

    def advance(self, head: Head) -> None:
        """Sign and store ``head``, unless a later one is stored already.

        Several processes may do this at once; a file lock keeps them in order. The record has a
        fixed length below one disk sector and is written by one call, so it is never half there.
        """
        record = self._record(head)
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _stored_seq(os.pread(file, _RECORD_BYTES, 0)) < head.seq:
                os.pwrite(file, record, 0)
        finally:
            os.close(file)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self._path, flags, 0o600)

    def _record(self, head: Head) -> bytes:
        content = {
            "seq": head.seq,
            "hash": head.hash,
            "key": self._key.key_id,
            "signature": self._key.sign(_message(head.seq, head.hash)).hex(),
        }
        return json.dumps(content).encode().ljust(_RECORD_BYTES - 1) + b"\n"


def _stored_seq(record: bytes) -> int:
    try:
        return int(json.loads(record)["seq"])
    except (ValueError, KeyError, TypeError):
        return -1


def _message(seq: int, digest: str) -> bytes:
    return canonical_json({"purpose": "ccos audit head", "seq": seq, "hash": digest})
