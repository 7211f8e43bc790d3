"""What the tests of the jail share: the machine's isolation, and an interpreter for all users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ccos.engine.jail import Isolation, probe
from engine.jail.corpus import Grounds, grounds, public_interpreter


@pytest.fixture(scope="session")
def isolation() -> Isolation:
    return probe()


@pytest.fixture(scope="session")
def confining(isolation: Isolation) -> Isolation:
    if not isolation.confines:
        pytest.skip(f"this machine lacks {', '.join(isolation.missing)}")
    return isolation


@pytest.fixture(scope="session")
def interpreter() -> Path:
    path = public_interpreter()
    if path is None:
        pytest.skip("there is no CPython of this version that every user can run")
    return path


@pytest.fixture(scope="session")
def prison(interpreter: Path, confining: Isolation) -> Iterator[Grounds]:
    with grounds(interpreter, confining) as made:
        yield made
