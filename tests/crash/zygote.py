"""Forks a process for each session, so that a kill costs no new start of Python.

Reads one JSON command a line on standard input: where CCOS lives, which plans to start, and at
which write to die. Answers one JSON line: how the session ended and what it reported.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

import ccos.assembly
from ccos.config import load_settings
from ccos.runtime import Completed, ExecutionState, Failed
from ccos.storage import WriteObserver

__import__("dbos")

SESSION_SECONDS = 20.0


class Killer(WriteObserver):
    """Kills this process at the n-th time that a write of one name reaches a phase."""

    def __init__(self, name: str, phase: str, occurrence: int) -> None:
        self._wanted = (name, phase)
        self._left = occurrence

    def before_commit(self, name: str) -> None:
        self._count(name, "before")

    def after_commit(self, name: str) -> None:
        self._count(name, "after")

    def _count(self, name: str, phase: str) -> None:
        if self._wanted[0] in name.split("+") and phase == self._wanted[1]:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def session(command: dict[str, Any], report: Any) -> None:
    settings = load_settings(environ=command["environ"]).settings
    kill = command["kill"]
    observer = None if kill is None else Killer(*kill)
    deadline = time.monotonic() + SESSION_SECONDS
    async with ccos.assembly.open(settings, work=False, write_observer=observer) as system:
        for name, source in command["plans"]:
            outcome = await system.run(source, name=name)
            report({"plan": name, "execution": outcome.execution_id})
        while time.monotonic() < deadline:
            await system.worker.run_once()
            for approval in await system.resolver.approvals.recent():
                if approval.status == "pending":
                    await system.resolver.approve(approval_id=approval.id, by="crash test")
            executions = await system.runtime.executions(limit=100)
            waiting = [
                one
                for one in executions
                if not one.state.ended and one.state is not ExecutionState.OUTCOME_UNKNOWN
            ]
            if not waiting:
                break
            await asyncio.sleep(0.01)
        await decide(system, command["decisions"], report)


async def decide(system: Any, decisions: dict[str, Any], report: Any) -> None:
    """Say what became of unknown calls as far as the command tells, and list the others."""
    for execution in await system.runtime.executions(state=ExecutionState.OUTCOME_UNKNOWN):
        for entry in await system.runtime.journal(execution.id):
            key = f"{execution.id}:{entry.sequence}"
            if entry.state != "unknown":
                continue
            report({"unknown": key})
            if key in decisions:
                answer = None
                if decisions[key] is not None:
                    answer = ccos.runtime.Answer(value=decisions[key])
                await system.runtime.decide(
                    execution.id, entry.sequence, answer, actor="crash test"
                )
    for execution in await system.runtime.executions(limit=100):
        outcome = await system.runtime.outcome(execution.id)
        if isinstance(outcome, Completed):
            report({"completed": execution.id, "name": execution.name, "value": outcome.value})
        elif isinstance(outcome, Failed):
            report({"failed": execution.id, "error": outcome.error.as_dict()})
        else:
            report({"open": execution.id, "state": execution.state.value})
    verification = await system.audit.verify()
    report({"audit": verification.intact, "problem": verification.problem})


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            run_child(command, writer)
        os.close(writer)
        with os.fdopen(reader) as file:
            reports = [json.loads(item) for item in file]
        _, status = os.waitpid(child, 0)
        answer = {
            "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
            "status": status,
            "reports": reports,
        }
        print(json.dumps(answer), flush=True)


def run_child(command: dict[str, Any], writer: int) -> None:
    file = os.fdopen(writer, "w")

    def report(item: dict[str, Any]) -> None:
        file.write(json.dumps(item) + "\n")
        file.flush()

    try:
        asyncio.run(session(command, report))
    except BaseException as error:
        report({"error": repr(error)})
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
