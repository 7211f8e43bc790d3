"""What is written to the trail, when, and by whom."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccos.audit import HeadFile
from ccos.errors import AuditError, CcosError
from ccos.events import Event, EventBus, EventType
from ccos.storage import Transaction

from .installation import KEY, Installation

CALL = EventType.CAPABILITY_CALL

APPENDING = """
import asyncio, sys
from pathlib import Path
from ccos.audit import AuditTrail, HeadFile
from ccos.events import Event, EventBus, EventType
from ccos.keys import LocalKey
from ccos.storage import Storage

async def main(url, head, name):
    async with Storage(url) as storage:
        trail = AuditTrail(storage, EventBus(), HeadFile(Path(head), LocalKey(b"k" * 32)))
        await trail.start()
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(40):
            await trail.append(Event(EventType.CAPABILITY_CALL, actor=name, data={"n": number}))

asyncio.run(main(*sys.argv[1:]))
"""


def test_anybody_can_recompute_a_hash(installation: Installation) -> None:
    event = Event(
        CALL, "weather.current", "run1", "agent", {"city": "Zürich", "at": [1, 2.0]}, 1795255200.5
    )
    asyncio.run(installation.trail().append(event))
    (row,) = installation.rows()
    # RFC 8785 for this entry: members in the order of their names, no blanks, nothing escaped
    # but quotes in text. The member `data` is itself text: the event's data in the same form.
    data = '{"at":[1,2],"city":"Zürich"}'
    written = (
        '{"actor":"agent","capability_id":"weather.current",'
        f'"data":"{data.replace(chr(34), chr(92) + chr(34))}",'
        '"event_type":"capability_call","execution_id":"run1",'
        f'"prev_hash":"sha256:{"0" * 64}","seq":1,'
        '"timestamp":"2026-11-21T10:00:00.500000+00:00"}'
    )
    assert row["data"] == data
    assert row["hash"] == "sha256:" + hashlib.sha256(written.encode()).hexdigest()


@pytest.mark.parametrize("number", [2**53, 1e17, 2**63 - 1, 1e300, -(10**30), 0.1])
def test_numbers_of_any_size_verify(installation: Installation, number: float) -> None:
    asyncio.run(installation.trail().append(Event(CALL, data={"n": number})))
    assert installation.verify().intact


def test_crash_between_the_commit_and_the_head_is_no_alarm(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = installation.trail()
    installation.append(crashing, 2)
    with monkeypatch.context() as patch:
        patch.setattr(HeadFile, "advance", lambda *_: None)
        installation.append(crashing, 3)
    found = installation.verify()
    assert (found.intact, found.entries, found.head_seq) == (True, 5, 2)
    installation.append(installation.trail(), 1)
    found = installation.verify()
    assert (found.intact, found.entries, found.head_seq) == (True, 6, 6)


def test_processes_that_write_at_once_keep_one_chain(installation: Installation) -> None:
    installation.trail()
    url = installation.storage.url.render_as_string(hide_password=False)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDING, url, str(installation.head), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=60)
        assert process.returncode == 0
    found = installation.verify()
    assert (found.intact, found.entries, found.head_seq) == (True, 80, 80)
    rows = installation.rows()
    for name in ("first", "second"):
        numbers = [json.loads(row["data"])["n"] for row in rows if row["actor"] == name]
        assert numbers == list(range(40))


def test_entries_stand_or_fall_with_the_write_they_belong_to(installation: Installation) -> None:
    bus = EventBus()
    trail = installation.trail(bus=bus)

    async def main() -> list[Event]:
        subscription = bus.subscribe()

        def failing(transaction: Transaction) -> None:
            trail.record(transaction, Event(CALL, "never"))
            raise CcosError("no")

        with pytest.raises(CcosError):
            await installation.storage.write("x", failing)
        await trail.append(Event(CALL, "one"), Event(CALL, "two"))
        subscription.close()
        return [event async for event in subscription]

    assert [event.capability_id for event in asyncio.run(main())] == ["one", "two"]
    assert [row["capability_id"] for row in installation.rows()] == ["one", "two"]
    assert installation.verify().intact


def test_switched_off_trail_writes_nothing_and_publishes_all_the_same(
    installation: Installation,
) -> None:
    bus = EventBus()
    trail = installation.trail(bus=bus, enabled=False)

    async def main() -> list[Event]:
        subscription = bus.subscribe()
        await trail.append(Event(CALL, "one"))
        subscription.close()
        return [event async for event in subscription]

    assert [event.capability_id for event in asyncio.run(main())] == ["one"]
    assert installation.rows() == []
    assert installation.verify().intact


def test_clock_that_goes_backwards_is_harmless(installation: Installation) -> None:
    trail = installation.trail()
    for at in (2_000_000_000.0, 1_000_000_000.0, 0.0, -1.5):
        installation.append(trail, 1, at=at)
    assert installation.verify().intact
    assert [row["timestamp"][:4] for row in installation.rows()] == ["2033", "2001", "1970", "1969"]


def test_tail_gives_the_newest_in_their_order(installation: Installation) -> None:
    trail = installation.trail()
    installation.append(trail, 5)
    installation.append(trail, 2)
    assert [entry.seq for entry in asyncio.run(trail.tail(3))] == [5, 6, 7]
    of_one = asyncio.run(trail.tail(10, execution_id="e1"))
    assert [entry.seq for entry in of_one] == [2, 7]
    assert of_one[0].data == {"n": 1}
    assert asyncio.run(trail.tail(10, execution_id="none")) == []


@pytest.mark.parametrize("text", ["not JSON", "[" * 100_000])
def test_tail_names_an_entry_that_cannot_be_read(installation: Installation, text: str) -> None:
    trail = installation.trail()
    installation.append(trail, 2)
    rows = installation.rows()
    rows[1]["data"] = text
    installation.replace(rows)
    with pytest.raises(AuditError, match="Entry 2"):
        asyncio.run(trail.tail(5))
    assert installation.verify().first_bad == 2


def test_nothing_secret_reaches_the_table(installation: Installation) -> None:
    secret = "hunter2-very-secret"
    data: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {secret}", "Accept": "text/plain"},
        "items": [{"api_key": secret}, f"https://user:{secret}@example.com/"],
    }
    asyncio.run(installation.trail().append(Event(CALL, data=data)))
    (row,) = installation.rows()
    assert secret not in json.dumps(row)
    assert json.loads(row["data"])["headers"]["Accept"] == "text/plain"


def test_installation_that_joins_a_written_database_adopts_it(
    installation: Installation, tmp_path: Path
) -> None:
    installation.append(installation.trail(), 3)
    joining = Installation(installation.storage, tmp_path / "other" / "head.json")
    trail = joining.trail()
    assert not joining.verify().intact
    assert asyncio.run(trail.adopt()).intact
    joining.append(trail, 2)
    found = joining.verify()
    assert (found.intact, found.head_seq) == (True, 5)


def test_what_does_not_hold_is_not_adopted(installation: Installation) -> None:
    trail = installation.trail()
    installation.append(trail, 3)
    rows = installation.rows()
    rows[1]["actor"] = "forger"
    installation.replace(rows)
    assert asyncio.run(trail.adopt()).first_bad == 2
    installation.append(trail, 1)
    assert installation.verify().first_bad == 2
    installation.head.unlink()
    assert asyncio.run(installation.trail().adopt()).first_bad == 2
    assert not installation.head.exists()


def test_head_file_only_moves_forward(installation: Installation) -> None:
    installation.append(installation.trail(), 3)
    before = HeadFile(installation.head, KEY).read()
    assert before is not None
    first = installation.rows()[0]
    HeadFile(installation.head, KEY).advance(type(before)(1, first["hash"]))
    assert HeadFile(installation.head, KEY).read() == before
    assert installation.head.stat().st_size <= 512
