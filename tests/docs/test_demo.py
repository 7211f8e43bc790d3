"""The demo comes true, and leaves nothing behind: no folder, no process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.pages import ROOT

DEMO = ROOT / "examples" / "demo" / "demo.py"
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@pytest.fixture
def orphans() -> Iterator[None]:
    """Orphans of this process's children come to this process, so that they can be seen."""
    library = ctypes.CDLL(None)
    assert library.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    library.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DEMO)],
        env=os.environ | {"TMPDIR": str(folder)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children() -> dict[int, str]:
    """The living child processes of this process, by id."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = status.read_text().rpartition(")")[2].split()
            line = (status.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if rest[1] == str(os.getpid()) and rest[0] != "Z":
            found[int(status.parent.name)] = line
    return found


def left_over(before: dict[int, str], folder: Path) -> list[str]:
    """What is still there after the demo, once whatever ends by itself has had time to."""
    give_up = time.monotonic() + 10
    while True:
        processes = [line for pid, line in children().items() if pid not in before]
        if not processes or time.monotonic() > give_up:
            return processes + [one.name for one in folder.glob("ccos-demo-*")]
        time.sleep(0.1)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("orphans")
def test_the_demo_tells_its_story_and_cleans_up(tmp_path: Path) -> None:
    before = children()
    program = start(tmp_path)
    text, _ = program.communicate(timeout=150)
    assert program.returncode == 0, text
    for part in ("missing", "Killed (signal 9)", "parked", "approved by demo", "trail is intact"):
        assert part in text
    assert text.strip().splitlines()[-1].startswith("All of it came true")
    assert left_over(before, tmp_path) == []


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("orphans")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path: Path, how: signal.Signals) -> None:
    before = children()
    program = start(tmp_path)
    assert program.stdout is not None
    for line in program.stdout:
        if "attempt 1 begins" in line:
            program.send_signal(how)
            break
    rest, _ = program.communicate(timeout=60)
    assert program.returncode == 130, rest
    assert "Interrupted" in rest
    assert left_over(before, tmp_path) == []


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("orphans")
def test_a_demo_that_does_not_come_true_fails_and_cleans_up(tmp_path: Path) -> None:
    before = children()
    hidden = tmp_path / "flask.py"
    hidden.write_text("raise SystemExit('no server today')\n")
    program = start(tmp_path, PYTHONPATH=str(tmp_path))
    text, _ = program.communicate(timeout=150)
    assert program.returncode == 1, text
    assert "The demo failed: httpbin does not start" in text
    assert left_over(before, tmp_path) == []
