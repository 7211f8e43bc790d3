"""Every attack of the corpus is refused in a jail and works outside, whoever the service is."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pydantic_monty
import pytest
from pydantic_monty._binary import find_monty_binary

import ccos
from ccos.engine.jail import Isolation
from engine.jail.corpus import Attack, Grounds, is_public, load

ATTACKS = load()
NOBODY = 65534

each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)


def skip_what_cannot_be(attack: Attack, isolation: Isolation) -> None:
    if attack.machine not in ("", os.uname().machine):
        pytest.skip(f"only on {attack.machine}")
    if attack.needs and not isolation.has(attack.needs):
        pytest.skip(f"this machine lacks {attack.needs}")


def test_the_corpus_has_distinct_attacks() -> None:
    assert len({attack.id for attack in ATTACKS}) == len(ATTACKS) > 100


@each_attack
def test_inside_it_is_refused(attack: Attack, prison: Grounds, confining: Isolation) -> None:
    skip_what_cannot_be(attack, confining)
    assert prison.inside(attack) in attack.inside


@each_attack
def test_outside_it_works(attack: Attack, prison: Grounds, confining: Isolation) -> None:
    skip_what_cannot_be(attack, confining)
    if attack.twin == "root" and not prison.privileged:
        pytest.skip("outside, only root can do this")
    assert prison.outside(attack) in attack.outside


@pytest.fixture(scope="session")
def unprivileged(interpreter: Path, confining: Isolation) -> dict[str, Any]:
    """What the script ``unprivileged`` reports, run by an ordinary user."""
    source, monty = Path(ccos.__file__).parents[1], Path(find_monty_binary())
    tests, packages = Path(__file__).parents[2], Path(pydantic_monty.__file__).parents[1]
    folders = [source, tests, packages]
    as_nobody: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for path in (*folders, monty):
            if not is_public(path):
                pytest.skip(f"other users than root cannot reach {path}")
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o777)
        done = subprocess.run(
            [interpreter, "-B", Path(__file__).with_name("unprivileged.py")],
            capture_output=True,
            text=True,
            timeout=100,
            cwd=home,
            env={
                "HOME": home,
                "MONTY_BIN": str(monty),
                "PYTHONPATH": os.pathsep.join(map(str, folders)),
            },
            **as_nobody,
        )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@each_attack
def test_inside_a_jail_of_an_ordinary_user_it_is_refused(
    attack: Attack, unprivileged: dict[str, Any], confining: Isolation
) -> None:
    skip_what_cannot_be(attack, confining)
    assert unprivileged["outcomes"][attack.id] in attack.inside


def test_a_worker_of_an_ordinary_user_runs_in_a_jail(unprivileged: dict[str, Any]) -> None:
    assert unprivileged["user"] != 0
    assert unprivileged["isolation"]["confines"]
    assert unprivileged["monty"] == 2
    assert unprivileged["status"]["Seccomp"] == "2"
    assert unprivileged["status"]["NoNewPrivs"] == "1"
    assert (
        int(unprivileged["status"]["CapBnd"], 16) == 0
        or not unprivileged["isolation"]["mechanisms"]["user_namespace"]["available"]
    )
