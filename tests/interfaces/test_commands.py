"""Every command: what it prints, as JSON and for people, and how it ends."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ccos.config import load_settings
from ccos.interfaces.cli.program import COMMANDS, RESOLVE_DEPS
from interfaces.conftest import Run

Service = tuple[str, dict[str, Any]]

GROUPS = {
    "executions": ["list", "show", "resume", "cancel", "decide"],
    "capabilities": ["list", "show", "search", "add", "remove", "revoke"],
    "approvals": ["list", "show", "approve", "reject", "rules", "forget"],
    "audit": ["tail", "verify"],
    "config": ["show", "migrate"],
    "rollout": ["phase"],
    "script": ["run", "check", "list", "show", "delete"],
    "engine": ["health", "stats"],
    "tools": ["discover", "list", "show", "call"],
    "import": ["openapi", "graphql", "mcp", "http"],
    "migration": [
        *("migrate", "status", "list", "validate", "rollback", "reload", "cleanup", "report"),
    ],
    "rtfs": ["run", "repl", "check", "format", "compile", "deps", "register", "cases"],
    "resolve-deps": list(RESOLVE_DEPS),
}


def manifest(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": "shop.items",
        "name": "Items",
        "description": "The items of a shop",
        "version": "1.0.0",
        "provider": {"type": "http", "base_url": url, "path": "/items"},
        "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
        "effect_type": "read_only",
        "effects": ["network"],
        **changes,
    }


def written(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def shop(ccos: Run, service: Service, tmp_path: Path) -> dict[str, Any]:
    """A registered capability; returns what its service answers, by path."""
    url, answers = service
    answers["/items"] = {"items": ["tea"]}
    added = ccos("capabilities", "add", written(tmp_path / "m.json", manifest(url)), "--by", "ann")
    assert added.code == 0, added.err
    return answers


def test_help_names_every_command_and_the_exit_codes(ccos: Run) -> None:
    result = ccos("--help")
    assert result.code == 0
    assert all(f" {name} " in result.out for name in COMMANDS)
    assert "5 parked or awaiting a person" in result.out


@pytest.mark.parametrize(
    "command",
    [
        *([name] for name in COMMANDS),
        *([group, name] for group, names in GROUPS.items() for name in names),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_every_command_explains_itself(ccos: Run, command: list[str]) -> None:
    result = ccos(*command, "--help")
    assert result.code == 0
    assert "Exit codes: 0 done" in result.out
    description = result.out.partition("\n\n")[2]
    assert len(description.split("\n\n")[0]) > 10
    if command[0] not in GROUPS or len(command) > 1:
        assert "--json" in result.out


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("call", "4"),
        ("approvals approve", "5"),
        ("executions resume", "5"),
        ("resolve", "6"),
        ("audit verify", "1"),
        ("check", "4"),
        ("script run", "1"),
        ("script check", "1"),
        ("engine health", "1"),
    ],
)
def test_special_exit_codes_are_explained(ccos: Run, command: str, code: str) -> None:
    words = command.split()
    text = " ".join(ccos(*words, "--help").out.split())
    epilogue = text.index("Exit codes:")
    if command == "call":
        assert f"{code} not found" in text
    else:
        assert f"xit code {code}" in text[:epilogue] or f", {code} if" in text[:epilogue]


def test_resolve_deps_is_a_program_of_its_own(resolve_deps: Run) -> None:
    result = resolve_deps("--help")
    assert result.code == 0
    assert all(f" {name} " in result.out for name in RESOLVE_DEPS)


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        (["init"], 0),
        (["check", "PLAN"], 4),
        (["run", "PLAN"], 1),
        (["call", "no.such"], 4),
        (["executions", "list"], 0),
        (["executions", "show", "ex-0"], 4),
        (["executions", "resume", "ex-0"], 4),
        (["executions", "cancel", "ex-0"], 4),
        (["executions", "decide", "ex-0", "0", "--again"], 4),
        (["executions", "decide", "ex-0", "0"], 2),
        (["capabilities", "list"], 0),
        (["capabilities", "show", "no.such"], 4),
        (["capabilities", "show", "../x y"], 2),
        (["capabilities", "search", "time", "zone"], 0),
        (["capabilities", "add", "/no/such/file", "--by", "ann"], 2),
        (["capabilities", "remove", "no.such"], 4),
        (["capabilities", "revoke", "no.such", "--reason", "bad"], 4),
        (["approvals", "list"], 0),
        (["approvals", "show", "ap-0"], 4),
        (["approvals", "approve", "ap-0"], 4),
        (["approvals", "approve"], 2),
        (["approvals", "reject", "--capability-id", "no.such"], 4),
        (["resolve", "no.such"], 3),
        (["queue"], 0),
        (["audit", "tail"], 0),
        (["audit", "verify"], 0),
        (["config", "show"], 0),
        (["script", "list"], 0),
        (["script", "show", "script_00000000"], 4),
        (["script", "delete", "no-such-script"], 4),
        (["script", "list", "--level", "odd"], 2),
        (["engine", "health"], 0),
        (["engine", "stats"], 0),
        (["engine", "cache", "clear"], 0),
        (["resolve-deps", "show-queue", "--status", "failed"], 0),
        (["resolve-deps", "list-pending"], 0),
        (["resolve-deps", "status", "-c", "no.such"], 4),
        (["resolve-deps", "resolve", "-c", "no.such"], 3),
        (["resolve-deps", "approve", "--capability-id", "no.such"], 4),
        (["resolve-deps", "reject", "-c", "no.such"], 4),
        (["resolve-deps", "resume", "-c", "no.such"], 0),
        (["resolve-deps", "resume"], 2),
        (["resolve-deps", "stats", "-t", "7d"], 0),
        (["resolve-deps", "stats", "-t", "soon"], 2),
        (["resolve-deps", "monitor", "--duration", "0"], 0),
        (["resolve-deps", "monitor", "--duration", "1", "-c"], 2),
        (["resolve-deps", "validate"], 0),
        (["resolve-deps", "validate", "-c", "no.such"], 4),
        (["resolve-deps", "search", "-q", "time"], 0),
        (["resolve-deps", "info"], 0),
        (["no-such-command"], 2),
        (["queue", "--status", "odd"], 2),
        (["queue", "--no-such-option"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_json_is_all_there_is_on_stdout(
    ccos: Run, tmp_path: Path, tokens: list[str], code: int
) -> None:
    plan = tmp_path / "plan.py"
    plan.write_text("await no.such(a=1)")
    given = [str(plan) if token == "PLAN" else token for token in tokens]
    result = ccos(*given, "--json")
    assert result.code == code, result.err
    data = result.json
    if code in (2, 3) or (code == 4 and "outcome" not in data and "plan" not in data):
        assert set(data) == {"code", "message", "next_step", "details"} or "result" in data
        assert data.get("code", "CCOS-").startswith("CCOS-")
    assert "Traceback" not in result.err
    people = ccos(*given)
    assert people.code == code
    assert "Traceback" not in people.err
    assert people.out or people.err


def test_init_makes_everything_once(ccos: Run, home: Path) -> None:
    first = ccos("init", "--json").json
    made = {Path(path).name for path in first["made"]}
    assert made == {"home", "ccos.toml", "ccos.key", "head.json"}
    assert stat.S_IMODE((home / "ccos.toml").stat().st_mode) == 0o600
    (home / "ccos.toml").write_text("max_parallel_calls = 7\n")
    second = ccos("init", "--json").json
    assert second["made"] == []
    assert second["audit"]["intact"]
    assert (home / "ccos.toml").read_text() == "max_parallel_calls = 7\n"


def test_the_written_configuration_changes_nothing_until_edited(ccos: Run, home: Path) -> None:
    before = load_settings().settings
    ccos("init")
    text = (home / "ccos.toml").read_text()
    after = load_settings().settings
    assert after.model_dump(exclude={"config_file"}) == before.model_dump(exclude={"config_file"})
    lines = text.splitlines()
    settings = [line[2:] if " = " in line and line.startswith("# ") else line for line in lines]
    uncommented = "\n".join(settings).replace("\n# ", "\n#")
    assert len(tomllib.loads(uncommented)["feature_flags"]) == 15
    (home / "ccos.toml").write_text(uncommented)
    edited = load_settings().settings
    assert edited.model_dump(exclude={"config_file"}) == before.model_dump(exclude={"config_file"})


def test_init_adds_no_second_configuration(ccos: Run, home: Path) -> None:
    home.mkdir()
    (home / "ccos.json").write_text("{}")
    assert ccos("init").code == 0
    assert not (home / "ccos.toml").exists()
    assert ccos("queue").code == 0


def test_init_says_when_the_audit_trail_is_broken(ccos: Run, home: Path) -> None:
    ccos("init")
    ccos("worker-that-does-not-exist")
    ccos("call", "no.such")
    assert ccos("audit", "verify").code == 0
    (home / "audit" / "head.json").unlink()
    assert ccos("init").code == 1
    result = ccos("audit", "verify", "--json")
    assert result.code == 1
    assert result.json["first_bad"] == result.json["entries"]
    assert "first that is bad" in ccos("audit", "verify").out


def test_a_capability_is_added_shown_called_and_revoked(ccos: Run, shop: dict[str, Any]) -> None:
    shown = ccos("capabilities", "show", "shop.items", "--json").json
    stored = shown["versions"][0]["manifest"]
    assert stored["approval_status"] == "approved"
    assert [step["step"] for step in stored["provenance"]["custody_chain"]] == [
        "approved",
        "registered",
    ]
    assert "attestation" in ccos("capabilities", "show", "shop.items").out
    called = ccos("call", "shop.items", "--arg", "q=tea", "--json")
    assert called.code == 0
    assert called.json["value"] == {"items": ["tea"]}
    assert ccos("call", "shop.items", "--arguments", '{"q": 5}').code == 1
    assert ccos("capabilities", "search", "shop", "--json").json["matches"]
    assert ccos("resolve-deps", "validate", "-c", "shop.items").code == 0
    assert ccos("capabilities", "revoke", "shop.items", "--reason", "leaks").code == 0
    refused = ccos("call", "shop.items", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "CCOS-CAPABILITY-NOT-CALLABLE")
    assert "leaks" in refused.err
    assert ccos("resolve-deps", "validate", "-c", "shop.items").code == 1
    assert ccos("capabilities", "list", "--active", "--json").json == {"capabilities": []}


def test_a_file_cannot_vouch_for_itself(ccos: Run, service: Service, tmp_path: Path) -> None:
    boasting = manifest(service[0], trust_tier="official", approval_status="auto_approved")
    ccos("capabilities", "add", written(tmp_path / "m.json", boasting), "--by", "ann")
    stored = ccos("capabilities", "show", "shop.items", "--json").json["versions"][0]["manifest"]
    assert stored["trust_tier"] == "approved"
    assert stored["provenance"]["custody_chain"][0]["by"] == "ann"


def test_an_array_is_added_as_a_whole_or_not_at_all(
    ccos: Run, shop: dict[str, Any], service: Service, tmp_path: Path
) -> None:
    other = manifest(service[0], id="shop.other")
    clash = manifest(service[0], description="changed under the same version")
    refused = ccos("capabilities", "add", written(tmp_path / "a.json", [other, clash]), "--by", "b")
    assert refused.code == 1
    assert "CCOS-CAPABILITY-CONFLICT" in refused.err
    assert ccos("capabilities", "show", "shop.other").code == 4
    fine = written(tmp_path / "a.json", [other, manifest(service[0])])
    results = ccos("capabilities", "add", fine, "--by", "b", "--json").json["registrations"]
    assert [one["result"] for one in results] == ["registered", "unchanged"]


def test_what_breaks_callers_needs_force(
    ccos: Run, shop: dict[str, Any], service: Service, tmp_path: Path
) -> None:
    stricter = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    file = written(
        tmp_path / "m2.json", manifest(service[0], version="1.0.1", input_schema=stricter)
    )
    assert ccos("capabilities", "add", file, "--by", "ann").code == 1
    forced = ccos("capabilities", "add", file, "--by", "ann", "--force", "--json")
    assert forced.code == 0
    assert forced.json["registrations"][0]["breaking_changes"]


def test_faulty_manifests_are_named(ccos: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "bad.json", {"id": "a b", "name": ""})
    result = ccos("capabilities", "add", file, "--by", "ann", "--json")
    assert result.code == 1
    assert {fault["path"] for fault in result.json["details"]["errors"]} >= {"/id", "/name"}


def test_hostile_text_reaches_no_terminal(ccos: Run, service: Service, tmp_path: Path) -> None:
    url, answers = service
    hostile = "\x1b]0;owned\x07[bold red]\u202egnp\u200b"
    answers["/items"] = {"text": hostile, "c1": "\x9b2J"}
    file = written(tmp_path / "m.json", manifest(url, description=hostile, name=hostile))
    ccos("capabilities", "add", file, "--by", f"ann{hostile}")
    plan = tmp_path / "plan.py"
    plan.write_text("r = await shop.items()\nprint(r['text'])\nraise ValueError(r['text'])")
    outputs = [
        ccos("capabilities", "list"),
        ccos("capabilities", "show", "shop.items"),
        ccos("capabilities", "search", "shop"),
        ccos("call", "shop.items"),
        ccos("run", plan),
        ccos("executions", "list"),
        ccos("audit", "tail", "-n", "50"),
        ccos("call", "no.such", "--arg", f"x={hostile}", "--verbose"),
        ccos(f"frob{hostile}"),
    ]
    for result in outputs:
        for text in (result.out, result.err):
            assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u200b"} & set(text)
    assert "[bold red]" in outputs[1].out
    assert json.loads(outputs[3].out) == {"text": hostile, "c1": "\x9b2J"}
    assert ccos("call", "shop.items", "--json").json["value"]["text"] == hostile


def test_a_plan_prints_and_returns(ccos: Run, shop: dict[str, Any], tmp_path: Path) -> None:
    plan = tmp_path / "plan.py"
    plan.write_text("found = await shop.items()\nprint('got', len(found['items']))\nfound['items']")
    assert ccos("check", plan).code == 0
    result = ccos("run", plan)
    assert result.code == 0
    assert result.out.startswith("got 1\n")
    assert json.loads(result.out.partition("\n")[2]) == ["tea"]
    identity = ccos("run", plan, "--json").json["execution_id"]
    shown = ccos("executions", "show", identity, "--json").json
    assert shown["outcome"]["value"] == ["tea"]
    assert [entry["target"] for entry in shown["journal"]] == ["shop.items"]
    assert ccos("executions", "cancel", identity).code == 1


def test_a_plan_with_a_fault_names_the_place(ccos: Run, tmp_path: Path) -> None:
    plan = tmp_path / "plan.py"
    plan.write_text("x = (1\n")
    for command in ("check", "run"):
        result = ccos(command, plan)
        assert result.code == 1
        assert "CCOS-PLAN: plan.py, line 1" in result.err


def test_config_show_tells_where_values_come_from(
    ccos: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_MAX_PARALLEL_CALLS", "3")
    monkeypatch.setenv("MCP_AUTH_TOKEN", "very-secret")
    result = ccos("config", "show", "--json")
    rows = {row["key"]: row for row in result.json["settings"]}
    assert rows["max_parallel_calls"]["value"] == 3
    assert rows["max_parallel_calls"]["origin"] == "environment CCOS_MAX_PARALLEL_CALLS"
    assert "very-secret" not in result.out + ccos("config", "show").out


def test_a_setting_that_cannot_be_read_is_a_usage_error(
    ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_MAX_PARALLEL_CALLS", "many")
    result = ccos("queue", "--json")
    assert (result.code, result.json["code"]) == (2, "CCOS-CONFIGURATION")
    assert "CCOS_MAX_PARALLEL_CALLS" in result.err


def test_the_tooling_flag_switches_the_resolution_commands_off(
    ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_CLI_TOOLING_ENABLED", "false")
    for command in (
        ["queue"],
        ["approvals", "list"],
        ["resolve", "a.b"],
        ["resolve-deps", "stats"],
    ):
        assert ccos(*command, "--json").code == 3
    for command in (["resolve-deps", "validate"], ["resolve-deps", "info"], ["executions", "list"]):
        assert ccos(*command, "--json").code == 0


def test_home_and_config_can_be_named(ccos: Run, tmp_path: Path) -> None:
    other, file = tmp_path / "other", tmp_path / "my.toml"
    file.write_text("max_parallel_calls = 9\n")
    result = ccos("--home", other, "-c", file, "config", "show", "--json")
    rows = {row["key"]: row["value"] for row in result.json["settings"]}
    assert rows["home"] == str(other)
    assert rows["max_parallel_calls"] == 9


def test_a_fault_of_ccos_itself_is_said_without_a_traceback(
    ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("ccos.interfaces.cli.config.load", broken)
    result = ccos("config", "show")
    assert result.code == 1
    assert "RuntimeError: out of order" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in ccos("config", "show", "--verbose").err
