"""Each mechanism holds by itself what it promises, so that the others are a second line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import pytest

from ccos.engine.jail import Isolation, Jail, JailSpec, Mechanism
from engine.jail.corpus import Attack, Grounds, grounds, load

CAT = Path("/bin/cat").resolve()
BY_ID = {attack.id: attack for attack in load()}
ABSENT = Mechanism(False, "left out by a test")

Outcome = Callable[[str], str]


def attack(name: str) -> Attack:
    return BY_ID[name]


def only(isolation: Isolation, *names: str) -> Isolation:
    """``isolation`` with nothing but these mechanisms."""
    return Isolation(
        MappingProxyType(
            {
                name: mechanism if name in names else ABSENT
                for name, mechanism in isolation.mechanisms.items()
            }
        )
    )


@pytest.fixture
def held_by(interpreter: Path, confining: Isolation) -> Iterator[Callable[..., Grounds]]:
    with ExitStack() as exits:
        yield lambda *names: exits.enter_context(grounds(interpreter, only(confining, *names)))


def test_without_any_mechanism_attacks_succeed(held_by: Callable[..., Grounds]) -> None:
    prison = held_by()
    for name in ("files-read-passwd", "files-create-file", "processes-fork"):
        assert prison.inside(attack(name)) == "ok"
    for name in ("network-connect-to-loopback", "processes-signal-parent"):
        assert prison.inside(attack(name)) == "ok"


def test_landlock_alone_keeps_files(held_by: Callable[..., Grounds]) -> None:
    prison = held_by("no_new_privileges", "landlock")
    for name in (
        "read-file", "read-through-symlink", "list-work-folder", "write-file", "append-to-file",
        "create-file", "write-to-tmp", "truncate", "truncate-by-opening", "symlink", "unlink",
        "mkdir", "rmdir", "mkfifo", "ten-gigabyte-file", "parent-root", "own-memory-file",
    ):  # fmt: skip
        assert prison.inside(attack(f"files-{name}")) == "EACCES", name
    assert prison.inside(attack("processes-execute-shell")) == "EACCES"
    assert prison.inside(attack("allowed-read-what-is-readable")) == "ok"


def test_landlock_of_a_recent_kernel_keeps_signals_and_connections(
    held_by: Callable[..., Grounds], confining: Isolation
) -> None:
    if confining.landlock_abi < 6:
        pytest.skip("Landlock has scopes from ABI 6 on")
    prison = held_by("no_new_privileges", "landlock")
    assert prison.inside(attack("processes-signal-parent")) == "EPERM"
    assert prison.inside(attack("network-connect-to-abstract-socket")) == "EPERM"
    assert prison.inside(attack("network-connect-to-loopback")) == "EACCES"


def test_seccomp_alone_keeps_processes_networks_and_changes(
    held_by: Callable[..., Grounds],
) -> None:
    prison = held_by("no_new_privileges", "seccomp")
    for name in ("fork", "execute-shell", "signal-parent", "execute-by-descriptor"):
        assert prison.inside(attack(f"processes-{name}")) == "EPERM", name
    for name in ("inet-socket", "unix-socket", "connect-to-loopback"):
        assert prison.inside(attack(f"network-{name}")) == "EPERM", name
    for name in ("write-file", "create-file", "unlink", "symlink", "chmod"):
        assert prison.inside(attack(f"files-{name}")) == "EPERM", name
    assert prison.inside(attack("files-read-passwd")) == "ok"


def test_a_network_namespace_alone_keeps_networks(
    held_by: Callable[..., Grounds], confining: Isolation
) -> None:
    if not confining.has("network_namespace"):
        pytest.skip("this machine lacks network_namespace")
    prison = held_by("user_namespace", "network_namespace")
    assert prison.inside(attack("network-connect-to-loopback")) == "ENETUNREACH"
    assert prison.inside(attack("network-connect-to-abstract-socket")) == "ECONNREFUSED"
    assert prison.inside(attack("files-read-passwd")) == "ok"


def test_a_jail_drops_every_capability(confining: Isolation) -> None:
    """Of a root that stays root, too; what the program can get back is in the bounding set."""
    with (
        Jail(JailSpec(CAT), only(confining, "no_new_privileges")) as worker,
        subprocess.Popen([worker, "/proc/self/status"], stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        status = process.stdout.read().decode()
    kinds = ("Inh", "Prm", "Eff", "Amb", *(("Bnd",) if os.geteuid() == 0 else ()))
    for kind in kinds:
        assert f"Cap{kind}:\t0000000000000000\n" in status


def test_an_own_user_alone_reaches_nobody_elses_things(
    held_by: Callable[..., Grounds], confining: Isolation
) -> None:
    if not confining.has("own_user"):
        pytest.skip("only root can give a program a user of its own")
    prison = held_by("own_user")
    assert prison.inside(attack("processes-signal-parent")) == "EPERM"
    assert prison.inside(attack("files-parent-environment")) == "EACCES"
    assert prison.inside(attack("processes-become-root")) == "EPERM"
    assert prison.inside(attack("files-chown")) == "EPERM"
    assert prison.inside(attack("files-read-passwd")) == "ok"
