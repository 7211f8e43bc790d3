"""Versions, and which changes of a schema break whom."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import (
    Comparison,
    breaking_input_changes,
    breaking_output_changes,
    compare_versions,
    parse_version,
)
from ccos.errors import InvalidManifestError

STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}


def schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1.0.0", "1.0.0", Comparison.EQUAL),
        ("1.0", "1.0.0", Comparison.EQUAL),
        ("1", "1.0.0", Comparison.EQUAL),
        ("1.0.0+a", "1.0.0+b", Comparison.EQUAL),
        ("1.0.0", "1.0.1", Comparison.PATCH),
        ("1.0.9", "1.0.10", Comparison.PATCH),
        ("1.0.0-alpha", "1.0.0-beta", Comparison.PATCH),
        ("1.0.0-rc.1", "1.0.0", Comparison.PATCH),
        ("1.0.9", "1.1.0", Comparison.MINOR),
        ("1.9.9", "2.0.0", Comparison.MAJOR),
        ("2.0.0", "1.9.9", Comparison.DOWNGRADE),
        ("1.0.0", "1.0.0-rc.1", Comparison.DOWNGRADE),
        ("1.0.1", "1.0.0", Comparison.DOWNGRADE),
    ],
)
def test_step_between_versions(old: str, new: str, expected: Comparison) -> None:
    assert compare_versions(old, new) is expected


@pytest.mark.parametrize(
    "text", ["", "v1", "1.0.0.0", "01.0.0", "latest", "1.0.x", "-1.0.0", "١.0.0"]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidManifestError):
        parse_version(text)


@pytest.mark.parametrize(
    ("old", "new", "places"),
    [
        (schema(a=STRING), schema(a=STRING), []),
        (schema(a=STRING), schema(a=STRING, b=STRING), []),
        (schema(a=STRING), schema(("b",), a=STRING, b=STRING), ["/b"]),
        (schema(a=STRING), schema(("a",), a=STRING), ["/a"]),
        (schema(("a",), a=STRING), schema(a=STRING), []),
        (schema(a=STRING, b=STRING), schema(a=STRING), ["/b"]),
        (schema(a=STRING), schema(a=INTEGER), ["/a"]),
        (schema(a=INTEGER), schema(a=NUMBER), []),
        (schema(a=NUMBER), schema(a=INTEGER), ["/a"]),
        (schema(a={**INTEGER, "maximum": 9}), schema(a=INTEGER), []),
        (schema(a=INTEGER), schema(a={**INTEGER, "maximum": 9}), ["/a"]),
        (schema(a={"enum": [1]}), schema(a={"enum": [1, 2]}), []),
        (schema(a={"enum": [1, 2]}), schema(a={"enum": [1]}), ["/a"]),
        (schema(a=STRING), schema(a={"type": ["string", "null"]}), []),
        (schema(a=True), schema(a=STRING), ["/a"]),
        (schema(a=STRING), schema(a=True), []),
        (True, True, []),
        (True, False, [""]),
        (False, True, []),
        ({}, {"type": "object"}, [""]),
        (schema(a=STRING), {"type": "object"}, ["/a"]),
    ],
)
def test_what_breaks_callers(old: Any, new: Any, places: list[str]) -> None:
    assert [change.path for change in breaking_input_changes(old, new)] == places


@pytest.mark.parametrize(
    ("old", "new", "places"),
    [
        (None, None, []),
        (None, schema(a=STRING), []),
        (schema(a=STRING), None, [""]),
        (schema(a=STRING), schema(a=STRING, b=STRING), []),
        (schema(a=STRING, b=STRING), schema(a=STRING), ["/b"]),
        (schema(("a",), a=STRING), schema(a=STRING), ["/a"]),
        (schema(a=STRING), schema(("a",), a=STRING), []),
        (schema(a=INTEGER), schema(a=NUMBER), ["/a"]),
        (schema(a=NUMBER), schema(a=INTEGER), []),
        (True, {"type": "object"}, []),
        ({"type": "object"}, True, [""]),
    ],
)
def test_what_breaks_readers(old: Any, new: Any, places: list[str]) -> None:
    assert [change.path for change in breaking_output_changes(old, new)] == places


def test_definitions_behind_references_count() -> None:
    def with_definition(definition: dict[str, Any]) -> dict[str, Any]:
        return {**schema(a={"$ref": "#/$defs/a"}), "$defs": {"a": definition}}

    wide, narrow = with_definition(NUMBER), with_definition(INTEGER)
    assert breaking_input_changes(wide, wide) == ()
    assert breaking_input_changes(narrow, wide) == ()
    assert [change.path for change in breaking_input_changes(wide, narrow)] == ["/a"]


def test_change_that_cannot_be_judged_counts_as_breaking() -> None:
    odd = schema(a={"type": "string", "pattern": "("})
    assert breaking_input_changes(odd, odd) == ()
    assert [change.path for change in breaking_input_changes(odd, schema(a=STRING))] == ["/a"]


@pytest.mark.parametrize("malformed", [{"properties": []}, {"required": "a"}, {"required": [1]}])
def test_malformed_schemas_are_compared_all_the_same(malformed: dict[str, Any]) -> None:
    breaking_input_changes(malformed, schema(a=STRING))
    breaking_output_changes(schema(a=STRING), malformed)
