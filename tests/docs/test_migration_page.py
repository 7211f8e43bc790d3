"""The lines of the page about migration do what the page says, in their order."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from ccos.migration.reports import report_schema
from docs.pages import ROOT

PAGE = ROOT / "docs" / "how-to" / "migrate-tools.md"

ECHO = """
pub fn NAME() { "echo_tool" }
pub fn DESCRIPTION() { "Says what it is told." }
pub fn INPUT_SCHEMA() { #{ type: "object", properties: #{ text: #{ type: "string" } } } }
pub fn call(args) { args.get("text") }
"""
CALCULATOR = """
#[tool(desc = "Adds two numbers", tags = ["math"])]
#[param(name = "a", type = "integer")]
#[param(name = "b", type = "integer")]
pub fn calculator(a, b) { a + b }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCOS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "echo.rn").write_text(ECHO)
    (tools / "calculator.rn").write_text(CALCULATOR)
    (titled,) = re.findall(r"```python title=\"tools/total.py\"\n(.*?)```", PAGE.read_text(), re.S)
    (tools / "total.py").write_text(titled)
    return tmp_path


@pytest.fixture
def quiet() -> Iterator[None]:
    before = logging.getLogger("ccos").level
    yield
    logging.getLogger("ccos").setLevel(before)


def blocks() -> list[CodeType]:
    """The programs of the page, each as code that may await."""
    text = PAGE.read_text()
    found = []
    for match in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        line = text.count("\n", 0, match.start()) + 1
        source = "\n" * line + match[1]
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        found.append(compile(source, str(PAGE), "exec", flags=flags))
    return found


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("quiet")
def test_its_lines_do_what_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def typed() -> None:
        names: dict[str, Any] = {}
        for block in blocks():
            result = eval(block, names)
            if inspect.isawaitable(result):
                await result

    asyncio.run(typed())
    said = capsys.readouterr().out
    for line in (
        *("Migration completed!", "Tools migrated: 3", "total keep ()"),
        *("Total migrated: 3", "Inactive tools: 0", "Migration valid: True", "Issues: 0"),
        *("True 5", "Service healthy", "Migrated: echo_tool", "Migrated: calculator"),
    ):
        assert line in said, line
    report = json.loads((folder / "migration_report.json").read_text())
    assert report["state"]["successfully_migrated"] == 3
    assert report["config"]["mode"] == "Full"


def test_the_schema_of_reports_is_published() -> None:
    published = ROOT / "docs" / "reference" / "migration-report.schema.json"
    assert json.loads(published.read_text()) == report_schema()
