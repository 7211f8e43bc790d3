"""Processes are killed at every named write; nothing is lost and no effect happens twice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crash.plans import random_plan
from crash.service import CountingService
from databases import PostgresServer

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

BEGINNING: tuple[str, ...] = ("enter", "park")
RESOLVING = ("claim", "audit", "ask", "approve", "register", "resume")
WORKING = ("takeover", "dispatch", "result", "complete", "decide", "resume")
DEMANDED = ("park", "approve", "register", "dispatch", "result", "resume")
KILLS = int(os.environ.get("CRASH_KILLS", "120"))
SESSIONS_A_SCENARIO = 60
SCENARIOS = 10 + KILLS
NAMES = ["a", "b", "c"]


class Zygote:
    """The process that forks sessions."""

    def __init__(self) -> None:
        tests = str(Path(__file__).parent.parent)
        paths = [tests, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def session(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@dataclass
class Tally:
    """What happened over all scenarios of one database."""

    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    plans: int = 0
    unknown: int = 0
    effects: int = 0

    def lacks(self) -> list[str]:
        """The points that must be hit and were not."""
        return [
            name
            for name in DEMANDED
            if not self.kills[f"{name} before"] + self.kills[f"{name} after"]
        ]


@dataclass
class Scenario:
    """Some plans, killed again and again until all of them came to an end."""

    environ: dict[str, str]
    service: CountingService
    chance: random.Random
    zygote: Zygote
    tally: Tally
    language: str
    expected: dict[str, list[Any]] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    decided: dict[str, Any] = field(default_factory=dict)
    surfaced: set[str] = field(default_factory=set)
    kills: int = 0

    def play(self) -> None:
        todo = []
        for index in range(self.chance.randint(1, 2)):
            source, expected = random_plan(self.chance, NAMES, self.language)
            name = f"plan-{index}.{self.language}"
            self.expected[name] = expected
            todo.append((name, source))
        for round_number in range(SESSIONS_A_SCENARIO):
            kill = self._random_kill() if round_number < SESSIONS_A_SCENARIO - 5 else None
            answer = self._session(todo, kill)
            if answer["killed"]:
                assert kill is not None
                self.tally.kills[f"{kill[0]} {kill[1]}"] += 1
                self.kills += 1
            todo = self._not_accepted(todo, answer["reports"])
            if not todo and self._finished(answer):
                return
        pytest.fail(f"the plans did not end: {answer}")

    def _random_kill(self) -> tuple[str, str, int]:
        """Mostly a point that this session is about to reach, one that was rarely hit so far."""
        points = BEGINNING if self.kills < 2 else RESOLVING if self.kills < 6 else WORKING
        some = self.chance.sample(
            [(name, phase) for name in points for phase in ("before", "after")], 3
        )
        name, phase = min(some, key=lambda one: self.tally.kills[f"{one[0]} {one[1]}"])
        return name, phase, self.chance.choice((1, 1, 1, 2))

    def _session(self, todo: list[Any], kill: Any) -> dict[str, Any]:
        self.tally.sessions += 1
        answer = self.zygote.session(
            {
                "environ": self.environ,
                "plans": todo,
                "kill": kill,
                "decisions": self.decided,
            }
        )
        assert answer["killed"] or answer["status"] == 0, answer
        return answer

    def _not_accepted(self, todo: list[Any], reports: list[dict[str, Any]]) -> list[Any]:
        """Plans of which no answer came; their caller starts them again."""
        # What was found out before this session may not hold any more: a call may have been made.
        self.decided = {}
        for report in reports:
            if "plan" in report:
                self.accepted[report["plan"]] = report["execution"]
            if "unknown" in report:
                self._learn(report["unknown"])
        return [item for item in todo if item[0] not in self.accepted]

    def _learn(self, key: str) -> None:
        """Find out at the service what became of an unknown call, as a person would."""
        happened = self.service.happened(key)
        assert happened <= 1
        if key not in self.surfaced:
            self.surfaced.add(key)
            self.tally.unknown += 1
        self.decided[key] = {"bumped": self.service.numbers[key]} if happened else None

    def _finished(self, answer: dict[str, Any]) -> bool:
        if answer["killed"]:
            return False
        reports = answer["reports"]
        (audit,) = [report for report in reports if "audit" in report]
        assert audit["audit"], audit
        assert not [report for report in reports if "failed" in report], reports
        completed = {one["completed"]: one for one in reports if "completed" in one}
        for name, execution in self.accepted.items():
            if execution not in completed:
                return False
            assert completed[execution]["value"] == self.expected[name]
        if any("open" in report for report in reports):
            return False
        self.tally.plans += len(completed)
        return True


@pytest.mark.parametrize(
    ("backend", "language", "kills"),
    [("sqlite", "py", KILLS), ("postgresql", "py", KILLS), ("sqlite", "rn", KILLS // 4)],
)
def test_kills_lose_nothing_and_repeat_nothing(
    backend: str,
    language: str,
    kills: int,
    zygote: Zygote,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    tally = Tally()
    chance = random.Random(f"kills of {language} on {backend}")
    number = 0
    while sum(tally.kills.values()) < kills or tally.lacks():
        number += 1
        assert number <= SCENARIOS, tally.lacks()
        home = tmp_path / str(number)
        (home / "apis").mkdir(parents=True)
        service = CountingService()
        with service.running():
            document = service.description(NAMES)
            (home / "apis" / "counter.json").write_text(json.dumps(document))
            environ = {
                "CCOS_HOME": str(home),
                "CCOS_MISSING_CAPABILITY_ENABLED": "true",
                "CCOS_AUTO_RESOLUTION": "true",
                "CCOS_AUTO_RESUME_ENABLED": "true",
                "CCOS_IMPORTERS_ENABLED": "true",
                "CCOS_MCP_REGISTRY_ENABLED": "false",
                "CCOS_HUMAN_APPROVAL_REQUIRED": "false",
                "CCOS_EGRESS_PRIVATE_HOSTS": f"127.0.0.1:{service.port}",
            }
            if backend == "postgresql":
                server: PostgresServer = request.getfixturevalue("postgres")
                environ["CCOS_DATABASE_URL"] = server.create_database()
            Scenario(environ, service, chance, zygote, tally, language).play()
            service.come_to_rest()
        doubled = {key: count for key, count in service.effects.items() if count > 1}
        assert not doubled
        tally.effects += len(service.effects)
    done = sum(tally.kills.values())
    print(f"\n{language} on {backend}: {done} kills in {tally.sessions} sessions,")
    print(f"{tally.plans} plans, {tally.effects} effects, {tally.unknown} unknown outcomes")
    for point, count in sorted(tally.kills.items()):
        print(f"  {point:20} {count}")
