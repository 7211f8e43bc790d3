"""Reports: by their schema, escaped wherever they are shown, and for build servers."""

from __future__ import annotations

import html.parser
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import SchemaValidator
from ccos.migration import (
    MigrationError,
    MigrationErrorType,
    MigrationManagerConfig,
    MigrationPhase,
    MigrationReport,
    MigrationState,
    MigrationStats,
    MigrationValidation,
)
from ccos.migration.reports import as_html, as_junit, report_schema
from migration.managing import managed
from migration.samples import tool, written

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\x00\u202e\ud800]]>"


def evil_report() -> MigrationReport:
    error = MigrationError(
        tool_name=EVIL,
        error_type=MigrationErrorType.COMPILATION_FAILED,
        message=EVIL,
        context={"path": EVIL, "line": 3, EVIL: EVIL},
    )
    return MigrationReport(
        migration_id="00000000-0000-4000-8000-000000000000",
        config=MigrationManagerConfig(),
        stats=MigrationStats(),
        state=MigrationState(
            phase=MigrationPhase.COMPLETED,
            total_discovered=3,
            successfully_migrated=1,
            failed_migrations=1,
            skipped=1,
            errors=(error,),
            warnings=(EVIL,),
        ),
        migrated_tools=(EVIL,),
        failed_tools=(error,),
        validation=MigrationValidation(valid=False, issues=(EVIL,), warnings=(EVIL,)),
        skipped_tools={EVIL: EVIL},
    )


class Seen(html.parser.HTMLParser):
    """Remembers the elements of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_shows_names_and_runs_nothing() -> None:
    page = as_html(evil_report())
    seen = Seen()
    seen.feed(page)
    assert "script" not in seen.elements
    assert seen.attributes <= {"lang", "charset", "name", "content", "class"}
    assert "<script>alert(1)</script>\"'&\\u001b[31m\\u0000\\u202e\\ud800]]>" in seen.text
    assert not any(one in page for one in ("\x1b", "\x00", "\u202e", "\ud800"))
    page.encode()


def test_a_build_server_can_read_it() -> None:
    root = ET.fromstring(as_junit(evil_report()))
    suite = root[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    assert len(suite.findall("testcase")) == 3
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "CompilationFailed"
    assert "\\u001b[31m" in (failure.get("message") or "")


@pytest.mark.anyio
async def test_every_report_keeps_to_the_schema(tmp_path: Path) -> None:
    validator = SchemaValidator(report_schema())
    folder = tmp_path / "tools"
    written(folder, "a.rn")
    written(folder, "bad.rn", "pub fn NAME() {")
    written(folder, "loop.rn", tool("loop", "loop { let x = 1; }"))
    kinds: list[dict[str, Any]] = [
        {"mode": "DryRun"},
        {"mode": "Manual"},
        {"mode": "Incremental", "validation_mode": "Comprehensive"},
        {"mode": "Full", "rollback_on_failure": True},
        {"mode": "Incremental", "validation_mode": "Skip"},
    ]
    for number, config in enumerate(kinds):
        async with managed(tmp_path / f"home{number}", folder, **config) as (manager, _):
            report = await manager.execute_migration()
            text = await manager.export_migration_report(report)
            assert text.startswith('{\n  "format"')
            data = json.loads(text)
            assert validator.faults(data) == (), config
            read = MigrationReport.from_dict(data)
            assert json.loads(read.to_json()) == data
            ET.fromstring(as_junit(report))
            assert as_html(report).startswith("<!doctype html>")


def test_the_schema_refuses_what_is_no_report() -> None:
    validator = SchemaValidator(report_schema())
    data = json.loads(json.dumps(evil_report().as_dict()).replace("\\ud800", ""))
    assert validator.faults(data) == ()
    for change in ({"format": "2"}, {"duration": -1}, {"other": 1}, {"migrated_tools": "a"}):
        assert validator.faults({**data, **change})
    del data["state"]["skipped"]
    assert validator.faults(data)
