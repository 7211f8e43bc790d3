"""Finding the files of folders: in one order, within the folder, and never twice.

All of it is blocking; callers use a thread.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ccos.migration.discovery_config import DiscoveryConfig


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may have tools.

    Attributes:
        path: Where it was found, below its root as that was named.
        root: The folder that was searched.
        target: Where it really is.
    """

    path: Path
    root: Path
    target: Path

    @property
    def relative(self) -> Path:
        """Its place below the root; its name, if it is the root itself."""
        return Path(self.path.name) if self.path == self.root else self.path.relative_to(self.root)


@dataclass(frozen=True, slots=True)
class Passed:
    """Something that was passed over, or could not be looked into, and why."""

    path: Path
    reason: str


@dataclass(slots=True)
class Walk:
    """What a search came across.

    Attributes:
        files: The files that may have tools, in order.
        skipped: Links that were not followed.
        unreadable: Folders that could not be looked into.
        missing: Folders that are not there.
    """

    files: list[FoundFile] = field(default_factory=list)
    skipped: list[Passed] = field(default_factory=list)
    unreadable: list[Passed] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)


class UnreadableFileError(Exception):
    """A file cannot be read; the message says why."""


def walk(config: DiscoveryConfig, roots: Iterable[Path]) -> Walk:
    """The files below some folders, in the order of the folders and then of their names.

    A file that can be reached in several ways is found once, where it really is if possible.
    """
    found = Walk()
    searcher = _Searcher(config, found)
    for root in roots:
        searcher.search(root)
    return found


def read_content(found: FoundFile, config: DiscoveryConfig) -> tuple[bytes, float]:
    """The bytes of a file, and when it was changed last.

    Raises:
        UnreadableFileError: if it cannot be read, is too large, or is no regular file.
    """
    # It may have been replaced since it was found: by a link, or by a pipe that never ends.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(found.target, flags), "rb") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableFileError("It is no regular file.")
            content = b""
            if status.st_size <= config.max_file_size:
                content = file.read(config.max_file_size + 1)
            if max(status.st_size, len(content)) > config.max_file_size:
                raise UnreadableFileError(
                    f"It has {max(status.st_size, len(content))} bytes; at most "
                    f"{config.max_file_size} are allowed."
                )
            return content, status.st_mtime
    except OSError as error:
        raise UnreadableFileError(f"It cannot be read: {error.strerror or error}.") from error


def fingerprint(config: DiscoveryConfig, roots: Iterable[Path]) -> dict[Path, str]:
    """What tells quickly whether any file changed: for each, its identity, size and times.

    The time of change of its status is among them, which nobody can set back.
    """
    marks = {}
    for found in walk(config, roots).files:
        try:
            status = found.target.stat(follow_symlinks=False)
        except OSError as error:
            marks[found.path] = str(error.errno)
            continue
        times = (status.st_mtime_ns, status.st_ctime_ns)
        marks[found.path] = str((status.st_dev, status.st_ino, status.st_size, *times))
    return marks


class _Searcher:
    def __init__(self, config: DiscoveryConfig, found: Walk) -> None:
        self._config = config
        self._found = found
        self._folders: set[str] = set()
        self._files: set[str] = set()

    def search(self, root: Path) -> None:
        """Find the files of one folder, or the one file that is named."""
        try:
            target = root.resolve(strict=True)
            mode = target.stat().st_mode
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self._found.missing.append(root)
            else:
                self._found.unreadable.append(Passed(root, _reason(error)))
            return
        if not stat.S_ISDIR(mode):
            self._take(root, root, str(target))
            return
        links: list[tuple[Path, Path]] = []
        start = len(self._found.files)
        self._enter(root, root, str(target), links)
        # Links come after what is really there, so that a file is found where it is.
        while links:
            path, place = links.pop(0)
            self._follow(path, root, place, str(target), links)
        tail = self._found.files[start:]
        self._found.files[start:] = sorted(tail, key=lambda one: one.relative.parts)

    def _enter(self, path: Path, root: Path, place: str, links: list[tuple[Path, Path]]) -> None:
        waiting = [(path, place)]
        while waiting:
            path, place = waiting.pop()
            if place in self._folders:
                continue
            self._folders.add(place)
            for entry in self._entries(path, place):
                child, really = path / entry.name, os.path.join(place, entry.name)  # noqa: PTH118
                if entry.is_symlink():
                    links.append((child, Path(really)))
                elif entry.is_dir(follow_symlinks=False):
                    if self._may_enter(entry.name):
                        waiting.append((child, really))
                elif self._may_look_at(entry.name):
                    self._take(child, root, really)

    def _entries(self, path: Path, place: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(place) as entries:
                yield from sorted(entries, key=lambda one: one.name)
        except OSError as error:
            self._found.unreadable.append(Passed(path, _reason(error)))

    def _follow(
        self, path: Path, root: Path, place: Path, top: str, links: list[tuple[Path, Path]]
    ) -> None:
        """Look at a link; what it leads to counts only within the folder."""
        target = os.path.realpath(place)
        try:
            mode = os.stat(target, follow_symlinks=False).st_mode  # noqa: PTH116 - bytes may be odd
        except OSError:
            if self._may_look_at(path.name):
                self._skip(path, "The link leads nowhere.")
            return
        folder = stat.S_ISDIR(mode)
        if not (self._may_enter(path.name) if folder else self._may_look_at(path.name)):
            return
        if not self._config.follow_symlinks:
            self._skip(path, "Links are not followed.")
        elif target != top and not target.startswith(top.rstrip("/") + "/"):
            self._skip(path, "The link leads out of the folder.")
        elif target in (self._folders if folder else self._files):
            self._skip(path, "The link leads to what was found already.")
        elif folder:
            self._enter(path, root, target, links)
        else:
            self._take(path, root, target)

    def _take(self, path: Path, root: Path, target: str) -> None:
        if target not in self._files:
            self._files.add(target)
            self._found.files.append(FoundFile(path, root, Path(target)))

    def _skip(self, path: Path, reason: str) -> None:
        self._found.skipped.append(Passed(path, reason))

    def _may_enter(self, name: str) -> bool:
        return self._config.recursive and name not in self._config.exclude_dirs

    def _may_look_at(self, name: str) -> bool:
        config = self._config
        return (
            name.rpartition(".")[2].lower() in config.extensions
            and "." in name
            and name not in config.exclude_files
            and not any(fnmatch.fnmatchcase(name, one) for one in config.ignore_patterns)
        )


def _reason(error: OSError) -> str:
    return f"It cannot be looked into: {error.strerror or error}."
