"""``ccos script``: what a script may do, what is shown of it, and how the command ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import ccos as package
from ccos.engine.scripts import ScriptTool
from interfaces.conftest import Result, Run

SPLIT = """
import crucible.basic as basic

def main(text):
    return basic.string_split(text, ",")
"""
READS = "import crucible.file as file\nawait file.file_read({path!r})\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is called in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, source: str, name: str = "script.py") -> Path:
    path = folder / name
    path.write_text(source, encoding="utf-8")
    return path


def test_a_script_prints_and_gives_its_value(ccos: Run, folder: Path) -> None:
    file = written(folder, "print('out')\n{'total': 1 + 1}")
    result = ccos("script", "run", file)
    assert result.code == 0, result.err
    printed, _, value = result.out.partition("\n")
    assert printed == "out"
    assert json.loads(value) == {"total": 2}
    assert result.err == ""


def test_a_value_begins_on_a_line_of_its_own(ccos: Run, folder: Path) -> None:
    assert ccos("script", "run", written(folder, "print('a', end='')\n1")).out == "a\n1\n"
    assert ccos("script", "run", written(folder, "print('a')\nNone")).out == "a\n"


def test_a_script_that_raises_has_failed(ccos: Run, folder: Path) -> None:
    result = ccos("script", "run", written(folder, "print('out')\n1 / 0"))
    assert (result.code, result.out) == (1, "out\n")
    assert "CCOS-SCRIPT-RAISED" in result.err
    assert "line 2" in result.err


@pytest.mark.parametrize("form", ["inline", "file", "standard input"])
def test_a_function_gets_its_arguments(program: Run, folder: Path, form: str) -> None:
    file = written(folder, SPLIT)
    document = '{"text": "a,b"}'
    given = {"inline": document, "file": f"@{written(folder, document, 'a.json')}"}.get(form, "-")
    call = ("script", "run", file, "--function", "main", "--arguments", given, "--json")
    result = program(*call, text=document if given == "-" else None)
    assert result.code == 0, result.err
    assert result.json["value"] == ["a", "b"]


@pytest.mark.parametrize(
    "tokens",
    [
        ["--arguments", "{"],
        ["--arguments", "[1]"],
        ["--arguments", "@no-such-file"],
        ["--level", "odd"],
        ["--level", ""],
        ["--language", "cobol"],
        ["--timeout", "0"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
        ["--timeout", "inf"],
        ["--timeout", "soon"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_and_nothing_runs(
    ccos: Run, folder: Path, tokens: list[str]
) -> None:
    file = written(folder, "print('it ran')")
    result = ccos("script", "run", file, *tokens)
    assert (result.code, result.out) == (2, "")
    assert ccos("script", "list", "--json").json == {"scripts": []}


@pytest.mark.parametrize(
    "tokens",
    [
        ["--arguments", "{}"],
        ["--level", "SAFE"],
        ["--level", "dev"],
        ["--level", "prod"],
        ["--language", "python"],
        ["--timeout", "5"],
    ],
    ids=" ".join,
)
def test_what_makes_sense_runs(ccos: Run, folder: Path, tokens: list[str]) -> None:
    result = ccos("script", "run", written(folder, "print('it ran')"), *tokens)
    assert (result.code, result.out) == (0, "it ran\n"), result.err


def test_a_file_that_is_not_there_is_a_mistake_of_usage(ccos: Run, folder: Path) -> None:
    for command in ("run", "check"):
        result = ccos("script", command, folder / "none.py")
        assert result.code == 2
        assert "none.py cannot be read" in result.err


def test_the_ending_tells_the_language_or_the_option_does(program: Run, folder: Path) -> None:
    file = written(folder, "1 + 1", "script.txt")
    refused = program("script", "run", file)
    assert refused.code == 2
    assert "Nothing tells the language of script.txt" in refused.err
    assert program("script", "run", file, "--language", "python").out == "2\n"
    assert program("script", "run", "-", "--language", "python", text="1 + 2").out == "3\n"


def test_control_codes_never_reach_the_terminal(ccos: Run, folder: Path) -> None:
    source = """
