from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ccos.engine.budget import Dimension
from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules.limits import MAX_ITEMS, MAX_TEXT_BYTES
from ccos.errors import BudgetExhaustedError, SecurityViolationError

from .script import Script, within

pytestmark = pytest.mark.anyio

STORED = Dimension.STORAGE_BYTES


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(policy=within(tmp_path), working_directory=tmp_path)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_text_that_was_written_is_read(script: Script, tmp_path: Path) -> None:
    for path in ("new.txt", str(tmp_path / "new.txt"), "./sub/../new.txt"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        assert await script.await_call("file_write", path, "é\n") is None
        assert await script.await_call("file_read", path) == "é\n"
        assert (tmp_path / "new.txt").read_bytes() == "é\n".encode()
    assert entries(tmp_path) == ["new.txt", "sub"]


async def test_paths_are_told_apart(script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "to-folder").symlink_to(tmp_path / "folder")
    (tmp_path / "to-nothing").symlink_to("nothing")
    found = {
        name: tuple(
            [
                await script.await_call(f"file_{question}", name)
                for question in ("exists", "is_file", "is_dir")
            ]
        )
        for name in (*entries(tmp_path), ".", "nothing", "file/below", "nothing/below")
    }
    assert found == {
        "file": (True, True, False),
        "folder": (True, False, True),
        "pipe": (True, False, False),
        "to-file": (True, True, False),
        "to-folder": (True, False, True),
        "to-nothing": (False, False, False),
        ".": (True, False, True),
        "nothing": (False, False, False),
        "file/below": (False, False, False),
        "nothing/below": (False, False, False),
    }


async def test_all_entries_of_a_folder_are_listed_in_order(script: Script, tmp_path: Path) -> None:
    for name in ("b", ".hidden", "a", "é"):
        (tmp_path / name).write_text("")
    (tmp_path / "c").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("")
    expected = [".hidden", "a", "b", "c", "é", "\ufffd"]
    assert await script.await_call("file_list_dir", ".") == expected
    assert await script.await_call("file_list_dir", str(tmp_path)) == expected
    assert await script.await_call("file_list_dir", "c") == []


async def test_a_folder_with_too_many_entries_is_refused(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / str(number)).write_text("")
    assert MAX_ITEMS > 5
    monkeypatch.setattr("ccos.engine.modules.limits.MAX_ITEMS", 5)
    assert len(await script.await_call("file_list_dir", ".")) == 5
    monkeypatch.setattr("ccos.engine.modules.limits.MAX_ITEMS", 4)
    with pytest.raises(HostFunctionError, match="more than 4"):
        await script.await_call("file_list_dir", ".")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("file_read", ("nothing",), "'nothing': No such file"),
        ("file_read", ("nothing/below",), "No such file"),
        ("file_read", ("file/below",), "Not a directory"),
        ("file_read", ("folder",), "'folder' is a folder"),
        ("file_read", (".",), "is a folder"),
        ("file_read", ("binary",), "is not text in UTF-8"),
        ("file_write", ("nothing/below", ""), "No such file"),
        ("file_write", ("folder", ""), "is a folder"),
        ("file_write", (".", ""), "is a folder"),
        ("file_write", ("new", "\ud800"), "half of a surrogate pair"),
        ("file_list_dir", ("nothing",), "No such file"),
        ("file_list_dir", ("file",), "Not a directory"),
        ("file_read", ("",), "between 1 and"),
        ("file_exists", ("a\0b",), "NUL"),
        ("file_read", ("a\0b",), "NUL"),
        ("file_read", ("\ud800",), "half of a surrogate pair"),
        ("file_read", ("x" * 300,), "File name too long"),
        ("file_write", ("x" * 300, ""), "File name too long"),
        ("file_read", ("x/" * 3000,), "between 1 and"),
        ("file_read", ("loop",), "too many symbolic links"),
        ("file_read", ("loop/below",), "too many symbolic links"),
        ("file_read", ("folder/" + "../folder/" * 300,), "is a folder"),
        ("file_read", ("deep",), "deeper than"),
        ("file_read", ("\x1b[2J",), r"'\\x1b\[2J'"),
    ],
)
async def test_what_cannot_be_done_is_an_error(
    script: Script, tmp_path: Path, name: str, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "loop").symlink_to("loop")
    deep = tmp_path
    for _ in range(140):
        deep = deep / "d"
        deep.mkdir()
    (tmp_path / "deep").symlink_to("d/" * 140)
    before = entries(tmp_path)
    with pytest.raises(HostFunctionError, match=message):
        await script.await_call(name, *arguments)
    assert entries(tmp_path) == before


