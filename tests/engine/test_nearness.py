"""Nearness: a worker on the processor of the thread that waits for it, and only that long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from ccos.engine.python.nearness import Nearness
from ccos.engine.python.watchdog import Watchdog

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads can be placed on Linux only")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@linux
def test_a_thread_stays_where_it_is_and_goes_free_again() -> None:
    before = os.sched_getaffinity(0)
    nearness = Nearness()
    nearness.stay()
    assert len(os.sched_getaffinity(0)) == 1
    nearness.end()
    assert os.sched_getaffinity(0) == before


@linux
def test_a_worker_is_brought_to_the_thread(child: subprocess.Popen[bytes]) -> None:
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is one processor only, where everything is near")
    nearness = Nearness()
    nearness.stay()
    try:
        nearness.bring(child.pid)
        assert os.sched_getaffinity(child.pid) == os.sched_getaffinity(0)
    finally:
        nearness.end()


@linux
def test_where_the_operator_chose_a_processor_nothing_is_changed(
    child: subprocess.Popen[bytes],
) -> None:
    seen = []

    def work() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        chosen = os.sched_getaffinity(0)
        elsewhere = os.sched_getaffinity(child.pid)
        nearness = Nearness()
        nearness.stay()
        nearness.bring(child.pid)
        nearness.end()
        seen.append(os.sched_getaffinity(0) == chosen)
        seen.append(os.sched_getaffinity(child.pid) == elsewhere)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, True]


def test_a_worker_that_has_just_ended_is_no_error(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    nearness = Nearness()
    nearness.stay()
    nearness.bring(child.pid)
    nearness.end()


def test_the_watchdog_kills_what_is_watched_for_too_long(child: subprocess.Popen[bytes]) -> None:
    watchdog = Watchdog(0.02)
    watchdog.begin(child.pid)
    assert child.wait(timeout=30) == -9
    watchdog.stop()


def test_the_watchdog_leaves_alone_what_ended_in_time(child: subprocess.Popen[bytes]) -> None:
    watchdog = Watchdog(30.0)
    for _ in range(100):
        watchdog.begin(child.pid)
        watchdog.end()
    watchdog.stop()
    assert child.poll() is None


def test_the_watchdog_wakes_up_after_a_rest(child: subprocess.Popen[bytes]) -> None:
    watchdog = Watchdog(0.002)
    watchdog.begin(child.pid)
    watchdog.end()
    time.sleep(0.2)  # many times as long as it looks in vain
    assert child.poll() is None
    watchdog.begin(child.pid)
    assert child.wait(timeout=30) == -9
    watchdog.stop()
