"""``ccos doctor``: what it finds in installations that are broken, and in healthy ones."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos import assembly
from ccos.engine.jail import Isolation, Mechanism
from ccos.engine.jail.isolation import MECHANISMS
from ccos.events import Event, EventType
from ccos.operations import doctor
from ccos.storage.schema import executions, workers
from databases import PostgresServer
from interfaces.conftest import Result, Run

Found = dict[str, dict[str, Any]]
Examine = Callable[..., tuple[Result, Found]]

NAMES = [
    *("python", "configuration", "home", "key", "disk", "database", "files", "audit"),
    *("waiting", "workers", "interpreter", "isolation", "clock", "launchers"),
]
MIB = 1024 * 1024


def isolation(**without: str) -> Isolation:
    """A machine that can confine scripts, but for the mechanisms named and why."""
    return Isolation(
        {name: Mechanism(name not in without, without.get(name, "ABI 4")) for name in MECHANISMS}
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the doctor is told about the machine; by default that it is a good one."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "npx").touch(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    said: dict[str, Any] = {"isolation": isolation, "free_bytes": lambda _: 5000 * MIB}
    genuine = doctor.Machine
    monkeypatch.setattr(doctor, "Machine", lambda: genuine(**said))
    return said


@pytest.fixture
def examine(ccos: Run, machine: dict[str, Any]) -> Examine:
    """Runs ``ccos doctor --json``; says how it ended and what it found, by name."""

    def run(*tokens: object) -> tuple[Result, Found]:
        result = ccos("doctor", "--json", *tokens)
        checks = result.json["checks"]
        return result, {check["name"]: check for check in checks}

    return run


@pytest.fixture
def installed(ccos: Run, home: Path) -> Path:
    """A home that ``ccos init`` made, with ten entries on its audit trail."""
    assert ccos("init").code == 0

    async def main() -> None:
        async with assembly.open(home=home, work=False) as opened:
            for _ in range(10):
                await opened.audit.append(Event(EventType.CAPABILITY_CALL, "a.b"))

    asyncio.run(main())
    return home


def picture(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything about the files below a folder that a check might change."""
    return {
        str(path): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def newest(home: Path) -> int:
    """The number of the newest audit entry."""
    connection = sqlite3.connect(home / "ccos.sqlite")
    (number,) = connection.execute("SELECT max(seq) FROM audit_entries").fetchone()
    connection.close()
    return int(number)


def change(home: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(home / "ccos.sqlite")
    with connection:
        connection.execute(statement, parameters)
    connection.close()


# --- healthy ------------------------------------------------------------------------------


def test_a_healthy_installation(installed: Path, examine: Examine, ccos: Run) -> None:
    before = picture(installed)
    result, found = examine()
    assert result.code == 0, result.out
    assert list(found) == NAMES
    assert {name: check["status"] for name, check in found.items()} == dict.fromkeys(NAMES, "ok")
    assert result.json["healthy"] is True
    assert (result.json["ok"], result.json["warning"], result.json["failed"]) == (14, 0, 0)
    assert result.err == ""
    count = found["audit"]["details"]["head"]
    assert found["audit"]["details"] == {
        **{"checked": count, "first_bad": None, "head": count, "enabled": True}
    }
    assert count >= 10
    people = ccos("doctor")
    assert people.code == 0
    assert people.out.startswith("14 ok.\n")
    assert "✓ ok" in people.out
    assert "What to do" not in people.out
    assert picture(installed) == before


def test_an_installation_in_use(installed: Path, examine: Examine) -> None:
    async def main() -> None:
        async with assembly.open(home=installed, work=False) as opened:
            await opened.audit.append(Event(EventType.CAPABILITY_CALL, "a.b"))
            assert (installed / "ccos.sqlite-wal").stat().st_size > 0
            (last,) = await opened.audit.tail(1)
            result, found = await asyncio.to_thread(examine)
            assert result.code == 0, result.out
            assert found["audit"]["details"]["head"] == last.seq
            assert found["workers"]["details"]["alive"] == 1
            await opened.audit.append(Event(EventType.CAPABILITY_CALL, "a.b"))

    asyncio.run(main())
    assert examine()[1]["audit"]["details"]["head"] == newest(installed)


def test_a_fresh_machine(home: Path, examine: Examine, ccos: Run) -> None:
    result, found = examine()
    assert result.code == 0
    assert list(found) == NAMES
    assert {name for name in NAMES if found[name]["status"] == "warning"} == {"home", "database"}
    assert found["home"]["next_step"] == "Run: ccos init"
    people = ccos("doctor")
    assert "2 to look at" in people.out
    assert "home: Run: ccos init" in people.out
    assert not home.exists()


# --- home and key -------------------------------------------------------------------------


def test_a_file_in_place_of_the_home(home: Path, examine: Examine) -> None:
    home.touch(0o600)
    result, found = examine()
    assert result.code == 1
    assert found["home"]["status"] == "failed"
    assert "is no folder" in found["home"]["message"]


def test_a_home_that_cannot_be_made(
    tmp_path: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CCOS_HOME", str(tmp_path / "file" / "home"))
    result, found = examine()
    assert result.code == 1
    assert found["home"]["status"] == "failed"
    assert f"{tmp_path / 'file'} is no folder" in found["home"]["message"]


@pytest.mark.parametrize(
    ("mode", "status"), [(0o700, "ok"), (0o750, "warning"), (0o770, "failed"), (0o707, "failed")]
)
def test_who_else_may_use_the_home(
    installed: Path, examine: Examine, mode: int, status: str
) -> None:
    installed.chmod(mode)
    result, found = examine()
    assert found["home"]["status"] == status
    assert result.code == (1 if status == "failed" else 0)
    if status != "ok":
        assert found["home"]["next_step"] == f"Run: chmod 700 {installed}"


@pytest.mark.parametrize(
    ("mode", "status"), [(0o600, "ok"), (0o400, "ok"), (0o640, "failed"), (0o604, "failed")]
)
def test_who_else_may_read_the_key(
    installed: Path, examine: Examine, mode: int, status: str
) -> None:
    key = installed / "keys" / "ccos.key"
    key.chmod(mode)
    result, found = examine()
    assert found["key"]["status"] == status
    assert result.code == (1 if status == "failed" else 0)
    assert (f"chmod 600 {key}" in found["key"]["next_step"]) is (status == "failed")
    assert stat.S_IMODE(key.stat().st_mode) == mode


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_damaged_key(installed: Path, examine: Examine, size: int) -> None:
    (installed / "keys" / "ccos.key").write_bytes(b"k" * size)
    result, found = examine()
    assert result.code == 1
    assert "is damaged" in found["key"]["message"]
    assert found["audit"]["status"] == "warning"


def test_a_lost_key(installed: Path, examine: Examine) -> None:
    (installed / "keys" / "ccos.key").unlink()
    result, found = examine()
    assert result.code == 1
    assert "is gone" in found["key"]["message"]
    assert not (installed / "keys" / "ccos.key").exists()


def test_a_pipe_in_place_of_the_key(installed: Path, examine: Examine) -> None:
    key = installed / "keys" / "ccos.key"
    key.unlink()
    os.mkfifo(key, 0o600)
    started = time.monotonic()
    result, found = examine()
    assert time.monotonic() - started < 10
    assert result.code == 1
    assert found["key"]["status"] == "failed"
    assert found["audit"]["status"] == "warning"


# --- database -----------------------------------------------------------------------------


def test_a_file_that_is_no_database(installed: Path, examine: Examine) -> None:
    (installed / "ccos.sqlite").write_bytes(b"not a database " * 1000)
    result, found = examine()
    assert result.code == 1
    assert found["database"]["status"] == "failed"
    assert found["files"]["status"] == "failed"
    assert {found[name]["status"] for name in ("audit", "waiting", "workers")} == {"warning"}


@pytest.mark.parametrize("name", ["ccos.sqlite", "ccos.durable.sqlite"])
def test_a_damaged_page(installed: Path, examine: Examine, name: str) -> None:
    durable = sqlite3.connect(installed / "ccos.durable.sqlite")
    durable.execute("PRAGMA journal_mode=WAL")
    durable.execute("CREATE TABLE a (b)")
    durable.close()
    assert examine()[0].code == 0
    path = installed / name
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 200] = b"\xff" * 200
    path.write_bytes(content)
    result = examine()[0]
    assert result.code == 1
    damaged = [c for c in result.json["checks"] if c["name"] == "files" and c["status"] != "ok"]
    assert [check["details"]["path"] for check in damaged] == [str(path)]
    assert damaged[0]["details"]["problems"]
    assert "restore" in damaged[0]["next_step"]


def test_a_database_that_is_not_in_write_ahead_mode(installed: Path, examine: Examine) -> None:
    connection = sqlite3.connect(installed / "ccos.sqlite")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    result, found = examine()
    assert result.code == 0
    assert found["files"]["status"] == "warning"
    assert "write-ahead" in found["files"]["message"]


@pytest.mark.parametrize(
    ("revision", "status", "words"),
    [("9999", "failed", "newer"), ("0001", "warning", "this version works with")],
)
def test_the_schema_of_another_version(
    installed: Path, examine: Examine, revision: str, status: str, words: str
) -> None:
    change(installed, "UPDATE alembic_version SET version_num = ?", revision)
    result, found = examine()
    assert result.code == (1 if status == "failed" else 0)
    assert found["database"]["status"] == status
    assert words in found["database"]["message"]
    assert found["database"]["next_step"]
    assert found["waiting"]["message"].startswith("Not examined")


def test_an_empty_file_in_place_of_the_database(home: Path, examine: Examine) -> None:
    home.mkdir(0o700)
    (home / "ccos.sqlite").touch()
    result, found = examine()
    assert result.code == 0
    assert found["database"]["status"] == "warning"
    assert (home / "ccos.sqlite").stat().st_size == 0


def test_a_folder_in_place_of_the_database(home: Path, examine: Examine) -> None:
    (home / "ccos.sqlite").mkdir(parents=True)
    home.chmod(0o700)
    result, found = examine()
    assert result.code == 1
    assert found["database"]["status"] == "failed"


def test_a_postgres_server_that_is_not_there(
    examine: Examine, ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d")
    result, found = examine()
    assert result.code == 1
    assert found["database"]["status"] == "failed"
    assert "u:********@127.0.0.1:1" in found["database"]["message"]
    assert "secret" not in result.out + result.err + ccos("doctor").out


def test_a_postgres_server(
    ccos: Run, examine: Examine, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database(migrated=False)
    monkeypatch.setenv("CCOS_DATABASE_URL", url)
    try:
        assert examine()[1]["database"]["status"] == "warning"
        assert ccos("init").code == 0
        result, found = examine()
        assert result.code == 0, result.out
        assert {check["status"] for check in found.values()} == {"ok"}
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        engine.dispose()
        assert examine()[0].code == 1
    finally:
        postgres.drop_database(url)


# --- audit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE audit_entries SET actor = 'x' WHERE seq = 9", "Entry 9 was changed"),
        ("DELETE FROM audit_entries WHERE seq = 5", "Entry 5 is missing"),
        ("DELETE FROM audit_entries WHERE seq > 8", "Entries 9 to {last} were cut off"),
        ("DELETE FROM audit_entries", "Entries 1 to {last} were cut off"),
        ("UPDATE audit_entries SET prev_hash = 'x' WHERE seq = 1", "Entry 1 does not continue"),
    ],
)
def test_a_changed_audit_trail(
    installed: Path, examine: Examine, statement: str, problem: str
) -> None:
    last = newest(installed)
    change(installed, statement)
    result, found = examine()
    assert result.code == 1
    assert found["audit"]["status"] == "failed"
    assert problem.format(last=last) in found["audit"]["message"]
    assert "ccos audit verify" in found["audit"]["next_step"]


@pytest.mark.parametrize("content", [None, b"{}", b"\xff"])
def test_a_lost_or_damaged_head(installed: Path, examine: Examine, content: bytes | None) -> None:
    head = installed / "audit" / "head.json"
    if content is None:
        head.unlink()
    else:
        head.write_bytes(content)
    result, found = examine()
    assert result.code == 1
    assert found["audit"]["status"] == "failed"
    assert head.exists() is (content is not None)


def test_a_head_by_another_key(installed: Path, examine: Examine) -> None:
    (installed / "keys" / "ccos.key").write_bytes(b"k" * 32)
    result, found = examine()
    assert result.code == 1
    assert "not by this installation's key" in found["audit"]["message"]


def test_an_audit_trail_that_is_switched_off(
    installed: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_AUDIT_LOGGING", "false")
    result, found = examine()
    assert result.code == 0
    assert found["audit"]["status"] == "warning"


# --- what waits, and who works ------------------------------------------------------------


def test_what_waits_and_for_how_long(
    installed: Path,
    ccos: Run,
    examine: Examine,
    machine: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCOS_MISSING_CAPABILITY_ENABLED", "true")
    assert ccos("call", "no.such").code == 5
    result, found = examine()
    assert result.code == 0
    assert found["waiting"]["message"].startswith("1 parked; the oldest waits for 0.0 hours")
    assert found["waiting"]["next_step"] == ""
    assert found["workers"]["status"] == "ok"
    machine["now"] = lambda: time.time() + 2 * 86_400
    found = examine()[1]
    assert "for 48.0 hours" in found["waiting"]["message"]
    assert "ccos queue" in found["waiting"]["next_step"]
    change(installed, f"UPDATE {executions.name} SET state = 'outcome_unknown'")
    del machine["now"]
    assert "executions decide" in examine()[1]["waiting"]["next_step"]


def test_nobody_at_work_although_something_waits_for_it(
    installed: Path, ccos: Run, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_MISSING_CAPABILITY_ENABLED", "true")
    monkeypatch.setenv("CCOS_AUTO_RESOLUTION", "true")
    monkeypatch.setenv("CCOS_MCP_REGISTRY_ENABLED", "false")
    assert examine()[1]["workers"]["status"] == "ok"
    assert ccos("call", "no.such").code == 5
    result, found = examine()
    assert result.code == 0
    assert found["workers"]["status"] == "warning"
    assert found["workers"]["next_step"] == "Run: ccos worker"
    beat = f"INSERT INTO {workers.name} VALUES ('w', 'host', 1, '', ?, ?)"
    change(installed, beat, time.time(), time.time() - 60)
    found = examine()[1]
    assert found["workers"]["status"] == "warning"
    assert "1 ended without" in found["workers"]["message"]
    change(installed, f"UPDATE {workers.name} SET heartbeat_at = ?", time.time())
    assert examine()[1]["workers"]["status"] == "ok"


# --- machine ------------------------------------------------------------------------------


def test_a_clock_behind_what_is_stored(installed: Path, examine: Examine) -> None:
    beat = f"INSERT INTO {workers.name} VALUES ('w', 'host', 1, '', ?, ?)"
    change(installed, beat, time.time(), time.time() + 3600)
    result, found = examine()
    assert result.code == 0
    assert found["clock"]["status"] == "warning"
    assert "NTP" in found["clock"]["next_step"]


@pytest.mark.parametrize(
    ("free", "status", "code"),
    [(50 * MIB, "failed", 1), (500 * MIB, "warning", 0), (5000 * MIB, "ok", 0)],
)
def test_little_space(
    installed: Path, examine: Examine, machine: dict[str, Any], free: int, status: str, code: int
) -> None:
    machine["free_bytes"] = lambda folder: free
    result, found = examine()
    assert result.code == code
    assert found["disk"]["status"] == status


def test_a_machine_that_cannot_confine_scripts(
    installed: Path,
    examine: Examine,
    machine: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine["isolation"] = lambda: isolation(landlock="not in this kernel")
    result, found = examine()
    assert result.code == 1
    assert found["isolation"]["status"] == "failed"
    assert "Landlock to confine files (not in this kernel)" in found["isolation"]["message"]
    levels = dict.fromkeys(("safe", "development", "production"), False)
    assert found["isolation"]["details"]["levels"] == levels
    assert not found["isolation"]["details"]["mechanisms"]["landlock"]["available"]

    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ISOLATION", "interpreter")
    result, found = examine()
    assert result.code == 0
    assert found["isolation"]["status"] == "warning"
    assert "own sandbox alone" in found["isolation"]["message"]
    assert found["isolation"]["details"]["levels"] == dict.fromkeys(levels, True)

    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ENABLED", "false")
    assert examine()[1]["isolation"]["status"] == "ok"


@pytest.mark.parametrize(
    "program",
    [
        "/no/such/program",
        "/bin/cat",
        pytest.param("#!/bin/sh\nexec sleep 60\n", id="hangs"),
        pytest.param("#!/bin/sh\nexit 3\n", id="ends at once"),
    ],
)
def test_an_interpreter_that_does_not_work(
    installed: Path,
    examine: Examine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:
    if program.startswith("#!"):
        script = tmp_path / "script"
        script.write_text(program)
        script.chmod(0o755)
        program = str(script)
    monkeypatch.setenv("MONTY_BIN", program)
    started = time.monotonic()
    result, found = examine()
    assert time.monotonic() - started < 20
    assert result.code == 1
    assert found["interpreter"]["status"] == "failed"
    assert "MONTY_BIN" in found["interpreter"]["next_step"] or "hangs" in str(found["interpreter"])


def test_missing_launchers_are_a_warning(
    installed: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result, found = examine()
    assert result.code == 0
    assert found["launchers"]["status"] == "warning"
    assert "Node.js" in found["launchers"]["next_step"]


# --- configuration and output -------------------------------------------------------------


@pytest.mark.parametrize("text", ["[[[", "no_such_key = 1", "[services.script_engine]\nworkers=0"])
def test_a_configuration_that_cannot_be_read(
    installed: Path, examine: Examine, ccos: Run, text: str
) -> None:
    (installed / "ccos.toml").write_text(text)
    result, found = examine()
    assert result.code == 1
    assert found["configuration"]["status"] == "failed"
    assert str(installed / "ccos.toml") in found["configuration"]["message"]
    assert found["interpreter"]["status"] == "ok"
    assert "database" not in found
    assert "ccos config show" in ccos("doctor").out


def test_a_configuration_with_doubts(
    installed: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_MAX_PARALEL_CALLS", "3")
    result, found = examine()
    assert result.code == 0
    assert found["configuration"]["status"] == "warning"
    assert "did you mean CCOS_MAX_PARALLEL_CALLS?" in found["configuration"]["message"]


def test_a_named_configuration_that_is_not_there(examine: Examine) -> None:
    result, found = examine("--config", "/no/such/file.toml")
    assert result.code == 1
    assert "/no/such/file.toml" in found["configuration"]["message"]


def test_hostile_names_do_not_reach_the_terminal(
    tmp_path: Path, ccos: Run, machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_HOME", str(tmp_path / "a\x1b[2J\u202eb"))
    (tmp_path / "a\x1b[2J\u202eb").touch()
    result = ccos("doctor")
    assert result.code == 1
    assert "\\u001b[2J\\u202eb" in result.out
    assert not {"\x1b", "\u202e"} & set(result.out + result.err)


def test_a_terminal_without_the_signs(program: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = program("doctor")
    assert result.code in (0, 1), result.err
    assert "\nok " in result.out
    assert "Traceback" not in result.err


def test_the_program_of_its_own_leaves_nothing_running(program: Run, home: Path) -> None:
    started = time.monotonic()
    result = program("doctor", "--json")
    assert time.monotonic() - started < 30
    assert set(json.loads(result.out)) == {"healthy", "ok", "warning", "failed", "checks"}
    assert not home.exists()


def test_help_stays_quick_and_says_what_the_command_does(program: Run) -> None:
    quickest = 60.0
    for _ in range(3):
        started = time.monotonic()
        result = program("--help")
        quickest = min(quickest, time.monotonic() - started)
    assert "doctor" in result.out
    assert quickest < 1.0, "a heavy import has crept in"
    loaded = "import sys; from ccos.interfaces.cli import main; main(['--help']); "
    check = loaded + "print([m for m in ('sqlalchemy', 'pydantic', 'psycopg') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert done.stdout.rstrip().endswith("[]")
