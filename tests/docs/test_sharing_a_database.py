"""What the page on Postgres says of a further machine: it needs the key and the head."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ccos

pytestmark = pytest.mark.anyio

FILES = ("keys/ccos.key", "audit/head.json")


def settings(home: Path, database_url: str) -> ccos.Settings:
    return ccos.load_settings(
        environ={"CCOS_HOME": str(home), "CCOS_DATABASE_URL": database_url}
    ).settings


def greeting() -> str:
    """Greets."""
    return "Hello"


async def first_machine(home: Path, database_url: str) -> None:
    async with ccos.open(settings(home, database_url), work=False) as machine:
        await machine.register("people.greeting", greeting, effect_type="pure")


async def test_a_machine_with_the_two_files_works_on_and_verifies(
    tmp_path: Path, database_url: str
) -> None:
    await first_machine(tmp_path / "first", database_url)
    for name in FILES:
        (tmp_path / "second" / name).parent.mkdir(parents=True)
        shutil.copy(tmp_path / "first" / name, tmp_path / "second" / name)
    for home in ("second", "first"):
        async with ccos.open(settings(tmp_path / home, database_url), work=False) as machine:
            await machine.register("people.greeting", greeting, effect_type="pure")
            outcome = await machine.call("people.greeting")
            assert isinstance(outcome, ccos.Completed)
            assert (await machine.audit.verify()).intact


async def test_a_machine_with_a_key_of_its_own_is_refused(
    tmp_path: Path, database_url: str
) -> None:
    await first_machine(tmp_path / "first", database_url)
    async with ccos.open(settings(tmp_path / "second", database_url), work=False) as machine:
        outcome = await machine.call("people.greeting")
        assert isinstance(outcome, ccos.Failed)
        assert outcome.error.code == "CCOS-CAPABILITY-NOT-CALLABLE"
        assert not (await machine.audit.verify()).intact
