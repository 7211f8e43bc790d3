"""What the system opens to start a program: its loader and its libraries.

Source of the layout: the ELF specification, as in ``elf.h``.
"""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ccos.errors import IsolationError

_INTERPRETER_SEGMENT: Final = 3
_LONGEST_PATH: Final = 4096
_CACHE: Final = Path("/etc/ld.so.cache")
_LISTED: Final = re.compile(r"^\s*(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Needs:
    """Files that starting a program opens, besides itself.

    Attributes:
        loader: The program that loads it; None for one that is linked statically.
        libraries: What the loader reads.
    """

    loader: Path | None
    libraries: tuple[Path, ...]


def needs(program: Path) -> Needs:
    """What ``program``, or a shared library, needs. Asks its loader, which does not run it.

    Raises:
        IsolationError: if it is not an executable of a kind known here, or lacks a library.
    """
    loader = _loader(program)
    if loader is None:
        return Needs(None, ())
    return Needs(loader, libraries(loader, program))


def libraries(loader: Path, program: Path) -> tuple[Path, ...]:
    """What ``loader`` reads to load ``program`` or a shared library.

    Raises:
        IsolationError: if it cannot say, such as for a library that is missing.
    """
    try:
        listing = subprocess.run(  # noqa: S603 - the loader of a program that we want to start
            [loader, "--list", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT,
            env={},
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise IsolationError(f"The libraries of {program} cannot be listed: {error}") from error
    found = [Path(path) for path in _LISTED.findall(listing)]
    if _CACHE.exists():
        found.append(_CACHE)
    return tuple(dict.fromkeys(found))


def _loader(program: Path) -> Path | None:
    try:
        with program.open("rb") as file:
            return _interpreter(file)
    except (OSError, struct.error) as error:
        raise IsolationError(f"{program} is not a program for a jail: {error}") from error


def _interpreter(file: BinaryIO) -> Path | None:
    """The interpreter that an ELF file of 64 bits in this machine's byte order names."""
    header = file.read(64)
    if header[:5] != b"\x7fELF\x02":
        raise OSError("not an ELF file of 64 bits")
    (table,) = struct.unpack_from("=Q", header, 32)
    size, count = struct.unpack_from("=HH", header, 54)
    for index in range(count):
        file.seek(table + index * size)
        kind, _, offset, _, _, length = struct.unpack("=IIQQQQ", file.read(40))
        if kind == _INTERPRETER_SEGMENT:
            file.seek(offset)
            return Path(file.read(min(length, _LONGEST_PATH)).rstrip(b"\0").decode())
    return None
