"""Where the Rune worker is on this machine."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Final

from ccos.errors import ConfigurationError

VARIABLE: Final = "CCOS_RUNE_WORKER"
_PROGRAM: Final = "ccos-rune-worker"
_INSTALL: Final = "Install it with `pip install ccos-rune`."


def find_worker() -> Path:
    """The executable: that of the variable, of this interpreter's scripts, or on the PATH.

    Raises:
        ConfigurationError: if there is none, saying how to install it.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not (Path(named).is_file() and os.access(named, os.X_OK)):
            raise ConfigurationError(
                f"{VARIABLE} names {named}, which is not an executable program.",
                next_step=f"Name the program {_PROGRAM}, or unset the variable. {_INSTALL}",
                details={"variable": VARIABLE, "value": named},
            )
        return Path(named).resolve()
    found = shutil.which(_PROGRAM, path=sysconfig.get_path("scripts")) or shutil.which(_PROGRAM)
    if found is None:
        raise ConfigurationError(
            f"Scripts in Rune need the program {_PROGRAM}, which is not installed.",
            next_step=_INSTALL,
            details={"program": _PROGRAM},
        )
    return Path(found).resolve()
