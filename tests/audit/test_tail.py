"""A look at the newest entries and the head finds what is there to be found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audit.installation import KEY, Installation, Row
from ccos.audit import HeadFile, Verification
from ccos.audit.tail import verify_tail
from ccos.errors import AuditError
from ccos.keys import LocalKey


def tail(installation: Installation, count: int = 5, key: LocalKey = KEY) -> Verification:
    head = HeadFile(installation.head, key)
    return installation.storage.read_blocking(
        lambda connection: verify_tail(connection, head, count=count)
    )


def change(rows: list[Row], seq: int, **fields: object) -> list[Row]:
    return [{**row, **fields} if row["seq"] == seq else row for row in rows]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 20])
def test_an_intact_tail(installation: Installation, count: int) -> None:
    installation.append(installation.trail(), count)
    assert tail(installation) == Verification(min(count, 5), None, "", count)


@pytest.mark.parametrize(
    ("tamper", "first_bad"),
    [
        (lambda rows: change(rows, 10, actor="x"), 10),
        (lambda rows: change(rows, 7, data="{"), 7),
        (lambda rows: [row for row in rows if row["seq"] != 8], 8),
        (lambda rows: rows[:-1], 10),
        (lambda rows: [], 1),
        (lambda rows: change(rows, 8, prev_hash="sha256:x"), 8),
    ],
)
def test_a_changed_tail(
    installation: Installation, tamper: Callable[[list[Row]], list[Row]], first_bad: int
) -> None:
    installation.append(installation.trail(), 10)
    installation.replace(tamper(installation.rows()))
    found = tail(installation)
    assert (found.first_bad, found.head_seq) == (first_bad, 10)
    assert found.problem
    full = installation.verify()
    assert full.first_bad == first_bad


def test_what_lies_before_is_left_to_the_whole_check(installation: Installation) -> None:
    installation.append(installation.trail(), 10)
    installation.replace(change(installation.rows(), 5, actor="x"))
    assert tail(installation).intact
    assert tail(installation, count=6).first_bad == 5
    assert installation.verify().first_bad == 5


def test_a_head_that_is_not_in_the_tail_is_found_all_the_same(installation: Installation) -> None:
    trail = installation.trail()
    installation.append(trail, 3)
    kept = installation.head.read_bytes()
    installation.append(trail, 10)
    installation.head.write_bytes(kept)
    assert tail(installation).intact
    installation.replace(change(installation.rows(), 3, hash="sha256:x"))
    assert tail(installation).first_bad == 3


def test_a_head_that_is_gone_damaged_or_of_another_key(
    installation: Installation, tmp_path: Path
) -> None:
    installation.append(installation.trail(), 3)
    assert tail(installation, key=LocalKey(b"x" * 32)).first_bad == 3
    installation.head.write_bytes(b"{}")
    with pytest.raises(AuditError, match="damaged"):
        tail(installation)
    installation.head.unlink()
    assert tail(installation).first_bad == 3
