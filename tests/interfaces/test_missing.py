"""Missing capabilities on the command line: parked, searched, approved, resumed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import EffectType
from ccos.errors import ProviderInterruptedError
from interfaces.conftest import Result, Run
from interfaces.service import Slow
from opening import Counter, opened


def document(home: Path, service: tuple[str, dict[str, Any]], path: str) -> None:
    """Describe an operation of the service where CCOS looks for API descriptions."""
    folder = home / "apis"
    folder.mkdir(parents=True, exist_ok=True)
    name = path.strip("/")
    described = {
        "openapi": "3.1.0",
        "info": {"title": "system shop", "version": "1.0.0"},
        "servers": [{"url": service[0]}],
        "paths": {
            path: {
                "get": {
                    "operationId": f"list_{name}",
                    "summary": f"List the {name} of the system shop",
                    "responses": {"200": {"description": "ok"}},
                }
            }
        },
    }
    (folder / "shop.json").write_text(json.dumps(described))


def test_the_whole_story_in_programs_of_their_own(resolving: None, program: Run, ccos: Run) -> None:
    plan = (
        "import asyncio\n"
        "now, later = await asyncio.gather(\n"
        "    time.get_current_time(timezone='Europe/Berlin'),\n"
        "    call('system.time.convert_time', source_timezone='UTC', time='12:00',\n"
        "         target_timezone='Asia/Tokyo'),\n"
        ")\n"
        "print(now['timezone'])\n"
        "later['target']['timezone']\n"
    )
    parked = program("run", "-", "--json", text=plan)
    assert parked.code == 5, parked.err
    missing = {one["capability_id"]: one for one in parked.json["missing"]}
    assert missing["time.get_current_time"]["state"] == "registered"
    waiting = missing["system.time.convert_time"]
    assert waiting["state"] == "awaiting approval"
    assert waiting["next"] == f"ccos approvals approve {waiting['approval_id']}"
    assert f"Type: {waiting['next']}" in parked.err
    assert "catalogue offers" in parked.err

    identity = parked.json["execution_id"]
    shown = ccos("executions", "show", identity)
    assert "system.time.convert_time" in shown.out
    assert waiting["next"] in shown.out
    still = ccos("executions", "resume", identity, "--json")
    assert (still.code, still.json["outcome"]) == (5, "parked")

    approved = program("approvals", "approve", waiting["approval_id"], "--reason", "fine", "--json")
    assert approved.code == 0, approved.err
    assert approved.json["approval"]["reason"] == "fine"
    [outcome] = approved.json["executions"]
    assert outcome["execution_id"] == identity
    assert (outcome["value"], outcome["printed"]) == ("Asia/Tokyo", "Europe/Berlin\n")
    assert ccos("audit", "verify").code == 0


def test_no_wait_parks_and_returns(resolving: None, ccos: Run) -> None:
    result = ccos("call", "some.thing", "--no-wait", "--json")
    assert result.code == 5
    assert result.json["missing"][0]["state"] == "pending"
    assert ccos("queue", "--json").json["totals"] == {"pending": 1}
    listed = ccos("executions", "list", "--state", "parked", "--json").json["executions"]
    assert [one["id"] for one in listed] == [result.json["execution_id"]]


def test_what_nobody_finds_stays_parked(resolving: None, ccos: Run) -> None:
    result = ccos("call", "some.thing", "--json")
    assert result.code == 5
    [missing] = result.json["missing"]
    assert (missing["state"], missing["reason"]) == ("failed", "no source offers anything")
    assert missing["next"] == "ccos resolve some.thing --force"
    assert ccos("resolve", "some.thing", "--force").code == 1
    resumed = ccos("resolve-deps", "resume", "-c", "some.thing", "--json")
    assert resumed.code == 5
    assert resumed.json["still_waiting"] == [result.json["execution_id"]]
    assert ccos("executions", "cancel", result.json["execution_id"]).code == 0
    assert ccos("resolve-deps", "resume", "-c", "some.thing").code == 0


def test_without_the_search_a_call_waits_for_somebody_to_switch_it_on(
    home: Path, ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_MISSING_CAPABILITY_ENABLED", "true")
    result = ccos("call", "some.thing", "--json")
    assert result.code == 5
    assert "CCOS_AUTO_RESOLUTION=true" in result.json["missing"][0]["next"]
    assert ccos("resolve", "some.thing").code == 3


def test_what_is_blocked_says_so(
    resolving: None, ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    critical = "admin.payment.delete"
    result = ccos("call", critical, "--json")
    assert result.code == 6, result.out
    assert "--override-block" in result.json["missing"][0]["next"]
    assert ccos("resolve", critical, "--json").code == 6
    lifted = ccos("resolve", critical, "--override-block", "an emergency", "--json")
    assert (lifted.code, lifted.json["result"]) == (5, "awaiting_approval")


def test_an_approval_shows_exactly_what_would_run(
    resolving: None,
    ccos: Run,
    home: Path,
    service: tuple[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCOS_IMPORTERS_ENABLED", "true")
    monkeypatch.setenv("CCOS_HUMAN_APPROVAL_REQUIRED", "true")
    service[1]["/teas"] = ["green"]
    document(home, service, "/teas")
    parked = ccos("call", "shop.list_teas", "--json")
    assert parked.code == 5, parked.err
    first = parked.json["missing"][0]["approval_id"]
    assert first
    step = ccos("approvals", "approve", first, "--json")
    while step.code == 5:
        waiting = step.json["request"]["approval_id"]
        shown = ccos("approvals", "show", waiting)
        assert f"GET {service[0]}/teas" in shown.out
        assert "definition hash" in shown.out
        step = ccos("approvals", "approve", "--capability-id", "shop.list_teas", "--json")
    assert step.code == 0, step.err
    assert step.json["executions"][0]["value"] == ["green"]
    again = ccos("approvals", "approve", first, "--json")
    assert (again.code, again.json["code"]) == (1, "CCOS-APPROVAL-STATE")


def test_approving_without_waiting_only_decides(
    resolving: None, ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_APPROVER", "ann")
    approval = ccos("call", "system.thing", "--json").json["missing"][0]["approval_id"]
    decided = ccos("approvals", "approve", approval, "--no-wait", "--json")
    assert decided.code == 0
    assert decided.json["approval"]["decided_by"] == "ann"
    assert ccos("queue", "--json").json["totals"] == {"pending": 1}


def test_rejecting_ends_the_search(resolving: None, resolve_deps: Run, ccos: Run) -> None:
    parked = ccos("call", "system.thing", "--json")
    rejected = resolve_deps("reject", "-c", "system.thing", "--by", "bob", "--reason", "no need")
    assert rejected.code == 0
    assert "ccos resolve system.thing --force" in rejected.out
    history = resolve_deps("status", "--capability-id", "system.thing", "--json").json
    assert history["request"]["last_error"] == "bob rejected it: no need"
    assert "approval_denied" in [entry["event_type"] for entry in history["history"]]
    shown = ccos("executions", "show", parked.json["execution_id"], "--json").json
    assert shown["outcome"]["missing"][0]["state"] == "rejected"


def test_on_a_terminal_a_person_is_asked_again(
    resolving: None, ccos: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ccos("call", "system.thing")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    keyboard, terminal = pty.openpty()
    monkeypatch.setattr("sys.stdin", os.fdopen(terminal))
    os.write(keyboard, b"n\n")
    assert ccos("approvals", "approve", "--capability-id", "system.thing").code == 5
    assert ccos("approvals", "list", "--json").json["approvals"][0]["status"] == "pending"
    os.write(keyboard, b"y\n")
    assert ccos("approvals", "approve", "--capability-id", "system.thing").code == 1
    assert ccos("approvals", "list", "--json").json["approvals"] == []
    os.close(keyboard)


def test_a_person_says_what_became_of_a_call(home: Path, ccos: Run) -> None:
    def gone(**_: Any) -> Any:
        raise ProviderInterruptedError("it went away")

    async def leave_unknown(count: int) -> list[str]:
        async with opened(home) as runtime:
            await runtime.register("send.mail", Counter(gone), effect_type=EffectType.EFFECTFUL)
            outcomes = [await runtime.call("send.mail", {}) for _ in range(count)]
            return [one.execution_id for one in outcomes]

    first, second = asyncio.run(leave_unknown(2))
    shown = ccos("executions", "show", first, "--json").json
    assert shown["outcome"]["outcome"] == "outcome_unknown"
    decided = ccos("executions", "decide", first, "0", "--value", '{"sent": true}', "--json")
    assert (decided.code, decided.json["value"]) == (0, {"sent": True})
    failed = ccos("executions", "decide", second, "0", "--error", "it bounced", "--json")
    assert (failed.code, failed.json["error"]["message"]) == (1, "it bounced")
    assert ccos("executions", "decide", first, "0", "--again").code == 1


def started(*tokens: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ccos", *tokens],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the program has said something on standard error."""
    assert process.stderr is not None
    deadline = time.monotonic() + 30
    while text not in (line := process.stderr.readline()):
        assert line, "the program ended"
        assert time.monotonic() < deadline


