"""The key of an installation: signs attestations and audit heads, seals snapshots."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ccos.errors import IntegrityError

_SECRET_BYTES = 32


class LocalKey:
    """An Ed25519 key and the symmetric keys derived from the same secret.

    Args:
        secret: 32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        public = self._private.public_key()
        self.public_bytes = public.public_bytes_raw()
        self.key_id = "ed25519:" + hashlib.sha256(self.public_bytes).hexdigest()[:32]

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature (RFC 8032) of ``message``, 64 bytes."""
        return self._private.sign(message)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's signature of ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_bytes).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def derived(self, purpose: str) -> bytes:
        """A 32-byte symmetric key for one purpose, by HKDF-SHA256 (RFC 5869)."""
        return HKDF(hashes.SHA256(), 32, salt=None, info=b"ccos:" + purpose.encode()).derive(
            self._secret
        )


def load_key(path: Path) -> LocalKey:
    """The key kept in the file ``path``, which is made on first use, readable by its owner alone.

    Raises:
        IntegrityError: if the file is not a key.
    """
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = _create(path)
    if len(secret) != _SECRET_BYTES:
        raise IntegrityError(
            f"The key file {path} is damaged.",
            next_step="Restore the key file from a backup; without it nothing signed verifies.",
        )
    return LocalKey(secret)


def _create(path: Path) -> bytes:
    """Make the key under another name first, so that no process ever reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    return path.read_bytes()
