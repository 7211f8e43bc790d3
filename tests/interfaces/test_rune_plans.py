"""Tools in Rune on the command line, as plans that wait."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interfaces.conftest import Run

TOOL = """
pub const NAME = "advice";
pub const DESCRIPTION = "Says what to wear.";
pub const INPUT_SCHEMA = #{"type": "object"};

pub async fn call(args) {
    let weather = ccos::call("weather.current", #{city: args.city}).await?;
    crucible::log_info(`asked for ${args.city}`);
    Ok(#{wear: if weather.rain { "a coat" } else { "a hat" }, seen: weather})
}

pub fn shout(text) { `${text}!` }
"""


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    path = tmp_path / "advice.rn"
    path.write_text(TOOL)
    return path


def test_a_tool_waits_and_goes_on_in_another_process(
    program: Run,
    ccos: Run,
    service: tuple[str, dict[str, Any]],
    tool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCOS_MISSING_CAPABILITY_ENABLED", "true")
    url, answers = service
    answers["/weather"] = {"rain": True, "city": "Zürich"}
    checked = ccos("check", tool, "--json")
    assert checked.code == 4
    assert [(one["capability_id"], one["line"]) for one in checked.json["calls"]] == [
        ("weather.current", 7)
    ]
    parked = program("run", tool, "--no-wait", "--arg", "city=Zürich", "--json")
    assert parked.code == 5, parked.err
    assert [one["capability_id"] for one in parked.json["missing"]] == ["weather.current"]

    manifest = tmp_path / "weather.json"
    provider = {"type": "http", "base_url": url, "path": "/weather", "method": "GET"}
    manifest.write_text(
        json.dumps(
            {
                "id": "weather.current",
                "name": "Weather",
                "provider": provider,
                "effect_type": "read_only",
            }
        )
    )
    registered = ccos("capabilities", "add", manifest, "--by", "ann")
    assert registered.code == 0, registered.err
    done = program("executions", "resume", parked.json["execution_id"], "--json")
    assert done.code == 0, done.err
    assert done.json["value"] == {"wear": "a coat", "seen": {"rain": True, "city": "Zürich"}}
    assert done.json["printed"] == "INFO asked for Zürich\n"


def test_one_function_of_a_file_is_run(ccos: Run, tool: Path) -> None:
    done = ccos("run", tool, "--function", "shout", "--arg", "text=hi", "--json")
    assert (done.code, done.json["value"]) == (0, "hi!")


def test_faults_of_a_text_have_their_place(ccos: Run, tool: Path) -> None:
    tool.write_text("pub fn main() {\n    let enum = 1;\n}")
    failed = ccos("run", tool)
    assert failed.code != 0
    assert "advice.rn, line 2" in failed.err
    tool.write_text('pub async fn main() { crucible::file_read("/etc/passwd").await }')
    refused = ccos("run", tool)
    assert refused.code != 0
    assert "level development has it" in refused.err


def test_without_a_worker_it_is_said_how_to_install_it(
    ccos: Run, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_RUNE_WORKER", str(tmp_path / "none"))
    failed = ccos("run", tool)
    assert failed.code != 0
    assert "pip install ccos-rune" in failed.err
