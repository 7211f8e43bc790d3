"""No path whatever leads out of the granted folders."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.engine.hosts import HostFunctionError
from ccos.errors import SecurityViolationError

from .script import Script, within

INSIDE, OUTSIDE = "inside", "secret"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A granted folder with files and links, and another one that is not granted."""
    granted, other = tmp_path / "granted", tmp_path / "other"
    (granted / "sub" / "deeper").mkdir(parents=True)
    other.mkdir()
    (granted / "file").write_text(INSIDE)
    (granted / "sub" / "file").write_text(INSIDE)
    (other / "file").write_text(OUTSIDE)
    (tmp_path / "granted-not").mkdir()
    (tmp_path / "granted-not" / "file").write_text(OUTSIDE)
    for link, target in {
        "near": "sub/file",
        "whole": str(granted / "sub" / "file"),
        "folder": "sub",
        "sub/up": "..",
        "sub/deeper/across": "../../sub/up/file",
        "again": "near",
        "out": "../other/file",
        "out-whole": str(other / "file"),
        "out-folder": str(other),
        "sub/out-two": "../../other",
        "out-again": "out-folder",
        "self": "../granted/file",
        "top": "/",
        "gone": "../other/nothing",
    }.items():
        (granted / link).symlink_to(target)
    (other / "back").symlink_to(granted / "file")
    return tmp_path


def script_in(world: Path, *roots: str) -> Script:
    granted = [world / root for root in roots] or [world / "granted"]
    return Script(policy=within(*granted), working_directory=world / "granted")


def read(script: Script, path: str) -> str:
    text = asyncio.run(script.await_call("file_read", path))
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    "path",
    [
        "file",
        "./file",
        "sub//file",
        "sub/../file",
        "near",
        "whole",
        "again",
        "folder/file",
        "sub/up/file",
        "sub/up/sub/up/near",
        "sub/deeper/across",
        "{granted}/file",
        "{granted}/folder/../file",
        "/{granted}//file",
    ],
)
def test_what_stays_inside_is_read(world: Path, path: str) -> None:
    assert read(script_in(world), path.format(granted=world / "granted")) == INSIDE


OUT = [
    "../other/file",
    "sub/../../other/file",
    "out",
    "out-whole",
    "out-folder/file",
    "sub/out-two/file",
    "out-again/file",
    "out-folder/back",
    "self",
    "top",
    "top/etc/passwd",
    "gone",
    "..",
    "../granted/file",
    "sub/up/../other/file",
    "{world}/other/file",
    "{world}/granted-not/file",
    "{world}/granted/../other/file",
    "{world}",
    "/etc/passwd",
    "/",
    "/proc/self/environ",
    "//etc/passwd",
]


@pytest.mark.parametrize("path", OUT)
def test_what_leads_out_is_refused(world: Path, path: str) -> None:
    script = script_in(world)
    for name in ("read", "exists", "is_file", "is_dir", "list_dir"):
        with pytest.raises(SecurityViolationError):
            asyncio.run(script.await_call(f"file_{name}", path.format(world=world)))
    with pytest.raises(SecurityViolationError):
        asyncio.run(script.await_call("file_write", path.format(world=world), "changed"))
    assert (world / "other" / "file").read_text() == OUTSIDE
    assert not (world / "other" / "nothing").exists()


def test_a_working_directory_outside_grants_nothing(world: Path) -> None:
    script = Script(policy=within(world / "granted"), working_directory=world / "other")
    with pytest.raises(SecurityViolationError):
        read(script, "file")
    assert read(script, str(world / "granted" / "file")) == INSIDE


def test_links_may_lead_from_one_granted_folder_to_another(world: Path) -> None:
    script = script_in(world, "granted", "other")
    assert read(script, "out-whole") == OUTSIDE
    assert read(script, "out-folder/back") == INSIDE
    with pytest.raises(SecurityViolationError):
        read(script, str(world / "granted-not" / "file"))


def test_a_folder_within_a_granted_one_narrows_nothing(world: Path) -> None:
    script = script_in(world, "granted/sub", "granted")
    assert read(script, "sub/../file") == INSIDE


def test_a_granted_folder_may_itself_be_a_link(world: Path) -> None:
    (world / "alias").symlink_to("granted")
    script = Script(policy=within(world / "alias"), working_directory=world / "alias")
    assert read(script, "file") == INSIDE
    assert read(script, "whole") == INSIDE
    with pytest.raises(SecurityViolationError):
        read(script, "out")


def test_without_granted_folders_nothing_is_seen(world: Path) -> None:
    script = Script(policy=within(), working_directory=world)
    with pytest.raises(SecurityViolationError):
        read(script, str(world / "granted" / "file"))


def test_a_granted_folder_that_is_missing_is_an_error(world: Path) -> None:
    with pytest.raises(HostFunctionError, match="No such file"):
        read(script_in(world, "missing"), str(world / "missing" / "file"))


