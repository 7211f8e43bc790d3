"""The key of an installation."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ccos.errors import IntegrityError
from ccos.keys import LocalKey, load_key

MESSAGE = b"a message"


LOAD = "import sys, pathlib, ccos.keys as k; print(k.load_key(pathlib.Path(sys.argv[1])).key_id)"


def test_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    first = load_key(path)
    assert load_key(path).public_bytes == first.public_bytes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(tmp_path / "key")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    key_ids = {process.communicate()[0].strip() for process in started}
    assert key_ids == {load_key(tmp_path / "key").key_id}


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 31, b"x" * 33])
def test_damaged_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        load_key(path)
    assert "backup" in caught.value.next_step
    assert path.read_bytes() == content


def test_signature_is_of_this_key_and_this_message() -> None:
    key, other = LocalKey(b"a" * 32), LocalKey(b"b" * 32)
    signature = key.sign(MESSAGE)
    assert len(signature) == 64
    assert key.verifies(signature, MESSAGE)
    assert not key.verifies(signature, MESSAGE + b".")
    assert not other.verifies(signature, MESSAGE)
    assert not key.verifies(bytes(64), MESSAGE)


@pytest.mark.parametrize("signature", [b"", b"short", bytes(65)])
def test_signature_of_a_wrong_length_does_not_verify(signature: bytes) -> None:
    assert not LocalKey(b"a" * 32).verifies(signature, MESSAGE)


def test_key_id_names_the_public_key() -> None:
    key, same, other = LocalKey(b"a" * 32), LocalKey(b"a" * 32), LocalKey(b"b" * 32)
    assert key.key_id == same.key_id != other.key_id
    assert key.key_id.startswith("ed25519:")
    assert len(key.key_id) == len("ed25519:") + 32


def test_derived_keys_differ_by_purpose_and_by_installation() -> None:
    key, other = LocalKey(b"a" * 32), LocalKey(b"b" * 32)
    derived = {key.derived("snapshot"), key.derived("other"), other.derived("snapshot")}
    assert len(derived) == 3
    assert {len(one) for one in derived} == {32}
    assert key.derived("snapshot") == LocalKey(b"a" * 32).derived("snapshot")
    assert b"a" * 32 not in derived


def test_signatures_follow_rfc_8032() -> None:
    # Section 7.1, test 2.
    secret = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    key = LocalKey(bytes.fromhex(secret))
    assert key.public_bytes.hex() == public
    assert key.sign(bytes.fromhex("72")).hex() == signature
