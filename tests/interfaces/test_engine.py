"""``ccos engine``: health, statistics and the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccos.engine import jail
from ccos.engine.jail.isolation import nothing
from interfaces.conftest import Run

LEVELS = {"safe", "development", "production"}


def ran(ccos: Run, folder: Path, source: str) -> int:
    file = folder / "script.py"
    file.write_text(source)
    return ccos("script", "run", file).code


def test_a_running_engine_is_healthy(ccos: Run) -> None:
    result = ccos("engine", "health", "--json")
    assert result.code == 0, result.err
    assert result.json["status"] == "healthy"
    assert set(result.json["isolation"]) == LEVELS
    assert result.json["details"]["active_executions"] == 0
    people = ccos("engine", "health")
    assert people.out.startswith("healthy: ")
    assert all(f"level {level}" in people.out for level in LEVELS)


def test_an_engine_that_is_switched_off_is_unhealthy(
    ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ENABLED", "false")
    result = ccos("engine", "health", "--json")
    assert (result.code, result.json["status"]) == (1, "unhealthy")


def test_a_level_whose_isolation_is_missing_is_said_to_refuse(
    ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jail, "probe", lambda: nothing("switched off here"))
    isolation = ccos("engine", "health", "--json").json["isolation"]
    assert {name: one["runs"] for name, one in isolation.items()} == {
        "safe": False,
        "development": True,
        "production": False,
    }
    assert "switched off here" in isolation["safe"]["detail"]
    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ISOLATION", "interpreter")
    isolation = ccos("engine", "health", "--json").json["isolation"]
    assert all(one["runs"] and one["promised"] == "interpreter" for one in isolation.values())


def test_statistics_are_those_of_every_process(ccos: Run, tmp_path: Path) -> None:
    before = ccos("engine", "stats", "--json").json
    assert (before["total_executions"], before["average_execution_time"]) == (0, None)
    assert ran(ccos, tmp_path, "1") == 0
    assert ran(ccos, tmp_path, "1") == 0
    assert ran(ccos, tmp_path, "1 / 0") == 1
    after = ccos("engine", "stats", "--json").json
    counts = [after[f"{kind}_executions"] for kind in ("total", "successful", "failed")]
    assert counts == [3, 2, 1]
    assert after["cache"]["entries"] == 2
    assert after["cache"]["bytes"] > 0
    assert before["cache"] == {"entries": 0, "bytes": 0}
    people = ccos("engine", "stats")
    assert after["popular_scripts"][0] in people.out


def test_clearing_the_cache_says_what_was_removed(ccos: Run, tmp_path: Path) -> None:
    assert ccos("engine", "cache", "clear", "--json").json == {"entries": 0, "bytes": 0}
    assert ran(ccos, tmp_path, "1") == 0
    removed = ccos("engine", "cache", "clear", "--json").json
    assert removed["entries"] == 1
    assert removed["bytes"] > 0
    assert "Removed from the database" in ccos("engine", "cache", "clear").out
    assert ran(ccos, tmp_path, "1") == 0
