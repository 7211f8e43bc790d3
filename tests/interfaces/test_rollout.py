"""``ccos rollout``, ``ccos config migrate`` and the rules of approvals, as people use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interfaces.conftest import Run


def test_a_phase_is_shown_written_and_taken_back(ccos: Run, home: Path) -> None:
    ccos("init")
    dry = ccos("rollout", "phase", "3", "--dry-run", "--json").json
    assert (dry["written"], ccos("rollout", "phase", "3", "--json").json["changes"]) == (
        False,
        dry["changes"],
    )
    assert "importers_enabled = true" in (home / "ccos.toml").read_text()
    assert "Nothing changes." in ccos("rollout", "phase", "3").out
    back = ccos("rollout", "phase", "0", "--json").json["changes"]
    assert back == [{"flag": "enabled", "before": True, "after": False}]
    assert ccos("rollout", "phase", "6").code == 2


def test_what_the_environment_states_is_named(ccos: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCOS_MISSING_CAPABILITY_ENABLED", "false")
    shown = ccos("rollout", "phase", "1", "--dry-run", "--json").json
    assert shown["stated_by_environment"] == ["enabled"]


def test_flags_that_switch_nothing_yet_are_named(ccos: Run) -> None:
    assert ccos("rollout", "phase", "3", "--dry-run", "--json").json["not_acted_on"] == []
    last = ccos("rollout", "phase", "5", "--dry-run", "--json").json
    assert last["not_acted_on"] == [
        "http_wrapper_enabled",
        "llm_synthesis_enabled",
        "web_search_enabled",
    ]


def test_an_old_configuration_is_migrated_once(ccos: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text('{"old_config": {"stub_enabled": true, "manual_resolution": true}}')
    assert ccos("config", "migrate", str(old), str(new)).code == 0
    assert json.loads(new.read_text())["feature_flags"]["auto_resolution"] is True
    assert ccos("config", "migrate", str(old), str(new)).code == 2
    assert ccos("config", "migrate", str(old), str(new), "--force").code == 0


def test_rules_are_listed_and_unknown_grants_told(ccos: Run, home: Path) -> None:
    ccos("init")
    rule = {"action": "deny", "id": "payments.*", "reason": "people move money"}
    (home / "approval-rules.json").write_text(json.dumps({"rules": [rule]}))
    listed = ccos("approvals", "rules")
    assert "people move money" in listed.out
    assert ccos("approvals", "forget", "sa-0").code == 4
    (home / "approval-rules.json").write_text("{")
    assert ccos("approvals", "rules").code == 2