async def test_relative_paths_need_a_working_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    script = Script(policy=within(tmp_path))
    assert await script.await_call("file_read", str(tmp_path / "file")) == "text"
    with pytest.raises(HostFunctionError, match="no working directory"):
        await script.await_call("file_read", "file")


async def test_devices_and_pipes_are_refused_without_waiting(
    script: Script, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    everywhere = Script(policy=within(Path("/")))
    for caller, path in ((script, "pipe"), (everywhere, "/dev/zero"), (everywhere, "/dev/tty")):
        async with asyncio.timeout(2):
            with pytest.raises(HostFunctionError, match="is no regular file"):
                await caller.await_call("file_read", path)
            with pytest.raises(HostFunctionError, match="is no regular file"):
                await caller.await_call("file_write", path, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


async def test_sizes_are_limited(script: Script, tmp_path: Path) -> None:
    whole = "x" * MAX_TEXT_BYTES
    await script.await_call("file_write", "whole", whole)
    assert await script.await_call("file_read", "whole") == whole
    with pytest.raises(HostFunctionError, match="longer than"):
        await script.await_call("file_write", "whole", whole + "x")
    assert (tmp_path / "whole").stat().st_size == MAX_TEXT_BYTES
    os.truncate(tmp_path / "whole", 10**12)
    with pytest.raises(HostFunctionError, match="longer than"):
        await script.await_call("file_read", "whole")


async def test_what_is_written_is_charged_before(script: Script, tmp_path: Path) -> None:
    script.budget[STORED] = 10
    await script.await_call("file_write", "a", "12345678")
    assert script.used == {STORED: 8}
    with pytest.raises(BudgetExhaustedError):
        await script.await_call("file_write", "b", "éé")
    assert entries(tmp_path) == ["a"]
    await script.await_call("file_read", "a")
    assert script.used == {STORED: 8}


async def test_a_file_that_is_replaced_keeps_its_permissions_but_no_special_bits(
    script: Script, tmp_path: Path
) -> None:
    for before, after in ((0o600, 0o600), (0o755, 0o755), (0o4775, 0o775)):
        (tmp_path / "old").write_text("old")
        (tmp_path / "old").chmod(before)
        await script.await_call("file_write", "old", "new")
        assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == after
    (tmp_path / "plain").write_text("")
    await script.await_call("file_write", "new", "")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


async def test_a_link_to_a_file_stays_a_link(script: Script, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    for text in ("new", "old"):
        await script.await_call("file_write", "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "folder" / "file").read_text() == text
    assert entries(tmp_path / "folder") == ["file"]


async def test_readers_see_the_old_text_or_the_new_one(script: Script, tmp_path: Path) -> None:
    texts = {letter * 200_000 for letter in "ab"}
    (tmp_path / "file").write_text("a" * 200_000)

    def read(stop: threading.Event, seen: set[str]) -> None:
        while not stop.is_set():
            seen.add((tmp_path / "file").read_text())

    seen: set[str] = set()
    with alongside(read, seen):
        for _ in range(10):
            for text in sorted(texts):
                await script.await_call("file_write", "file", text)
    assert seen <= texts


async def test_a_write_that_fails_leaves_the_old_text_and_no_other_file(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(HostFunctionError, match="No space left"):
        await script.await_call("file_write", "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert entries(tmp_path) == ["file"]


async def test_a_cancelled_write_has_ended_when_the_script_has(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    sync = os.fsync

    def slowly(descriptor: int) -> None:
        inside.set()
        go_on.wait()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slowly)
    writing = asyncio.ensure_future(script.await_call("file_write", "file", "text"))
    await asyncio.to_thread(inside.wait)
    writing.cancel()
    await asyncio.sleep(0.05)
    assert not writing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert entries(tmp_path) == ["file"]


async def test_no_descriptor_is_left_open(script: Script, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "loop").symlink_to("loop")
    (tmp_path / "a" / "out").symlink_to("/etc")
    await script.await_call("file_exists", "a")
    before = len(entries(Path("/proc/self/fd")))
    for path in ("a/b/c", "a/loop", "a/out/passwd", "a/b/../../../x", "a/b"):
        for name in ("file_read", "file_list_dir", "file_exists"):
            with contextlib.suppress(HostFunctionError, SecurityViolationError):
                await script.await_call(name, path)
    assert len(entries(Path("/proc/self/fd"))) == before


class alongside:  # noqa: N801
    """Runs a function in a thread for the time of a ``with``; its first argument says stop."""

    def __init__(self, function: Callable[..., None], *arguments: object) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=function, args=(self._stop, *arguments))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
