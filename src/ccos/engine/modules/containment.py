"""Paths that stay inside the granted folders, whatever links there are and whoever moves them.

A path is walked name by name, each folder opened relative to the one before and never through a
symbolic link; links are read and walked as paths themselves. What was checked is a descriptor,
and the same descriptor is used, so nothing that is swapped in between leads anywhere else. (The
kernel's ``openat2`` could do this for one folder, but refuses links by absolute path.)

Two things are no business of this module: a hard link or a mount that somebody put into a granted
folder belongs to it, and so does a folder that is moved out while it is being used.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules.limits import MAX_FOLDER_DEPTH, MAX_PATH_BYTES, MAX_SYMBOLIC_LINKS
from ccos.errors import SecurityViolationError

_PATH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY)
_FOLDER: Final = _PATH_ONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PROCESSES: Final = "/proc"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path leads to: a name in an opened folder, and no symbolic link when it was read.

    Attributes:
        folder: Descriptor of the folder.
        name: The name in it; ``.`` for the folder itself.
    """

    folder: int
    name: str

    def open(self, flags: int, mode: int = 0o666) -> int:
        """A descriptor of it, never through a link that was put there since.

        Raises:
            OSError: as :func:`os.open`.
        """
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(self.name, flags, mode, dir_fd=self.folder)

    def stat(self) -> os.stat_result:
        """Its kind and size.

        Raises:
            OSError: as :func:`os.stat`.
        """
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)


class GrantedFolders:
    """The folders that an execution may see.

    Args:
        roots: Absolute paths. They come from configuration, so links in them are followed.
        working_directory: What relative paths start from; None refuses them.
    """

    def __init__(self, roots: Sequence[Path], working_directory: Path | None) -> None:
        self._roots = roots
        self._working_directory = working_directory

    @contextmanager
    def place(self, path: str) -> Iterator[Place]:
        """Walk ``path`` to its end. Blocks for as long as the file system does.

        Its last name need not exist.

        Raises:
            SecurityViolationError: if it leads out of the granted folders, or through ``/proc``,
                which tells about this very process.
            HostFunctionError: if it cannot be a path, is relative to nothing, or has too many
                folders or links.
            OSError: if a folder of it is missing or may not be opened.
        """
        with closing(_Walk(self._aliases())) as walk:
            yield walk.to(self._absolute(path))

    def _absolute(self, path: str) -> str:
        _check(path)
        if path.startswith("/"):
            return path
        if self._working_directory is None or not self._working_directory.is_absolute():
            raise HostFunctionError("This script has no working directory; give a whole path.")
        return f"{self._working_directory}/{path}"

    def _aliases(self) -> list[tuple[list[str], Path]]:
        """The granted folders by their names; one that is or goes through a link has two.

        The outermost come first: a folder within another grants nothing more.
        """
        aliases = {
            (path, root) for root in self._roots for path in (str(root), os.path.realpath(root))
        }
        by_names = [(_names(path), root) for path, root in aliases]
        return sorted(by_names, key=lambda alias: (len(alias[0]), alias[0]))


class _Walk:
    """One walk; the descriptors of the folders from the granted one to the present one."""

    def __init__(self, aliases: list[tuple[list[str], Path]]) -> None:
        self._aliases = aliases
        self._hidden = _device_of_processes()
        self._folders: list[int] = []
        self._at_top = False
        self._links = 0

    def close(self) -> None:
        """Close the folders."""
        while self._folders:
            os.close(self._folders.pop())

    def to(self, path: str) -> Place:
        """Walk an absolute path."""
        place = self._reached(path)
        with suppress(FileNotFoundError):
            self._refuse_hidden(place.stat())
        return place

    def _reached(self, path: str) -> Place:
        ahead = self._enter(path)
        while ahead:
            name = ahead.pop(0)
            if name == "..":
                self._leave()
                continue
            link = self._link(name)
            if link is None:
                if not ahead:
                    return Place(self._folders[-1], name)
                self._down(name)
            elif link.startswith("/"):
                ahead = self._enter(link) + ahead
            else:
                ahead = _names(link) + ahead
        return Place(self._folders[-1], ".")

    def _enter(self, path: str) -> list[str]:
        """Begin anew at the granted folder that ``path`` is in; returns the names below it."""
        names = _names(path)
        for prefix, root in self._aliases:
            if names[: len(prefix)] == prefix:
                self.close()
                self._take(os.open(root, _FOLDER))
                self._at_top = not prefix
                return names[len(prefix) :]
        raise _outside()

    def _down(self, name: str) -> None:
        if len(self._folders) > MAX_FOLDER_DEPTH:
            raise HostFunctionError(f"The path goes deeper than {MAX_FOLDER_DEPTH} folders.")
        self._take(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._folders[-1]))

    def _take(self, descriptor: int) -> None:
        self._folders.append(descriptor)
        self._refuse_hidden(os.fstat(descriptor))

    def _leave(self) -> None:
        if len(self._folders) > 1:
            os.close(self._folders.pop())
        elif not self._at_top:
            raise _outside()

    def _refuse_hidden(self, found: os.stat_result) -> None:
        if found.st_dev == self._hidden:
            raise SecurityViolationError("What /proc tells about processes is not for scripts.")

    def _link(self, name: str) -> str | None:
        """Where the symbolic link ``name`` leads; None if it is none, or nothing."""
        try:
            target = os.readlink(name, dir_fd=self._folders[-1])
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise
        self._links += 1
        if self._links > MAX_SYMBOLIC_LINKS:
            raise HostFunctionError("The path has too many symbolic links.")
        return target


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _check(path: str) -> None:
    if "\0" in path:
        raise HostFunctionError("A path cannot hold a NUL character.")
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise HostFunctionError("The path holds half of a surrogate pair.") from None
    if not 0 < length <= MAX_PATH_BYTES:
        raise HostFunctionError(f"A path has between 1 and {MAX_PATH_BYTES} bytes.")


def _device_of_processes() -> int | None:
    """The file system of ``/proc``; None where there is none."""
    return Path(_PROCESSES).stat().st_dev if os.path.ismount(_PROCESSES) else None


def _outside() -> SecurityViolationError:
    return SecurityViolationError("The path leads out of the folders that are granted.")
