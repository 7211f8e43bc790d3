"""``ccos tools``: what is found, what is shown of it, and how the command ends."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

import ccos as package
from ccos.engine.executions import CompilationContext
from ccos.migration import script_tool
from interfaces.conftest import Run
from migration.samples import TOOLS, tool, written


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is called in, with a few tools below it."""
    monkeypatch.chdir(tmp_path)
    for name in ("greet.rn", "maths.rn", "fails.rn", "fetch.rn", "wrong_output.rn"):
        written(tmp_path, f"tools/{name}", (TOOLS / name).read_text())
    return tmp_path


def test_every_file_is_said_to_be_something(ccos: Run, folder: Path) -> None:
    written(folder, "tools/bad.rn", (TOOLS / "reserved_enum.rn").read_text())
    written(folder, "tools/lib.rn", (TOOLS / "library.rn").read_text())
    result = ccos("tools", "discover", "tools")
    assert result.code == 1
    lines = {line.split()[0]: line.split()[1] for line in result.out.splitlines() if line}
    assert (lines["tools/bad.rn"], lines["tools/lib.rn"]) == ("invalid", "library")
    assert lines["tools/greet.rn"] == "tool"
    assert "tools/bad.rn:3:68: CompilationFailed: `enum` is a reserved word" in result.out
    assert 'Put the key in quotes: "enum":' in result.out
    assert "6 tools found, 1 failed; 1 of 7 files ignored" in result.out


def test_json_is_json_and_nothing_else(ccos: Run, folder: Path) -> None:
    result = ccos("tools", "discover", "tools", "--json")
    assert (result.code, result.err) == (0, "")
    document = result.json
    assert document["summary"]["tools"] == 6
    assert [one["verdict"] for one in document["files"]] == ["tool"] * 5
    assert document["files"][2]["tools"][0]["name"] == "greet"
    again = ccos("tools", "discover", "tools", "--json").json
    assert [one["path"] for one in again["files"]] == [one["path"] for one in document["files"]]


