"""The exception tree: codes, next steps, and the drawing of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from ccos import errors
from ccos.errors import CcosError, StorageError


def _tree(root: type[CcosError]) -> Iterator[type[CcosError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


# Other modules may derive errors for their own use; the drawing is of this one.
CLASSES = [one for one in _tree(CcosError) if one.__module__ == errors.__name__]


def test_every_code_is_unique_and_its_own() -> None:
    assert all("code" in vars(one) for one in CLASSES)
    codes = [one.code for one in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", CLASSES, ids=lambda one: one.__name__)
def test_every_error_tells_programs_and_people_what_happened(error: type[CcosError]) -> None:
    raised = error("Something is wrong.", details={"name": "x"})
    assert re.fullmatch(r"CCOS(-[A-Z]+)+", raised.code)
    assert str(raised) == "Something is wrong."
    assert re.fullmatch(r".{20,}\.", raised.next_step)
    assert json.loads(json.dumps(raised.as_dict())) == {
        "code": error.code,
        "message": "Something is wrong.",
        "next_step": error.default_next_step,
        "details": {"name": "x"},
    }
    assert error.__doc__


def test_next_step_of_the_one_place_goes_before_the_general_one() -> None:
    assert StorageError("x", next_step="Do this.").next_step == "Do this."
    assert StorageError("x").next_step == StorageError.default_next_step
    assert StorageError("x").details == {}


def test_drawing_of_the_tree_is_the_tree() -> None:
    drawn = [
        (len(branches) // 4, name)
        for branches, name in re.findall(
            r"^    ([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE
        )
    ]

    def real(error: type[CcosError], depth: int) -> Iterator[tuple[int, str]]:
        yield depth, error.__name__
        for child in error.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from real(child, depth + 1)

    assert drawn == list(real(CcosError, 0))