def test_with_everything_granted_the_processes_are_still_not(world: Path) -> None:
    script = Script(policy=within(Path("/")), working_directory=Path("/"))
    assert read(script, str(world / "other" / "file")) == OUTSIDE
    assert read(script, str(world / "granted" / "out")) == OUTSIDE
    assert read(script, f"../../..{world}/other/file") == OUTSIDE
    (world / "environ").symlink_to("/proc/self/environ")
    for path in (
        "/proc/self/environ",
        "/proc",
        "/proc/1/root/etc",
        "/proc/self/cwd",
        str(world / "environ"),
    ):
        with pytest.raises(SecurityViolationError, match="/proc"):
            read(script, path)


@pytest.fixture(scope="module")
def maze() -> Iterator[Path]:
    """Folders full of links, in and out, and a file outside with a text of its own."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "granted" / "a" / "b").mkdir(parents=True)
        (top / "other").mkdir()
        for folder in ("granted", "granted/a", "granted/a/b"):
            (top / folder / "file").write_text(INSIDE)
            for link, target in {
                "up": "..",
                "up-two": "../..",
                "root": "/",
                "other": str(top / "other"),
                "again": str(top / "granted"),
                "near": "../other",
                "down": "a",
            }.items():
                (top / folder / link).symlink_to(target)
        for folder in ("other", "."):
            (top / folder / "file").write_text(OUTSIDE)
            (top / folder / "a").symlink_to("granted/a")
        yield top


names = st.sampled_from(
    ["a", "b", "file", "up", "up-two", "root", "other", "again", "near", "down", "..", ".", ""]
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, max_size=8), st.booleans(), st.booleans())
def test_no_path_leads_out(maze: Path, parts: list[str], is_whole: bool, through: bool) -> None:
    start = maze / "granted"
    path = "/".join(parts) or "."
    if is_whole:
        path = f"{maze}/{path}" if through else f"{start}/{path}"
    script = Script(policy=within(start), working_directory=start)
    try:
        assert read(script, path) == INSIDE
    except SecurityViolationError:
        pass  # it led out, or went out and came back
    except HostFunctionError:
        assert not (start / path).is_file()
    else:
        assert (start / path).resolve().is_relative_to(start.resolve())


@settings(max_examples=200)
@given(path=st.text(min_size=1, max_size=30) | st.binary(max_size=20).map(os.fsdecode))
def test_no_text_leads_out(maze: Path, path: str) -> None:
    script = Script(policy=within(maze / "granted"), working_directory=maze / "granted")
    for way in (path, f"../{path}", f"/{path}", f"a/{path}/../../other/file"):
        with contextlib.suppress(SecurityViolationError, HostFunctionError):
            assert read(script, way) == INSIDE


@pytest.mark.parametrize(
    ("swapped", "moment", "count"),
    [
        ("folder", "readlink", 1),
        ("folder", "open", 1),
        ("file", "readlink", 1),
        ("file", "stat", 1),
        ("file", "stat", 2),
        ("file", "open", 1),
    ],
)
def test_a_link_swapped_in_at_the_worst_moment_leads_nowhere(
    world: Path, swapped: str, moment: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after one of the looks that are taken at what is about to be swapped."""
    granted, other = world / "granted", world / "other"
    (granted / "work").mkdir()
    (granted / "work" / "file").write_text(INSIDE)
    changing = granted / "work" if swapped == "folder" else granted / "work" / "file"
    look, looks = getattr(os, moment), 0

    def look_and_swap(path: str, *arguments: Any, **named: Any) -> Any:
        nonlocal looks
        try:
            return look(path, *arguments, **named)
        finally:
            is_look = path == changing.name and "dir_fd" in named
            looks += is_look
            if is_look and looks == count:
                changing.rename(granted / "aside")
                changing.symlink_to(other if swapped == "folder" else other / "file")

    script = script_in(world)
    with monkeypatch.context() as patched:
        patched.setattr(os, moment, look_and_swap)
        with contextlib.suppress(HostFunctionError, SecurityViolationError):
            assert read(script, "work/file") == INSIDE
    assert changing.is_symlink()
    with contextlib.suppress(HostFunctionError, SecurityViolationError):
        asyncio.run(script.await_call("file_write", "work/file", INSIDE))
    assert (other / "file").read_text() == OUTSIDE


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_that_is_swapped_in_leads_nowhere(world: Path, swapped: str) -> None:
    """Whoever swaps a folder, or a file, for a link out of it never gets anything read out."""
    granted, other = world / "granted", world / "other"
    (granted / "work").mkdir()
    path = granted / "work" / "file"
    path.write_text(INSIDE)
    changing = path if swapped == "file" else granted / "work"
    aside, link = granted / "aside", granted / "link"
    link.symlink_to(other / "file" if swapped == "file" else other)
    stop, swaps = threading.Event(), 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            changing.rename(aside)
            link.rename(changing)
            changing.rename(link)
            aside.rename(changing)
            swaps += 1

    async def main() -> None:
        script = script_in(world)
        for _ in range(500):
            with contextlib.suppress(HostFunctionError, SecurityViolationError):
                assert await script.await_call("file_read", "work/file") == INSIDE
            with contextlib.suppress(HostFunctionError, SecurityViolationError):
                await script.await_call("file_write", "work/file", INSIDE)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        asyncio.run(main())
    finally:
        stop.set()
        thread.join()
    assert (other / "file").read_text() == OUTSIDE
    assert sorted(path.name for path in other.iterdir()) == ["back", "file"]
    assert swaps > 0
