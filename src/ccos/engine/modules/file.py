"""``crucible.file``: files within the granted folders."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Concatenate, Final, ParamSpec, TypeVar

from ccos.engine.budget import Dimension
from ccos.engine.hosts import Effect, HostContext, HostFunction, HostFunctionError, Parameter
from ccos.engine.modules.containment import GrantedFolders, Place
from ccos.engine.modules.limits import MAX_TEXT_BYTES, counted, sized
from ccos.engine.modules.waiting import to_its_end

MODULE: Final = "crucible.file"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


async def file_read(context: HostContext, path: str) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        HostFunctionError: if it cannot be read, is too long, or is no such text.
        SecurityViolationError: if it lies outside the granted folders.
    """
    data = await _in_thread(context, path, _read)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise HostFunctionError(f"{_shown(path)} is not text in UTF-8.") from None


async def file_write(context: HostContext, path: str, content: str) -> None:
    """Write a text in UTF-8, whole or not at all, in place of what was there.

    A file that was there keeps its owner and permissions; a link to a file stays a link.

    Raises:
        HostFunctionError: if it cannot be written, or the text is too long.
        SecurityViolationError: if it lies outside the granted folders.
        BudgetExhaustedError: if the budget for stored bytes does not cover it.
    """
    data = sized(content, "The content")
    await context.charge(Dimension.STORAGE_BYTES, len(data))
    await _in_thread(context, path, _write, data)


async def file_exists(context: HostContext, path: str) -> bool:
    """Whether there is anything, links followed.

    Raises:
        HostFunctionError: if it cannot be a path.
        SecurityViolationError: if it lies outside the granted folders.
    """
    return await _in_thread(context, path, _mode) is not None


async def file_is_file(context: HostContext, path: str) -> bool:
    """Whether there is a regular file, links followed.

    Raises:
        HostFunctionError: as :func:`file_exists`.
        SecurityViolationError: as :func:`file_exists`.
    """
    mode = await _in_thread(context, path, _mode)
    return mode is not None and stat.S_ISREG(mode)


async def file_is_dir(context: HostContext, path: str) -> bool:
    """Whether there is a folder, links followed.

    Raises:
        HostFunctionError: as :func:`file_exists`.
        SecurityViolationError: as :func:`file_exists`.
    """
    mode = await _in_thread(context, path, _mode)
    return mode is not None and stat.S_ISDIR(mode)


async def file_list_dir(context: HostContext, path: str) -> list[str]:
    """The names of all entries of a folder, hidden ones included, sorted.

    What is not UTF-8 in a name is replaced by U+FFFD.

    Raises:
        HostFunctionError: if it cannot be read or has too many entries.
        SecurityViolationError: if it lies outside the granted folders.
    """
    return await _in_thread(context, path, _list)


def _read(folders: GrantedFolders, path: str) -> bytes:
    with folders.place(path) as place:
        _check_regular(place.stat(), path)
        with os.fdopen(place.open(os.O_RDONLY), "rb") as file:
            _check_regular(os.fstat(file.fileno()), path)
            data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise HostFunctionError(f"{_shown(path)} is longer than {MAX_TEXT_BYTES} bytes.")
    return data


def _write(folders: GrantedFolders, path: str, data: bytes) -> None:
    with folders.place(path) as place:
        before = _existing(place, path)
        temporary = replace(place, name=f".ccos-{secrets.token_hex(8)}")
        descriptor = temporary.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if before is not None:
                    _keep_ownership(file.fileno(), before)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary.name, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary.name, dir_fd=place.folder)
            raise


def _existing(place: Place, path: str) -> os.stat_result | None:
    """The regular file that is there and may be written; None for nothing."""
    try:
        _check_regular(place.stat(), path)
    except FileNotFoundError:
        return None
    descriptor = place.open(os.O_WRONLY)
    try:
        before = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    _check_regular(before, path)
    return before


def _keep_ownership(descriptor: int, before: os.stat_result) -> None:
    # Whoever may write a file need not be its owner; the new one is then the writer's.
    with suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)


def _mode(folders: GrantedFolders, path: str) -> int | None:
    try:
        with folders.place(path) as place:
            return place.stat().st_mode
    except OSError:
        return None


def _list(folders: GrantedFolders, path: str) -> list[str]:
    names = []
    with folders.place(path) as place:
        descriptor = place.open(os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    names.append(os.fsencode(entry.name).decode(errors="replace"))
                    counted(len(names), "The folder")
        finally:
            os.close(descriptor)
    return sorted(names)


def _check_regular(found: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise HostFunctionError(f"{_shown(path)} is a folder.")
    if not stat.S_ISREG(found.st_mode):
        raise HostFunctionError(f"{_shown(path)} is no regular file.")


async def _in_thread(
    context: HostContext,
    path: str,
    work: Callable[Concatenate[GrantedFolders, str, _Arguments], _Result],
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> _Result:
    """Do blocking work; when this is cancelled, it has still ended before this does."""
    folders = GrantedFolders(context.policy.file_roots, context.working_directory)
    try:
        return await to_its_end(asyncio.to_thread(work, folders, path, *args, **kwargs))
    except OSError as error:
        raise HostFunctionError(f"{_shown(path)}: {error.strerror}.") from error


def _shown(path: str) -> str:
    return ascii(path if len(path) <= 200 else f"{path[:200]}…")


_PATH: Final = Parameter("path", "string")

FUNCTIONS: Final = (
    HostFunction(
        module=MODULE,
        name="file_read",
        parameters=(_PATH,),
        returns="string",
        effect=Effect.READ,
        summary="Read a text file in UTF-8.",
        handler=file_read,
    ),
    HostFunction(
        module=MODULE,
        name="file_write",
        parameters=(_PATH, Parameter("content", "string")),
        returns="none",
        effect=Effect.ACT,
        summary="Write a text file in UTF-8, whole or not at all.",
        handler=file_write,
    ),
    HostFunction(
        module=MODULE,
        name="file_exists",
        parameters=(_PATH,),
        returns="boolean",
        effect=Effect.READ,
        summary="Whether a path leads to anything, links followed.",
        handler=file_exists,
    ),
    HostFunction(
        module=MODULE,
        name="file_is_dir",
        parameters=(_PATH,),
        returns="boolean",
        effect=Effect.READ,
        summary="Whether a path leads to a folder, links followed.",
        handler=file_is_dir,
    ),
    HostFunction(
        module=MODULE,
        name="file_is_file",
        parameters=(_PATH,),
        returns="boolean",
        effect=Effect.READ,
        summary="Whether a path leads to a regular file, links followed.",
        handler=file_is_file,
    ),
    HostFunction(
        module=MODULE,
        name="file_list_dir",
        parameters=(_PATH,),
        returns="array",
        effect=Effect.READ,
        summary="The names of all entries of a folder, sorted.",
        handler=file_list_dir,
    ),
)
