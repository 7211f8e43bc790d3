"""Removing the folder of a script, whatever the script put there."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

_logger = logging.getLogger(__name__)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, however deep it goes; symbolic links are not followed.

    Folders in folders are moved up first, so that no depth can use up the stack, the length of a
    path, or this process's descriptors. What cannot be removed is left, and logged.
    """
    try:
        _empty(folder)
        folder.rmdir()
    except OSError as error:
        _logger.warning("The folder %s of a script is not removed: %s", folder, error.strerror)


def _empty(folder: Path) -> None:
    numbers = itertools.count()
    while entries := _entries(folder):
        for entry in entries:
            if not _is_folder(entry):
                entry.unlink()
                continue
            entry.chmod(0o700)
            for inner in _entries(entry):
                if _is_folder(inner):
                    inner.chmod(0o700)  # moving it writes its entry for the parent
                    inner.rename(_free_name(folder, numbers))
                else:
                    inner.unlink()
            entry.rmdir()


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _free_name(folder: Path, numbers: itertools.count[int]) -> Path:
    return next(path for number in numbers if not os.path.lexists(path := folder / f"{number}"))
