from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import Difference, differences


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [Difference("/a", 1, True)]),
        ({"a": {"b/c": [1, 2]}}, {"a": {"b/c": [1, 3]}}, [Difference("/a/b~1c/1", 2, 3)]),
        ({"a": 1}, {"b~": 1}, [Difference("/a", 1, None), Difference("/b~0", None, 1)]),
        ({"a": [1]}, {"a": [1, 2]}, [Difference("/a", [1], [1, 2])]),
        (None, {}, [Difference("", None, {})]),
    ],
)
def test_the_smallest_parts_that_differ(before: Any, after: Any, expected: Any) -> None:
    assert list(differences(before, after)) == expected


def test_there_is_an_end() -> None:
    assert len(differences({}, {str(number): 1 for number in range(1_000)})) == 200
