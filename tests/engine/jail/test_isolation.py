"""What the probe says, and what follows from it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType

import pytest

from ccos.engine.jail import Isolation, Mechanism, probe
from ccos.engine.jail.isolation import MECHANISMS, nothing


def having(*names: str) -> Isolation:
    return Isolation(
        MappingProxyType(
            {name: Mechanism(name in names, "ABI 3" if name in names else "absent")
             for name in MECHANISMS}
        )
    )  # fmt: skip


def test_probing_is_quick_and_changes_nothing_here() -> None:
    def state() -> tuple[object, ...]:
        status = Path("/proc/self/status").read_text().splitlines()
        kept = ("Uid", "Gid", "Cap", "NoNewPrivs", "Seccomp", "Threads")
        limits = [resource.getrlimit(kind) for kind in range(16)]
        spaces = [Path(f"/proc/self/ns/{name}").readlink() for name in ("net", "user", "mnt")]
        descriptors = sorted(Path("/proc/self/fd").iterdir())
        return [line for line in status if line.startswith(kept)], limits, spaces, descriptors

    before = state()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        probe()
        times.append(time.perf_counter() - began)
    sys.stdout.write(f"\nprobe: {min(times) * 1000:.0f} ms\n")
    assert state() == before
    assert min(times) < 0.3


def test_a_probe_gives_an_answer_for_every_mechanism(isolation: Isolation) -> None:
    data = json.loads(json.dumps(isolation.as_dict()))
    assert tuple(data["mechanisms"]) == MECHANISMS
    assert all(entry["detail"] for entry in data["mechanisms"].values())
    assert data["confines"] is isolation.confines
    assert data["missing"] == list(isolation.missing)
    assert isolation.has("own_user") <= (os.geteuid() == 0)
    assert (isolation.landlock_abi > 0) is isolation.has("landlock")


def test_all_three_promises_make_a_jail() -> None:
    both = having("landlock", "seccomp")
    assert (both.files, both.network, both.processes, both.confines) == (True,) * 4
    assert both.missing == ()
    assert both.landlock_abi == 3


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("landlock", "network_namespace"), ("seccomp to confine processes (absent)",)),
        (("seccomp",), ("Landlock to confine files (absent)",)),
        (
            ("landlock",),
            (
                "seccomp to confine processes (absent)",
                "seccomp or a network namespace to confine the network",
            ),
        ),
    ],
    ids=["no-seccomp", "no-landlock", "only-landlock"],
)
def test_what_is_missing_is_said(names: tuple[str, ...], words: tuple[str, ...]) -> None:
    isolation = having(*names)
    assert not isolation.confines
    assert isolation.missing == words


def test_nothing_has_a_reason() -> None:
    isolation = nothing("only Linux has it")
    assert not isolation.confines
    assert isolation.landlock_abi == 0
    assert {mechanism.detail for mechanism in isolation.mechanisms.values()} == {
        "only Linux has it"
    }


def test_a_probe_that_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    isolation = probe()
    assert not isolation.confines
    assert "could not be tried" in isolation.mechanisms["seccomp"].detail


def test_a_probe_tells_what_its_surroundings_take_away(isolation: Isolation) -> None:
    """A user namespace with one user and no further namespaces, as some containers are."""
    if not isolation.has("user_namespace"):
        pytest.skip("this machine lacks user_namespace")
    script = (
        "import json, os\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        "from ccos.engine.jail import probe\n"
        "print(json.dumps(probe().as_dict()))\n"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = json.loads(done.stdout)["mechanisms"]
    assert not found["user_namespace"]["available"]
    assert "No space left" in found["user_namespace"]["detail"]
    assert not found["own_user"]["available"]
    assert found["network_namespace"] == {"available": True, "detail": "as root"}
    assert found["seccomp"]["available"]
