"""``ccos script run --budget``: what it may use up, and a person who gives it more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccos.interfaces.cli.budgets import amount
from interfaces.conftest import Result, Run

CALLS = """
from crucible.basic import math_abs
for i in range({n}):
    math_abs(i)
print("made them")
"done"
"""
_APPROVAL = re.compile(r"ccos approvals approve (ap-[0-9a-f]{16})")


@pytest.fixture
def ten_calls(tmp_path: Path) -> Path:
    """A script that makes ten host calls."""
    path = tmp_path / "ten.py"
    path.write_text(CALLS.format(n=10))
    return path


class Waiting:
    """A ``ccos script run`` in a process of its own, which waits for a person."""

    def __init__(self, *tokens: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ccos", "script", "run", *map(str, tokens)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told = self.approval = ""

    def read(self) -> Waiting:
        """Go on once it says which approval it waits for."""
        assert self.process.stderr is not None
        self.told = self.process.stderr.readline()
        found = _APPROVAL.search(self.told)
        assert found is not None, self.told
        self.approval = found[1]
        return self

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def ended(self) -> Result:
        out, err = self.process.communicate(timeout=60)
        return Result(self.process.returncode, out, err)


Wait = Callable[..., Waiting]


@pytest.fixture
def wait(home: Path) -> Iterator[Wait]:
    """Starts ``ccos script run`` and goes on once that waits; nothing of it outlives the test."""
    started: list[Waiting] = []

    def start(*tokens: object) -> Waiting:
        started.append(Waiting(*tokens))
        return started[-1].read()

    yield start
    for one in started:
        one.kill()


def test_a_script_waits_until_another_process_gives_it_more(
    database_url: str,
    ccos: Run,
    program: Run,
    wait: Wait,
    ten_calls: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCOS_DATABASE_URL", database_url)
    waiting = wait(ten_calls, "--budget", "host_calls=6:approve")
    assert "its budget of 6 host_calls is not enough" in waiting.told
    assert "an approval of 6 more until 20" in waiting.told
    listed = ccos("approvals", "list")
    assert waiting.approval in listed.out
    assert "6 more host_calls than 6" in listed.out
    shown = ccos("approvals", "show", waiting.approval).out
    for part in ("ten.py (script_", "host_calls", "6 more", "pending", "May this execution use"):
        assert part in shown
    data = ccos("approvals", "show", waiting.approval, "--json").json
    assert data["extension"]["execution_id"] in waiting.told
    assert (data["extension"]["used"], data["extension"]["more"]) == (7, 6)
    approved = program("approvals", "approve", waiting.approval, "--reason", "fine")
    assert approved.code == 0, approved.err
    assert f"{waiting.approval} is approved" in approved.out
    result = waiting.ended()
    assert (result.code, result.out) == (0, 'made them\n"done"\n'), result.err
    again = ccos("approvals", "approve", waiting.approval)
    assert again.code == 1
    assert "is approved already by" in again.err
    assert ccos("approvals", "list", "--json").json == {"approvals": []}


def test_a_script_that_gets_no_more_ends(
    database_url: str,
    ccos: Run,
    program: Run,
    wait: Wait,
    ten_calls: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCOS_DATABASE_URL", database_url)
    waiting = wait(ten_calls, "--budget", "host_calls=6:approve")
    rejected = program("approvals", "reject", waiting.approval, "--reason", "enough")
    assert rejected.code == 0, rejected.err
    assert f"{waiting.approval} is rejected" in rejected.out
    result = waiting.ended()
    assert (result.code, result.out) == (1, "")
    assert "CCOS-BUDGET-EXHAUSTED" in result.err
    trail = ccos("audit", "tail", "--json").out
    for event in ("approval_requested", "approval_denied", "budget_exhausted"):
        assert event in trail


@pytest.mark.parametrize(("verb", "code"), [("approve", 0), ("reject", 1)])
def test_json_stays_one_document_while_a_person_is_waited_for(
    ccos: Run, wait: Wait, ten_calls: Path, verb: str, code: int
) -> None:
    waiting = wait(ten_calls, "--budget", "host_calls=6:approve", "--json")
    answer = ccos("approvals", verb, waiting.approval, "--json")
    assert answer.json["approval"]["extension"]["dimension"] == "host_calls"
    result = waiting.ended()
    assert result.code == code
    assert result.json["success"] is (code == 0)
    assert (result.json["error"] or {"code": None})["code"] == (
        "CCOS-BUDGET-EXHAUSTED" if code else None
    )


def test_ctrl_c_withdraws_the_question(ccos: Run, wait: Wait, ten_calls: Path) -> None:
    waiting = wait(ten_calls, "--budget", "host_calls=6:approve")
    os.kill(waiting.process.pid, signal.SIGINT)
    assert waiting.ended().code == 130
    assert ccos("approvals", "list", "--json").json == {"approvals": []}
    late = ccos("approvals", "approve", waiting.approval)
    assert late.code == 1
    assert "its execution waits no longer" in late.err


@pytest.mark.parametrize("verb", ["approve", "reject", "list", "show"])
def test_a_question_of_a_killed_process_is_closed_and_says_so(
    ccos: Run, wait: Wait, ten_calls: Path, verb: str
) -> None:
    waiting = wait(ten_calls, "--budget", "host_calls=6:approve")
    waiting.process.kill()
    waiting.ended()
    if verb == "list":
        assert ccos("approvals", "list", "--json").json == {"approvals": []}
    elif verb == "show":
        shown = ccos("approvals", "show", waiting.approval)
        assert "by nobody: the process that asked has ended" in shown.out
    else:
        late = ccos("approvals", verb, waiting.approval)
        assert late.code == 1
        assert "the process that asked has ended" in late.err
        assert "Run the script again" in late.err


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("host_calls=10", 0),
        ("host_calls=9", 1),
        ("host_calls=10:stop", 0),
        ("host_calls=9:stop", 1),
        ("host_calls=9:warn", 0),
        ("host_calls=1e1", 0),
        ("storage_bytes=1", 0),
    ],
)
def test_a_budget_holds(ccos: Run, ten_calls: Path, home: Path, option: str, code: int) -> None:
    result = ccos("script", "run", ten_calls, "--budget", option)
    assert result.code == code, result.err
    assert ("CCOS-BUDGET-EXHAUSTED" in result.err) is (code == 1)


def test_what_a_budget_does_not_name_stays_as_the_level_has_it(
    ccos: Run, home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "many.py"
    file.write_text(CALLS.format(n=10_001))
    other = ccos("script", "run", file, "--budget", "storage_bytes=5", "--budget", "steps=100")
    assert other.code == 1
    assert "host_calls is used up" in other.err
    assert ccos("script", "run", file, "--budget", "host_calls=20000").code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["host_calls"],
        ["host_calls="],
        ["host_calls=0"],
        ["host_calls=-1"],
        ["host_calls=nan"],
        ["host_calls=inf"],
        ["host_calls=many"],
        ["host_calls=1:"],
        ["host_calls=1:ask"],
        ["host_calls=1:stop:warn"],
        ["calls=1"],
        ["=1"],
        [""],
        ["host_calls=1", "host_calls=2"],
    ],
    ids=" ".join,
)
def test_a_budget_that_makes_no_sense_is_refused_and_nothing_runs(
    ccos: Run, ten_calls: Path, home: Path, options: list[str]
) -> None:
    tokens = [token for option in options for token in ("--budget", option)]
    result = ccos("script", "run", ten_calls, *tokens)
    assert (result.code, result.out) == (2, "")
    assert "--budget" in result.err
    assert ccos("script", "list", "--json").json == {"scripts": []}


@pytest.mark.parametrize(
    ("number", "text"), [(100.0, "100"), (10_485_760.0, "10,485,760"), (0.25, "0.25"), (1.5, "1.5")]
)
def test_amounts_are_written_in_full(number: float, text: str) -> None:
    assert amount(number) == text


def test_control_codes_of_a_name_do_not_reach_the_terminal(
    ccos: Run, wait: Wait, tmp_path: Path
) -> None:
    file = tmp_path / "\x1b[31mten.py"
    file.write_text(CALLS.format(n=10))
    waiting = wait(file, "--budget", "host_calls=6:approve")
    shown = ccos("approvals", "show", waiting.approval)
    assert "ten.py" in shown.out
    answered = ccos("approvals", "approve", waiting.approval)
    result = waiting.ended()
    assert result.code == 0
    assert "\x1b" not in shown.out + answered.out + waiting.told + result.out + result.err
    assert json.loads(result.out.splitlines()[-1]) == "done"