def ended(process: subprocess.Popen[str], number: int) -> Result:
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    return Result(process.returncode, out, err)


def test_ctrl_c_keeps_the_execution(
    resolving: None, ccos: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_CONTINUOUS_RESOLUTION", "true")
    monkeypatch.setenv("CCOS_RETRY_INITIAL_DELAY_SECONDS", "60")
    plan = tmp_path / "plan.py"
    plan.write_text("await some.thing()")
    process = started("run", str(plan), "--json")
    told(process, "failed: no source offers anything")
    result = ended(process, signal.SIGINT)
    assert result.code == 130
    [kept] = result.json["executions"]
    assert f"{kept['id']} is kept" in result.err
    assert f"ccos executions resume {kept['id']}" in result.err
    assert "Traceback" not in result.err
    shown = ccos("executions", "show", kept["id"], "--json").json
    assert shown["execution"]["state"] == "parked"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_ctrl_c_in_the_middle_of_a_call_says_what_is_kept(
    ccos: Run, service: tuple[str, dict[str, Any]], tmp_path: Path, method: str
) -> None:
    url, answers = service
    slow = answers["/slow"] = Slow()
    acts = method == "POST"
    file = tmp_path / "slow.json"
    file.write_text(
        json.dumps(
            {
                "id": "slow.call",
                "name": "Slow",
                "provider": {"type": "http", "base_url": url, "path": "/slow", "method": method},
                "effect_type": "effectful" if acts else "read_only",
            }
        )
    )
    assert ccos("capabilities", "add", file, "--by", "ann").code == 0
    process = started("call", "slow.call", "--json")
    assert slow.asked.wait(30)
    result = ended(process, signal.SIGINT)
    slow.let_go.set()
    assert result.code == 130
    if not acts:
        assert result.json["executions"] == []
        assert "run it again" in result.err
        return
    [kept] = result.json["executions"]
    assert f"{kept['id']} is kept (running). Go on with `ccos worker`" in result.err
    worker = started("worker")
    told(worker, "the outcome of call 0 is unknown")
    assert ended(worker, signal.SIGINT).code == 0
    shown = ccos("executions", "show", kept["id"], "--json").json
    assert shown["outcome"]["effects"][0]["capability_id"] == "slow.call"


def test_a_worker_stops_when_it_is_told(resolving: None, ccos: Run) -> None:
    ccos("call", "some.thing", "--no-wait")
    process = started("worker", "--json")
    told(process, "some.thing: attempt 1 failed")
    result = ended(process, signal.SIGTERM)
    assert result.code == 0
    assert result.json["drained"] is True
    entries = ccos("audit", "tail", "-n", "3", "--json").json["entries"]
    assert "worker_stopped" in [entry["event_type"] for entry in entries]


def test_the_audit_trail_can_be_followed(ccos: Run, home: Path) -> None:
    ccos("call", "no.such")
    process = started("audit", "tail", "--follow", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["seq"] >= 1
    result = ended(process, signal.SIGINT)
    assert result.code == 130
    assert all(json.loads(line)["seq"] for line in result.out.splitlines())


def test_monitor_ends_in_time_with_a_document_a_line(resolve_deps: Run) -> None:
    began = time.monotonic()
    result = resolve_deps("monitor", "--interval", "0.2", "--duration", "0.5", "--json")
    assert time.monotonic() - began < 10
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert len(lines) == 4 or len(lines) == 3
    assert lines[0]["success_rate"] is None


def test_a_terminal_shows_a_live_table_and_leaves_the_lines(resolving: None) -> None:
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ccos", "call", "some.thing", "--json"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal closes with the program
        while piece := os.read(screen, 65536):
            shown += piece
    assert process.stdout is not None
    assert json.loads(process.stdout.read())["outcome"] == "parked"
    assert process.wait(30) == 5
    process.stdout.close()
    os.close(screen)
    text = shown.decode()
    assert "some.thing: attempt 1 failed: no source offers anything" in text
    assert "in progress" in text
    assert "\x1b[2K" in text