import sys
import crucible.basic as basic
print("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202e\\rred")
print("\\x1b[31merr", file=sys.stderr)
basic.report_progress(0.5, "\\x1b[31mhalf")
"\\x1b[31mvalue"
"""
    file = written(folder, source, "\x1b[31mname.py")
    for tokens in (["run"], ["run", "--json"], ["check"], ["check", "--json"]):
        result = ccos("script", *tokens, file)
        assert result.code == 0, result.err
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(result.out + result.err)
    shown = ccos("script", "run", file)
    assert "\\u001b]0;owned\\u0007" in shown.out
    assert "\\u001b[31merr" in shown.err
    assert "50%" in shown.err
    raised = ccos("script", "run", written(folder, "raise ValueError('\\x1b[31m')"))
    assert raised.code == 1
    assert "\x1b" not in raised.err
    kept = ccos("script", "list").out + ccos("script", "show", "\x1b[31mname.py", "--source").out
    assert "\x1b" not in kept
    assert "name.py" in kept


def test_text_of_every_language_stays_as_it_is(ccos: Run, folder: Path) -> None:
    assert ccos("script", "run", written(folder, "print('Grüße 世界 🙂')")).out == "Grüße 世界 🙂\n"


def test_json_is_one_document_however_it_ends(ccos: Run, folder: Path) -> None:
    good = ccos("script", "run", written(folder, "print('out')\n[1]"), "--json")
    assert good.code == 0
    assert good.json["success"] is True
    assert (good.json["stdout"], good.json["value"]) == ("out\n", [1])
    bad = ccos("script", "run", written(folder, "print('out')\n1 / 0"), "--json")
    assert bad.code == 1
    assert bad.json["status"] == "failed"
    assert bad.json["error"]["code"] == "CCOS-SCRIPT-RAISED"
    assert bad.json["stdout"] == "out\n"
    refused = ccos("script", "run", written(folder, "def f(x:\n"), "--json")
    assert refused.code == 1
    assert refused.json["code"] == "CCOS-SCRIPT-COMPILATION"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("await asyncio.sleep(0.01)", "CCOS-SCRIPT-TIMEOUT"),
        # Its level gives it half of a processor, which is used up before the time is.
        ("pass", "CCOS-SCRIPT-RESOURCE"),
    ],
    ids=["waits", "computes"],
)
def test_a_script_that_does_not_end_is_stopped(
    ccos: Run, folder: Path, body: str, code: str
) -> None:
    file = written(folder, f"import asyncio\nprint('begun')\nwhile True:\n    {body}\n")
    started = time.monotonic()
    result = ccos("script", "run", file, "--timeout", "0.5")
    assert (result.code, result.out) == (1, "begun\n")
    assert code in result.err
    assert time.monotonic() - started < 8
    ends = written(folder, "print('begun')")
    assert ccos("script", "run", ends, "--timeout", "5").code == 0


def test_a_module_of_another_level_is_refused_by_name(ccos: Run, folder: Path) -> None:
    (folder / "data.txt").write_text("content")
    file = written(folder, READS.format(path=str(folder / "data.txt")))
    for level in ("safe", "production"):
        result = ccos("script", "run", file, "--level", level)
        assert result.code == 1
        assert f"crucible.file does not exist at level {level}" in result.err
    allowed = ccos("script", "run", file, "--level", "development", "--json")
    assert allowed.code == 0, allowed.err
    assert "content" in json.dumps(allowed.json["value"])
    trail = ccos("audit", "tail", "--json").out
    assert "crucible.file does not exist at level safe" in trail


def test_development_stays_within_the_folders_that_are_granted(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = folder / "granted"
    granted.mkdir()
    (granted / "in.txt").write_text("in")
    (folder / "out.txt").write_text("out")
    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_FILE_ROOTS", str(granted))
    run = ("script", "run", "--level", "dev")
    inside = ccos(*run, written(folder, READS.format(path=str(granted / "in.txt"))))
    assert inside.code == 0, inside.err
    assert ccos(*run, written(folder, READS.format(path=str(folder / "out.txt")))).code == 1


def test_a_switched_off_engine_says_so(
    ccos: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(folder, "print('it ran')")
    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ENABLED", "false")
    for command in ("run", "check"):
        result = ccos("script", command, file)
        assert (result.code, result.out) == (3, "")
        assert "CCOS_SCRIPT_ENGINE_ENABLED=true" in result.err
    monkeypatch.setenv("CCOS_SCRIPT_ENGINE_ENABLED", "true")
    assert ccos("script", "run", file).code == 0


def test_a_check_names_modules_and_levels_and_runs_nothing(ccos: Run, folder: Path) -> None:
    file = written(folder, "import crucible.http as http\nprint('it ran')")
    good = ccos("script", "check", file, "--level", "production")
    assert good.code == 0
    assert "it ran" not in good.out
    assert "crucible.http" in good.out
    assert "development, production" in good.out
    data = ccos("script", "check", file, "--level", "prod", "--json").json
    assert (data["valid"], data["modules"]) == (True, ["crucible.http"])
    assert data["levels"] == ["development", "production"]
    refused = ccos("script", "check", file)
    assert refused.code == 1
    assert f"{file}:1:1: error: " in refused.out
    assert "crucible.http does not exist at level safe" in refused.out
    assert "development, production" in refused.out
    assert ccos("script", "list", "--json").json == {"scripts": []}


def test_a_check_says_where_a_text_is_wrong(ccos: Run, folder: Path) -> None:
    file = written(folder, "a = 1\nb = = 2\n")
    result = ccos("script", "check", file)
    assert result.code == 1
    assert f"{file}:2:5: error: " in result.out
    assert "no level" in result.out
    data = ccos("script", "check", file, "--json").json
    assert (data["valid"], data["levels"]) == (False, [])
    assert data["diagnostics"][0]["line"] == 2
    assert ccos("script", "check", written(folder, "a = 1\nb = 2\n")).code == 0


def test_scripts_are_listed_shown_and_deleted(ccos: Run, folder: Path) -> None:
    ccos("script", "run", written(folder, "1", "one.py"))
    ccos("script", "run", written(folder, "2", "two.py"), "--level", "prod")
    one, two = ccos("script", "list", "--json").json["scripts"]
    assert (one["name"], one["execution_count"]) == ("one.py", 1)
    only = ccos("script", "list", "--level", "production", "--json").json["scripts"]
    assert [script["script_id"] for script in only] == [two["script_id"]]
    assert ccos("script", "list", "--language", "rune", "--json").json["scripts"] == []
    shown = ccos("script", "show", one["script_id"][:20], "--source", "--json").json
    assert (shown["script_id"], shown["source"]) == (one["script_id"], "1")
    assert "source" not in ccos("script", "show", "one.py", "--json").json
    assert one["script_id"] in ccos("script", "show", "one.py").out
    deleted = ccos("script", "delete", one["script_id"], "--json")
    assert deleted.json == {"script_id": one["script_id"], "deleted": True}
    assert ccos("script", "show", one["script_id"]).code == 4
    assert "two.py" in ccos("script", "list").out


def test_a_name_of_several_scripts_is_not_guessed(ccos: Run, folder: Path) -> None:
    for source in ("1", "2"):
        ccos("script", "run", written(folder, source))
    result = ccos("script", "delete", "script.py")
    assert result.code == 1
    assert "can mean several scripts" in result.err
    assert len(ccos("script", "list", "--json").json["scripts"]) == 2


def test_a_script_is_not_deleted_while_a_tool_uses_it(ccos: Run, home: Path, folder: Path) -> None:
    ccos("script", "run", written(folder, SPLIT))
    [kept] = ccos("script", "list", "--json").json["scripts"]
    tool = ScriptTool(
        name="split", description="", script_id=kept["script_id"], function_name="main"
    )

    async def change(register: bool) -> None:
        async with package.open(home=home, work=False) as runtime:
            engine = runtime.script_engine
            if register:
                await engine.register_tool(tool)
            else:
                await engine.unregister_tool(tool.name)

    asyncio.run(change(True))
    assert ccos("script", "show", "script.py", "--json").json["tools"] == ["split"]
    refused = ccos("script", "delete", "script.py")
    assert refused.code == 1
    assert "split" in refused.err
    asyncio.run(change(False))
    assert ccos("script", "delete", "script.py").code == 0


def started(*tokens: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ccos", *map(str, tokens)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[Any]) -> Result:
    out, err = process.communicate(timeout=30)
    return Result(process.returncode, out, err)


@pytest.mark.parametrize("body", ["pass", "await asyncio.sleep(0.01)"], ids=["computes", "waits"])
def test_output_appears_at_once_and_ctrl_c_leaves_no_worker(
    home: Path, ccos: Run, folder: Path, body: str
) -> None:
    level = "production"
    source = f"import asyncio\nprint('begun')\nwhile True:\n    {body}\n"
    process = started("script", "run", written(folder, source), "--level", level)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.kill(process.pid, signal.SIGINT)
    result = ended(process)
    assert result.code == 130
    assert "Interrupted" in result.err
    assert "Traceback" not in result.err
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    [kept] = ccos("script", "list", "--json").json["scripts"]
    assert kept["execution_count"] == 1
