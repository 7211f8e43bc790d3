"""Copies of the originals, with checksums, made before anything changes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ccos.errors import MigrationFailedError
from ccos.migration.definitions import content_hash, shown_path

LISTING: Final = "backup.json"
_FILES: Final = "files"
_MOST: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Original:
    """A file that tools come from; ``source_hash`` is what was read of it."""

    path: Path
    source_hash: str


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What was copied: the files by their hash, and those that changed since they were read."""

    folder: Path
    copies: dict[str, Path]
    changed: tuple[Path, ...]


def back_up(folder: Path, originals: Sequence[Original]) -> BackedUp:
    """Copy files into a folder and list them there with their checksums; blocking.

    Every copy and the list are synced to disk before this returns. A file that is not what was
    read of it is not copied.

    Args:
        folder: Where to; made if it is not there.
        originals: The files.

    Raises:
        MigrationFailedError: if nothing can be written there.
    """
    copies: dict[str, Path] = {}
    listed: list[dict[str, Any]] = []
    changed: list[Path] = []
    try:
        files = folder / _FILES
        files.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number, one in enumerate(originals):
            content = _content(one.path)
            if content is None or content_hash(content) != one.source_hash:
                changed.append(one.path)
                continue
            copy = files / f"{number:05d}{one.path.suffix}"
            _write(copy, content)
            copies[one.source_hash] = copy
            listed.append(
                {
                    "path": shown_path(one.path.absolute()),
                    "copy": f"{_FILES}/{copy.name}",
                    "sha256": one.source_hash.removeprefix("sha256:"),
                    "size_bytes": len(content),
                }
            )
        _write(folder / LISTING, json.dumps({"files": listed}, indent=2).encode())
        os.sync()  # once, since syncing each of thousands of files takes minutes
    except OSError as error:
        raise MigrationFailedError(
            f"The originals cannot be copied to {shown_path(folder)}: {error.strerror or error}.",
            next_step="Make room there, or set CCOS_MIGRATION_BACKUP_ORIGINALS=false.",
        ) from error
    return BackedUp(folder, copies, tuple(changed))


def copy_of(folder: Path, source_hash: str) -> bytes | None:
    """The content of a copied file by its hash; None if it is not there or not what it was."""
    try:
        listed = json.loads((folder / LISTING).read_bytes())["files"]
        for one in listed:
            if f"sha256:{one['sha256']}" == source_hash:
                content = (folder / one["copy"]).read_bytes()
                return content if content_hash(content) == source_hash else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def verify(folder: Path) -> tuple[int, tuple[str, ...]]:
    """How many copies are listed, and what is wrong with them; blocking."""
    try:
        listed = json.loads((folder / LISTING).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, (f"{shown_path(folder / LISTING)} cannot be read.",)
    faults = [
        f"{one['copy']} is not the copy of {one['path']} that was made."
        for one in listed
        if hashlib.sha256(_content(folder / one["copy"]) or b"").hexdigest() != one["sha256"]
    ]
    return len(listed), tuple(faults)


def archive(target: Path, documents: dict[str, bytes], folders: Sequence[Path]) -> int:
    """Write an archive of texts and folders, synced to disk; returns its size; blocking.

    Raises:
        MigrationFailedError: if it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with target.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as packed:
                for name, content in documents.items():
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(content), 0o600
                    packed.addfile(entry, io.BytesIO(content))
                for folder in filter(Path.is_dir, folders):
                    packed.add(folder, arcname=f"originals/{folder.name}")
            file.flush()
            os.fsync(file.fileno())
        return target.stat().st_size
    except OSError as error:
        raise MigrationFailedError(
            f"The archive {shown_path(target)} cannot be written: {error.strerror or error}."
        ) from error


def _content(path: Path) -> bytes | None:
    """The bytes of a regular file; None if it is none, or cannot be read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(_MOST + 1)
    except OSError:
        return None
    return content if len(content) <= _MOST else None


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
