"""Whatever is done to the stored trail is found, and the first bad entry is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.audit import Head, HeadFile
from ccos.canonical import content_hash
from ccos.keys import LocalKey

from .installation import Installation, Row

COUNT = 6
OTHER_HASH = "sha256:" + "1" * 64

indices = st.integers(0, COUNT - 1)
a_few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

Change = tuple[str, Callable[[list[Row]], list[Row]], int]
"""What is done, how, and the number of the first entry that is bad afterwards."""


def _numbered(rows: list[Row]) -> list[Row]:
    return [{**row, "seq": number} for number, row in enumerate(rows, start=1)]


def _chained(rows: list[Row]) -> list[Row]:
    """The rows as a chain without a flaw, as somebody could build who knows the rules."""
    previous = "sha256:" + "0" * 64
    done = []
    for row in _numbered(rows):
        content = {**row, "prev_hash": previous}
        del content["hash"]
        previous = content_hash(content)
        done.append({**content, "hash": previous})
    return done


@st.composite
def edits(draw: st.DrawFn) -> Change:
    index = draw(indices)
    field, value = draw(
        st.sampled_from(
            [
                ("timestamp", "2020-01-01T00:00:00.000000+00:00"),
                ("event_type", "capability_removed"),
                ("capability_id", "x.y"),
                ("execution_id", ""),
                ("actor", "nobody"),
                ("data", "{}"),
                ("data", '{"n": 0}'),
                ("data", '{"n":0,"n":0}'),
                ("data", "not JSON"),
                ("prev_hash", OTHER_HASH),
                ("hash", OTHER_HASH),
            ]
        )
    )

    def change(rows: list[Row]) -> list[Row]:
        rows[index][field] = value
        return rows

    return f"edit {field} of {index}", change, index + 1


@st.composite
def resealed_edits(draw: st.DrawFn) -> Change:
    index = draw(indices)

    def change(rows: list[Row]) -> list[Row]:
        del rows[index]["hash"]
        rows[index]["actor"] = "forger"
        rows[index]["hash"] = content_hash(rows[index])
        return rows

    # The entry holds for itself; the next one does not continue it, and the last is signed.
    return f"edit {index} and its hash", change, min(index + 2, COUNT)


@st.composite
def removals(draw: st.DrawFn) -> Change:
    first = draw(indices)
    last = draw(st.integers(first, COUNT - 1))
    return (
        f"remove {first} to {last}",
        lambda rows: rows[:first] + rows[last + 1 :],
        first + 1,
    )


@st.composite
def renumbered_removals(draw: st.DrawFn) -> Change:
    index = draw(indices)
    return (
        f"remove {index} and close the gap",
        lambda rows: _numbered(rows[:index] + rows[index + 1 :]),
        index + 1,
    )


@st.composite
def reorderings(draw: st.DrawFn) -> Change:
    order = draw(st.permutations(range(COUNT)).filter(lambda one: one != list(range(COUNT))))
    first = next(place for place, index in enumerate(order) if place != index)
    return f"reorder {order}", lambda rows: _numbered([rows[i] for i in order]), first + 1


@st.composite
def duplications(draw: st.DrawFn) -> Change:
    source, place = draw(indices), draw(st.integers(0, COUNT))

    def change(rows: list[Row]) -> list[Row]:
        return _numbered([*rows[:place], copy.deepcopy(rows[source]), *rows[place:]])

    # The copy that comes first stands where its original would, if it is put right before it.
    return f"repeat {source} at {place}", change, place + 1 + (source == place)


@st.composite
def insertions(draw: st.DrawFn) -> Change:
    place = draw(indices)

    def change(rows: list[Row]) -> list[Row]:
        previous = rows[place - 1]["hash"] if place else "sha256:" + "0" * 64
        forged = {**rows[0], "actor": "forger", "seq": place + 1, "prev_hash": previous}
        del forged["hash"]
        forged["hash"] = content_hash(forged)
        return _numbered([*rows[:place], forged, *rows[place:]])

    # The forged entry continues the chain; what follows it does not, and the head is fixed.
    return f"insert at {place}", change, min(place + 2, COUNT)


@st.composite
def rebuilt_tables(draw: st.DrawFn) -> Change:
    index = draw(indices)
    more = draw(st.integers(0, 3))

    def change(rows: list[Row]) -> list[Row]:
        rows[index]["actor"] = "somebody else"
        return _chained(rows + rows[:more])

    return f"rebuild after an edit of {index}, and add {more}", change, COUNT


changes = st.one_of(
    edits(),
    resealed_edits(),
    removals(),
    renumbered_removals(),
    reorderings(),
    duplications(),
    insertions(),
    rebuilt_tables(),
)


def test_every_change_of_the_table_is_found(installation: Installation) -> None:
    installation.append(installation.trail(), COUNT)
    original = installation.rows()

    @a_few
    @given(changes)
    def check(change: Change) -> None:
        _, make, first_bad = change
        installation.replace(make(copy.deepcopy(original)))
        found = installation.verify()
        assert (found.intact, found.first_bad) == (False, first_bad), found
        assert found.problem
        assert found.head_seq == COUNT
        installation.replace(original)
        assert installation.verify().intact

    check()


@pytest.mark.parametrize("seq", [0, -7])
def test_entry_before_the_first_is_found(installation: Installation, seq: int) -> None:
    installation.append(installation.trail(), 2)
    rows = installation.rows()
    installation.replace([{**rows[0], "seq": seq}, *rows])
    assert installation.verify().first_bad == 1


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", ["actor", "data", "timestamp"])
def test_text_made_bytes_is_found(installation: Installation, column: str) -> None:
    installation.append(installation.trail(), 3)
    statement = sa.text(f"UPDATE audit_entries SET {column} = CAST({column} AS BLOB) WHERE seq = 2")
    installation.storage.write_blocking(
        "tamper", lambda transaction: transaction.execute(statement)
    )
    assert installation.verify().first_bad == 2


def test_untouched_trail_verifies(installation: Installation) -> None:
    trail = installation.trail()
    assert installation.verify().intact
    installation.append(trail, COUNT)
    found = installation.verify()
    assert (found.intact, found.entries, found.head_seq) == (True, COUNT, COUNT)
    assert (found.first_bad, found.problem) == (None, "")


@pytest.mark.parametrize("kept", [0, 1, COUNT - 1])
def test_cut_tail_is_found_even_after_it_was_written_on(
    installation: Installation, kept: int
) -> None:
    running = installation.trail()
    installation.append(running, COUNT)
    installation.replace(installation.rows()[:kept])
    assert installation.verify().first_bad == kept + 1
    installation.append(running, 1)
    assert not installation.verify().intact
    installation.append(installation.trail(), COUNT + 3)
    found = installation.verify()
    assert found.head_seq == COUNT
    assert found.first_bad == COUNT
    assert "not the one that was signed" in found.problem


def test_process_that_did_not_see_the_tail_notices_that_it_is_gone(
    installation: Installation,
) -> None:
    first, second = installation.trail(), installation.trail()
    installation.append(first, 2)
    installation.append(second, 5)
    installation.replace(installation.rows()[:4])
    installation.append(first, 10)
    found = installation.verify()
    assert (found.first_bad, found.head_seq) == (7, 7)


def test_table_and_its_rows_gone_is_found(installation: Installation) -> None:
    installation.append(installation.trail(), 3)
    installation.replace([])
    found = installation.verify()
    assert (found.first_bad, found.problem) == (1, "Entries 1 to 3 were cut off.")


def test_head_of_another_installation_is_found(installation: Installation) -> None:
    installation.append(installation.trail(), 3)
    stranger = LocalKey(b"s" * 32)
    installation.head.unlink()
    last = installation.rows()[-1]
    HeadFile(installation.head, stranger).advance(Head(last["seq"], last["hash"]))
    found = installation.verify()
    assert found.first_bad == 3
    assert "signature" in found.problem


def test_head_with_other_content_is_found(installation: Installation) -> None:
    installation.append(installation.trail(), 3)
    record = json.loads(installation.head.read_bytes())
    genuine = installation.head.read_bytes()
    for name, value in (("seq", 2), ("hash", OTHER_HASH), ("signature", "00" * 64)):
        installation.head.write_text(json.dumps({**record, name: value}))
        assert not installation.verify().intact, name
    installation.head.write_bytes(genuine)
    assert installation.verify().intact


def test_head_of_an_older_state_of_another_chain_is_found(installation: Installation) -> None:
    installation.append(installation.trail(), 3)
    old = installation.head.read_bytes()
    installation.append(installation.trail(), 2)
    rebuilt = installation.rows()
    rebuilt[0]["actor"] = "somebody else"
    installation.replace(_chained(rebuilt))
    installation.head.write_bytes(old)
    assert installation.verify().first_bad == 3


def test_missing_head_is_found_while_running_and_afterwards(installation: Installation) -> None:
    running = installation.trail()
    installation.append(running, 3)
    installation.head.unlink()
    installation.append(running, 2)
    found = installation.verify()
    assert found.first_bad == 5
    assert "missing" in found.problem
    installation.append(installation.trail(), 1)
    assert not installation.head.exists()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"seq":1', b'{"seq":1,"hash":"x","signature":3}']
)
def test_damaged_head_is_a_finding_and_stops_nothing(
    installation: Installation, content: bytes
) -> None:
    running = installation.trail()
    installation.append(running, 2)
    installation.head.write_bytes(content)
    installation.append(running, 1)
    found = installation.verify()
    assert found.first_bad == 3
    assert "damaged" in found.problem
    assert found.entries == 3


def test_many_pages_are_verified(installation: Installation, monkeypatch: Any) -> None:
    monkeypatch.setattr("ccos.audit.trail._PAGE", 2)
    installation.append(installation.trail(), 7)
    assert installation.verify().entries == 7
    installation.replace(installation.rows()[:4] + installation.rows()[5:])
    assert installation.verify().first_bad == 5
