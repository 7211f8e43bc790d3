"""``ccos migration``: what each command prints and does, and how it ends."""

from __future__ import annotations

import json
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from interfaces.conftest import Run
from migration.managing import files
from migration.samples import TOOLS, tool, written


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is called in, with three tools below it, one of them broken."""
    monkeypatch.chdir(tmp_path)
    for name in ("greet.rn", "count_words.rn", "reserved_enum.rn"):
        written(tmp_path, f"tools/{name}", (TOOLS / name).read_text())
    return tmp_path


def test_a_dry_run_names_real_tools_and_changes_nothing(ccos: Run, folder: Path) -> None:
    result = ccos("migration", "migrate", "--dry-run", "--json")
    assert result.code == 1
    plan = {Path(one["tool"]).name: one["action"] for one in result.json["plan"]}
    assert plan == {"greet": "migrate", "count_words": "migrate", "reserved_enum.rn": "fail"}
    assert ccos("migration", "list", "--json").json == {"tools": []}
    assert not (folder / "home" / "backups").exists()
    (folder / "tools" / "reserved_enum.rn").unlink()
    assert ccos("migration", "migrate", "--dry-run").code == 0
    one = ccos("migration", "migrate", "greet", "--dry-run", "--json").json
    assert [planned["tool"] for planned in one["plan"]] == ["greet"]


def test_tools_migrate_and_are_listed(ccos: Run, folder: Path) -> None:
    result = ccos("migration", "migrate")
    assert result.code == 1
    assert "2 migrated, 1 failed, 0 skipped" in result.out
    assert "CompilationFailed: `enum` is a reserved word" in result.out
    assert "tools/reserved_enum.rn:3)" in result.out
    listed = ccos("migration", "list", "--format", "json").json["tools"]
    assert [one["name"] for one in listed] == ["count_words", "greet"]
    assert listed[0].keys() == {"name", "script_id", "active", "migrated_at", "metadata"}
    assert ccos("migration", "list", "--inactive", "-f", "json").json == {"tools": []}
    assert len(ccos("migration", "list", "--active", "--json").json["tools"]) == 2
    assert listed[1]["metadata"]["original_file_path"] == str(folder / "tools" / "greet.rn")
    assert listed[1]["metadata"]["source_hash"][:19] in ccos("migration", "list", "-m").out
    assert ccos("call", "tools.greet", "--arg", "who=Ada").out.strip().endswith('"Hello, Ada!"')
    assert "2 migrated" not in ccos("migration", "migrate").out


def test_one_tool_is_migrated_by_name(ccos: Run, folder: Path) -> None:
    assert ccos("migration", "migrate", "greet").code == 0
    again = ccos("migration", "migrate", "--tool", "greet", "--json")
    assert (again.code, again.json["code"]) == (1, "CCOS-MIGRATION")
    assert "already" in again.err
    assert ccos("migration", "migrate", "greet", "-f").code == 0
    assert ccos("migration", "migrate", "nobody").code == 1
    written(folder, "tools/fetch.rn", (TOOLS / "fetch.rn").read_text())
    failed = ccos("migration", "migrate", "fetch", "--json")
    assert failed.code == 1
    assert [one["tool_name"] for one in failed.json["failed_tools"]][-1] == "fetch"
    assert ccos("migration", "migrate", "fetch", "--security-level", "prod").code == 0


@pytest.mark.parametrize(
    "tokens",
    [
        ["migrate", "--security-level", "none"],
        ["migrate", "--mode", "sideways"],
        ["migrate", "--validation", "thorough"],
        ["migrate", "--parallel", "0"],
        ["migrate", "--dry-run", "--mode", "full"],
        ["migrate", "greet", "--mode", "full"],
        ["migrate", "greet", "--tool", "other"],
        ["migrate", "--report", "report.pdf"],
        ["list", "--format", "yaml"],
        ["status", "--format", "xml"],
        ["cleanup"],
        ["rollback", "greet", "--migration", "x", "--confirm"],
        ["reload"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(ccos: Run, folder: Path, tokens: list[str]) -> None:
    assert ccos("migration", *tokens).code == 2
    assert ccos("migration", "list", "--json").json == {"tools": []}


def test_status_and_validation_are_one_document(ccos: Run, folder: Path) -> None:
    before = ccos("migration", "status", "-f", "json").json
    assert (before["total_migrated"], before["last_migration"]) == (0, None)
    ccos("migration", "migrate")
    result = ccos("migration", "status", "--detailed", "--validate", "--json")
    assert (result.code, result.err) == (0, "")
    document = result.json
    assert (document["total_migrated"], document["active_tools"]) == (2, 2)
    assert document["enabled"] is True
    assert document["auto_migrate"] is False
    assert document["validation"]["valid"] is True
    assert len(document["migrations"]) == 1
    assert document["last_migration"]["failed"] == 1
    assert "2 of 2 migrated tools are sound" in ccos("migration", "status", "--validate").out


def test_nothing_is_rolled_back_without_a_yes(ccos: Run, folder: Path) -> None:
    ccos("migration", "migrate")
    for tokens in (["rollback"], ["rollback", "greet"], ["cleanup", "--failed"]):
        refused = ccos("migration", *tokens)
        assert refused.code == 2
        assert "no terminal" in refused.err
    assert ccos("migration", "status", "--json").json["total_migrated"] == 2


def test_one_or_all_are_rolled_back_with_an_archive(ccos: Run, folder: Path) -> None:
    ccos("migration", "migrate")
    assert ccos("migration", "rollback", "nobody", "-c").code == 4
    one = ccos("migration", "rollback", "greet", "--confirm", "--backup", "--json")
    assert (one.code, one.json["rolled_back"]) == (0, ["greet"])
    with tarfile.open(one.json["backup"]) as archive:
        names = archive.getnames()
        tools = json.load(archive.extractfile("tools.json") or open("/dev/null"))  # noqa: SIM115, PTH123
    assert {"tools.json", "reports.json"} <= set(names)
    assert any(name.endswith("backup.json") for name in names)
    assert [one["name"] for one in tools] == ["count_words", "greet"]
    rest = ccos("migration", "rollback", "-c")
    assert rest.out.strip() == "Rolled back: count_words"
    assert ccos("migration", "list", "--json").json == {"tools": []}
    assert ccos("migration", "rollback", "-c").out.strip() == "Rolled back: nothing"


def test_a_whole_migration_is_rolled_back_by_its_id(ccos: Run, folder: Path) -> None:
    made = ccos("migration", "migrate", "--json").json
    result = ccos("migration", "rollback", "--migration", made["migration_id"][:8], "-c", "--json")
    assert result.json["rolled_back"] == ["count_words", "greet"]
    assert ccos("migration", "rollback", "--migration", "0000", "-c").code == 1


def test_a_tool_is_reloaded(ccos: Run, folder: Path) -> None:
    ccos("migration", "migrate", "greet")
    assert "has not changed" in ccos("migration", "reload", "greet").out
    assert "loaded anew" in ccos("migration", "reload", "greet", "--force").out
    path = folder / "tools" / "greet.rn"
    path.write_text(path.read_text().replace("Hello", "Bye"))
    assert ccos("migration", "reload", "greet", "--json").json["reloaded"] is True
    assert "Bye" in ccos("call", "tools.greet", "--arg", "who=Ada").out
    path.write_text("pub fn NAME() {")
    assert ccos("migration", "reload", "greet").code == 1
    assert "Bye" in ccos("call", "tools.greet", "--arg", "who=Ada").out
    assert ccos("migration", "reload", "nobody").code == 4


def test_validation_repairs_and_lists_each_change(ccos: Run, folder: Path) -> None:
    ccos("migration", "migrate")
    assert ccos("migration", "validate", "nobody").code == 4
    good = ccos("migration", "validate", "greet", "--json")
    assert (good.code, good.json["total_tools"], good.json["changes"]) == (0, 1, [])
    ccos("capabilities", "revoke", "tools.greet", "--reason", "test")
    bad = ccos("migration", "validate", "--format", "json")
    assert (bad.code, bad.json["valid_tools"]) == (1, 1)
    before = (folder / "tools" / "reserved_enum.rn").read_bytes()
    fixed = ccos("migration", "validate", "--auto-fix", "--json")
    assert fixed.code == 0, fixed.out
    changes = fixed.json["changes"]
    assert changes[0] == "greet: registered again."
    assert "reserved keys quoted" in changes[1]
    assert (folder / "tools" / "reserved_enum.rn.bak").read_bytes() == before
    assert '"enum":' in (folder / "tools" / "reserved_enum.rn").read_text()
    assert ccos("migration", "migrate").code == 0
    assert ccos("migration", "validate", "--auto-fix", "--json").json["changes"] == []


def test_what_is_no_longer_needed_is_shown_and_removed(ccos: Run, folder: Path) -> None:
    ccos("migration", "migrate")
    result = ccos("migration", "cleanup", "--failed", "--inactive", "--confirm")
    assert "failed: " in result.out
    assert "0 tools removed, 1 failures forgotten." in result.out
    assert "0 failures forgotten" in ccos("migration", "cleanup", "--failed", "-c").out


def test_reports_are_written_in_every_form(ccos: Run, folder: Path) -> None:
    assert ccos("migration", "report").code == 1
    for name in ("r.json", "r.html", "r.xml"):
        ccos("migration", "migrate", "--force", "--report", folder / name)
    assert json.loads((folder / "r.json").read_text())["state"]["failed_migrations"] == 1
    assert (folder / "r.html").read_text().startswith("<!doctype html>")
    suite = ET.parse(folder / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    made = ccos("migration", "report").json
    assert made["migrated_tools"] == ["count_words", "greet"]
    assert ccos("migration", "report", made["migration_id"], "-f", "junit").out.startswith("<?xml")
    schema = ccos("migration", "report", "--format", "schema").json
    assert schema["$id"] == "urn:ccos:migration-report:1"
    assert ccos("migration", "report", "--format", "html", "-o", folder / "x.html").code == 0
    assert (folder / "x.html").exists()
    assert ccos("migration", "report", "nothing").code == 1


def test_a_build_server_sees_that_a_migration_failed(ccos: Run, folder: Path) -> None:
    full = ("migration", "migrate", "--mode", "full", "--validation", "comprehensive")
    assert ccos(*full).code == 1
    (folder / "tools" / "reserved_enum.rn").unlink()
    assert ccos(*full, "--force", "--report", "report.xml").code == 0
    stopped = written(folder, "tools/late.rn", tool("late", "loop { let x = 1; }"))
    result = ccos("migration", "migrate", "--force", "--rollback-on-failure", "--parallel", "2")
    assert result.code == 1
    assert "What was before was restored." in result.out
    stopped.unlink()
    assert ccos("migration", "status", "--json").json["total_migrated"] == 2


def test_switched_off_only_looking_is_possible(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ccos("migration", "migrate")
    monkeypatch.setenv("CCOS_MIGRATION_ENABLED", "false")
    status = ccos("migration", "status", "--json")
    assert (status.code, status.json["enabled"]) == (0, False)
    listed = ccos("migration", "list")
    assert listed.code == 0
    assert "switched off" in listed.err
    for tokens in (
        ["migrate"],
        ["validate"],
        ["rollback", "-c"],
        ["reload", "greet"],
        ["cleanup", "--failed", "-c"],
    ):
        assert ccos("migration", *tokens).code == 3


def test_settings_are_what_nobody_else_says(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_MIGRATION_DEFAULT_SECURITY_LEVEL", "production")
    monkeypatch.setenv("CCOS_MIGRATION_VALIDATION_AUTO_VALIDATE", "false")
    monkeypatch.setenv("CCOS_MIGRATION_BACKUP_ORIGINALS", "false")
    made = ccos("migration", "migrate", "--json").json
    assert made["config"]["security_level"] == "production"
    assert made["config"]["validation_mode"] == "Skip"
    assert made["backup"] is None
    assert "backups" not in files(folder / "home")
    made = ccos("migration", "migrate", "--json", "--security-level", "safe", "-f").json
    assert made["config"]["security_level"] == "safe"
