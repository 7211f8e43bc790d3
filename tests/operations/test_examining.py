"""Running checks: none of them holds up or breaks the others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from ccos.errors import ConfigurationError, StorageError
from ccos.operations.doctor import Check, Examination, Machine, Status, diagnose, examine
from ccos.operations.doctor.database import judged, known_revisions
from ccos.operations.doctor.machine import clock, disk, existing
from ccos.storage.revisions import HEAD

NAME = "thing"
MIB = 1024 * 1024


def fine() -> Iterator[Check]:
    yield Check("fine", Status.OK, "It is well.")


def raising(error: Exception) -> Callable[[], Iterable[Check]]:
    def look() -> Iterator[Check]:
        yield Check(NAME, Status.OK, "So far.")
        raise error

    return look


@pytest.mark.parametrize(
    ("error", "message", "step"),
    [
        (StorageError("The disk is gone.", next_step="Find it."), "The disk is gone.", "Find it."),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied", "Let the user"),
        (KeyError("oops"), "It could not be examined: KeyError: 'oops'", "a fault of CCOS"),
    ],
)
def test_what_raises_is_a_failed_check_of_its_own(
    error: Exception, message: str, step: str
) -> None:
    before, failed, after = examine([Examination(NAME, raising(error)), Examination("b", fine)])
    assert (before.name, before.status) == (NAME, Status.OK)
    assert (failed.name, failed.status, failed.message) == (NAME, Status.FAILED, message)
    assert step in failed.next_step
    assert after.name == "fine"


def test_what_hangs_is_left_behind_and_the_others_are_heard() -> None:
    release = threading.Event()

    def hanging() -> Iterator[Check]:
        yield Check(NAME, Status.OK, "So far.")
        release.wait(30)

    started = time.monotonic()
    found = examine(
        [Examination(NAME, hanging), Examination(NAME, hanging), Examination("b", fine)],
        seconds=0.3,
    )
    release.set()
    assert time.monotonic() - started < 5
    assert [one.status.value for one in found] == ["ok", "failed", "ok", "failed", "ok"]
    assert found[1].message == "There was no answer within 0.3 seconds."


def test_what_hangs_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import time; from ccos.operations.doctor import Examination, examine; "
        "hang = Examination('a', lambda: time.sleep(60)); print(examine([hang], seconds=0.1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert "no answer" in done.stdout


def test_examinations_run_side_by_side_and_keep_their_order() -> None:
    together = threading.Barrier(3, timeout=10)

    def look(name: str) -> Callable[[], Iterator[Check]]:
        def meet() -> Iterator[Check]:
            together.wait()
            yield Check(name, Status.OK, "Met.")

        return meet

    found = examine([Examination(name, look(name)) for name in "cab"])
    assert [one.name for one in found] == ["c", "a", "b"]


def test_without_settings_the_machine_is_examined_all_the_same() -> None:
    error = ConfigurationError("A key is odd.", next_step="Correct it.")
    found = {one.name: one for one in diagnose(error)}
    machine = ("python", "configuration", "interpreter", "isolation", "clock", "launchers")
    assert tuple(found) == machine
    assert found["configuration"].status is Status.FAILED
    assert found["configuration"].next_step == "Correct it."
    assert found["interpreter"].status is Status.OK
    assert found["isolation"].details["levels"]


@pytest.mark.parametrize(
    ("revision", "status"),
    [("0001", Status.WARNING), ("0002", Status.OK), ("0003", Status.FAILED), ("x", Status.FAILED)],
)
def test_a_revision_is_older_current_or_newer(revision: str, status: Status) -> None:
    found = judged(revision, "db", frozenset({"0001", "0002"}), head="0002")
    assert found.status is status
    assert bool(found.next_step) is (status is not Status.OK)


def test_the_revisions_of_this_version_are_known() -> None:
    assert {"0001", HEAD} <= known_revisions()


@pytest.mark.parametrize(
    ("free", "status"),
    [
        (0, Status.FAILED),
        (100 * MIB - 1, Status.FAILED),
        (100 * MIB, Status.WARNING),
        (1024 * MIB - 1, Status.WARNING),
        (1024 * MIB, Status.OK),
    ],
)
def test_the_fullest_volume_counts(tmp_path: Path, free: int, status: Status) -> None:
    def free_bytes(folder: Path) -> int:
        return free if folder == tmp_path else 10_000 * MIB

    (found,) = disk([tmp_path / "not" / "there"], Machine(free_bytes=free_bytes))
    assert found.status is status
    assert str(tmp_path) in found.message


def test_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert existing(tmp_path) == tmp_path
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path / "file" / "b") == tmp_path


@pytest.mark.parametrize(
    ("now", "newest", "status"),
    [
        (0.0, None, Status.FAILED),
        (1e30, None, Status.OK),
        (1_900_000_000.0, None, Status.OK),
        (1_900_000_000.0, 1_900_000_050.0, Status.OK),
        (1_900_000_000.0, 1_900_000_070.0, Status.WARNING),
    ],
)
def test_the_clock(now: float, newest: float | None, status: Status) -> None:
    (found,) = clock(Machine(now=lambda: now), lambda: newest)
    assert found.status is status
