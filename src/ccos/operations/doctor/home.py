"""The home folder and the key in it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ccos.operations.doctor.checks import Check, Status
from ccos.operations.doctor.machine import existing

_KEY_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def key_path(home: Path) -> Path:
    """Where the key of the installation is kept."""
    return home / "keys" / "ccos.key"


def folder(home: Path) -> Iterator[Check]:
    """Whether the home folder is there, and is this user's alone."""
    if not os.path.lexists(home):
        yield _not_there(home)
        return
    mode = home.stat().st_mode
    details = {"path": str(home), "mode": f"{stat.S_IMODE(mode):04o}"}
    if not stat.S_ISDIR(mode):
        message, step = f"{home} is no folder.", "Move it away, or name another CCOS_HOME."
        yield Check("home", Status.FAILED, message, step, details)
    elif not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        message = f"{home} cannot be written by this user."
        step = "Run CCOS as the user that owns it, or give this user the folder."
        yield Check("home", Status.FAILED, message, step, details)
    elif mode & _OTHERS_WRITE:
        message = f"{home} can be changed by other users of this machine."
        yield Check("home", Status.FAILED, message, f"Run: {_chmod(700, home)}", details)
    elif mode & _OTHERS:
        message = f"{home} can be looked into by other users of this machine."
        yield Check("home", Status.WARNING, message, f"Run: {_chmod(700, home)}", details)
    else:
        yield Check("home", Status.OK, f"{home} is there, for its owner alone.", details=details)


def _not_there(home: Path) -> Check:
    above = existing(home)
    details = {"path": str(home)}
    blocking = next((one for one in home.parents if one.exists() and not one.is_dir()), None)
    if blocking is not None or not os.access(above, os.W_OK | os.X_OK):
        reason = f"{blocking} is no folder" if blocking else f"{above} cannot be written"
        return Check(
            "home",
            Status.FAILED,
            f"{home} is not there and cannot be made: {reason}.",
            "Name another folder with CCOS_HOME, or make this one for the user CCOS runs as.",
            details,
        )
    return Check("home", Status.WARNING, f"{home} is not there yet.", "Run: ccos init", details)


def key(home: Path) -> Iterator[Check]:
    """Whether the key is there, whole, and readable by its owner alone."""
    path = key_path(home)
    details = {"path": str(path)}
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        yield _no_key(home, path)
        return
    step = "Restore the key file from a backup; without it nothing signed verifies."
    if not stat.S_ISREG(mode):
        yield Check("key", Status.FAILED, f"{path} is no file.", step, details)
    elif secret(path) is None:
        yield Check("key", Status.FAILED, f"{path} is damaged.", step, details)
    elif mode & _OTHERS:
        details["mode"] = f"{stat.S_IMODE(mode):04o}"
        message = f"{path} can be read or changed by other users of this machine."
        step = f"Run: {_chmod(600, path)} - who has read it can sign in this CCOS's name."
        yield Check("key", Status.FAILED, message, step, details)
    else:
        message = f"{path} is whole and its owner's alone."
        yield Check("key", Status.OK, message, details=details)


def secret(path: Path) -> bytes | None:
    """The secret in a key file; None if it is no file or does not hold one.

    Raises:
        OSError: if it cannot be read.
    """
    if not path.is_file():  # opening a pipe could wait for ever
        return None
    with path.open("rb") as file:
        content = file.read(_KEY_BYTES + 1)
    return content if len(content) == _KEY_BYTES else None


def _chmod(mode: int, path: Path) -> str:
    return f"chmod {mode} {shlex.quote(str(path))}"


def _no_key(home: Path, path: Path) -> Check:
    details = {"path": str(path)}
    if (home / "audit" / "head.json").exists():
        return Check(
            "key",
            Status.FAILED,
            f"{path} is gone, and with it was signed what is stored here.",
            "Restore the key file from a backup; without it nothing signed verifies.",
            details,
        )
    return Check("key", Status.OK, "There is none yet; it is made at first use.", details=details)