def test_discovery_leaves_nothing_behind(ccos: Run, folder: Path, home: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert ccos("tools", "discover").code == 0
    assert sorted(folder.rglob("*")) == before
    assert not home.exists()


def test_without_a_folder_those_of_the_reference_are_searched(ccos: Run, folder: Path) -> None:
    result = ccos("tools", "discover", "--json")
    assert result.json["summary"]["tools"] == 6
    assert result.json["warnings"] == ["rune_tools does not exist."]
    assert "Warning: rune_tools does not exist." in result.err


@pytest.mark.parametrize(
    ("tokens", "count"),
    [
        ([], 1),
        (["--follow-symlinks"], 2),
        (["--flat", "--follow-symlinks"], 1),
        (["--exclude", "below"], 0),
        (["--max-file-size", "10"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_say_how_to_look(ccos: Run, folder: Path, tokens: list[str], count: int) -> None:
    root = folder / "other"
    written(root, "below/a.rn" if tokens == ["--exclude", "below"] else "a.rn")
    written(root, "node_modules/b.rn")
    (root / "linked").symlink_to(root / "node_modules")
    result = ccos("tools", "discover", root, *tokens, "--json")
    assert result.json["summary"]["tools"] == count, result.out


@pytest.mark.parametrize(
    "tokens",
    [
        ["discover", "tools", "--max-file-size", "0"],
        ["discover", "tools", "--max-file-size", "many"],
        ["discover", "tools", "--no-such-option"],
        ["call", "greet", "--directory", "tools", "--arguments", "{"],
        ["call", "greet", "--directory", "tools", "--timeout", "0"],
        ["call", "greet", "--directory", "tools", "--level", "odd", "--arg", "who=x"],
        ["call", "greet", "--level", "safe"],
        ["show"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(ccos: Run, folder: Path, tokens: list[str]) -> None:
    result = ccos("tools", *tokens)
    assert (result.code, result.out) == (2, ""), result.err


def test_control_codes_never_reach_the_terminal(ccos: Run, folder: Path) -> None:
    text = tool("loud").replace("The tool loud.", "\\u{1b}[31m red \\u{202e}")
    written(folder, "tools/loud.rn", text)
    written(folder, os.fsdecode(b"tools/odd\x1b\xff.rn"), tool("odd"))
    for tokens in (["discover", "tools"], ["list", "-d", "tools"], ["show", "loud", "-d", "tools"]):
        result = ccos("tools", *tokens)
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out
    assert "\\u001b[31m red" in ccos("tools", "show", "loud", "-d", "tools").out


def test_tools_of_a_folder_are_listed_and_shown(ccos: Run, folder: Path) -> None:
    result = ccos("tools", "list", "--directory", "tools", "--json")
    names = [one["name"] for one in result.json["tools"]]
    assert names == ["add", "fails", "fetch", "greet", "halve", "wrong_output"]
    assert "Adds two numbers" in ccos("tools", "list", "-d", "tools").out
    shown = ccos("tools", "show", "add", "-d", "tools", "--json").json
    assert (shown["version"], shown["registered"]) == ("1.2.0", False)
    assert shown["input_schema"]["required"] == ["a", "b"]
    assert "maths.rn" in ccos("tools", "show", "rune_add", "-d", "tools").out


def test_a_tool_that_cannot_be_used_is_not_found_and_it_is_said_why(
    ccos: Run, folder: Path
) -> None:
    written(folder, "tools/half.rn", (TOOLS / "missing_call.rn").read_text())
    result = ccos("tools", "show", "missing_call", "-d", "tools")
    assert result.code == 4
    assert "call(args) is missing" in result.err
    assert ccos("tools", "show", "none", "-d", "tools").code == 4
    assert ccos("tools", "show", "none").code == 4
    assert ccos("tools", "call", "none").code == 4
    assert ccos("tools", "list").out.startswith("There are no tools here")


@pytest.mark.parametrize("form", ["inline", "file", "pairs"])
def test_a_tool_is_called_with_its_arguments(ccos: Run, folder: Path, form: str) -> None:
    document = '{"who": "Ada"}'
    written(folder, "given.json", document)
    given = {
        "inline": ["--arguments", document],
        "file": ["--arguments", "@given.json"],
        "pairs": ["--arg", "who=Ada"],
    }[form]
    result = ccos("tools", "call", "greet", "-d", "tools", *given)
    assert (result.code, result.out) == (0, '"Hello, Ada!"\n')
    document_ = ccos("tools", "call", "greet", "-d", "tools", *given, "--json")
    assert (document_.json["value"], document_.json["success"]) == ("Hello, Ada!", True)


def test_what_a_tool_prints_comes_before_its_result(ccos: Run, folder: Path) -> None:
    result = ccos("tools", "call", "fails", "-d", "tools", "--arg", "how=prints")
    assert (result.code, result.out) == (0, "out loud\n1\n")


@pytest.mark.parametrize(
    ("tokens", "code", "says"),
    [
        (["greet"], 1, "Missing required field: who"),
        (["greet", "--arg", "who=1"], 1, "CCOS-CAPABILITY-ARGUMENTS"),
        (["fails", "--arg", "how=x"], 1, "no way: x"),
        (["fails", "--arg", "how=loop", "--timeout", "0.5"], 1, "CCOS-SCRIPT-"),
        (["wrong_output"], 1, "CCOS-CAPABILITY-RESULT"),
        (["fetch", "--arg", "url=http://127.0.0.1:9"], 1, "level production has it"),
        (
            ["fetch", "--arg", "url=http://127.0.0.1:9", "--level", "production"],
            1,
            "was refused",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_that_fails_says_why(
    ccos: Run, folder: Path, tokens: list[str], code: int, says: str
) -> None:
    result = ccos("tools", "call", *tokens, "-d", "tools")
    assert result.code == code
    assert says in result.err
    as_json = ccos("tools", "call", *tokens, "-d", "tools", "--json")
    assert as_json.code == code
    error: dict[str, Any] = as_json.json.get("error") or as_json.json
    assert error["code"].startswith("CCOS-")


def register(folder: Path, name: str) -> None:
    """Register a tool in the engine, as a migration does it."""

    async def main() -> None:
        from ccos.engine.modules import host_modules
        from ccos.migration import Discoverer, DiscoveryConfig, RuneInspector
        from migration.inspecting import rune

        async with rune() as language:
            inspector = RuneInspector(language, host_modules())
            found = await Discoverer(DiscoveryConfig(), inspector).discover(folder / "tools")
        async with package.open(work=False) as opened:
            engine = opened.script_engine
            (one,) = (one for one in found.tools if one.name == name)
            context = CompilationContext(name="tool.rn", language="rune")
            made = await engine.compile_script(one.source_code, context)
            await engine.register_tool(script_tool(one, made.script_id))

    asyncio.run(main())


def test_registered_tools_are_called_without_their_files(ccos: Run, folder: Path) -> None:
    register(folder, "add")
    register(folder, "greet")
    for path in (folder / "tools").iterdir():
        path.unlink()
    assert [one["name"] for one in ccos("tools", "list", "--json").json["tools"]] == [
        "add",
        "greet",
    ]
    shown = ccos("tools", "show", "add", "--json").json
    assert (shown["registered"], shown["category"]) == (True, "maths")
    assert shown["file_path"].endswith("maths.rn")
    assert ccos("tools", "call", "add", "--arg", "a=1", "--arg", "b=2").out == "3\n"
    assert ccos("tools", "call", "rune_add", "--arg", "a=1", "--arg", "b=2").out == "3\n"
    assert ccos("tools", "call", "greet", "--arg", "who=Ada").out == '"Hello, Ada!"\n'
    assert ccos("tools", "call", "rune_greet", "--arg", "who=Ada").code == 4
    assert ccos("tools", "call", "greet").code == 1


def test_a_switched_off_engine_calls_nothing(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ENABLED", "false")
    result = ccos("tools", "call", "greet", "-d", "tools", "--arg", "who=Ada")
    assert (result.code, result.out) == (3, "")
    assert ccos("tools", "discover", "tools").code == 0


def test_without_the_worker_it_is_said_how_to_get_it(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_RUNE_WORKER", str(folder / "none"))
    result = ccos("tools", "discover", "tools")
    assert (result.code, result.out) == (2, "")
    assert "pip install ccos-rune" in result.err
    assert json.loads(ccos("tools", "discover", "tools", "--json").out)["code"].startswith("CCOS-")


def test_a_long_search_says_how_far_it_is(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ccos.interfaces.cli import tools

    monkeypatch.setattr(tools, "_PROGRESS_SECONDS", 0.0)
    result = ccos("tools", "discover", "tools", "--json")
    assert "1 of 5 files are read." in result.err
    assert result.json["summary"]["files"] == 5
