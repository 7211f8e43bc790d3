"""Schemas: compiled offline, bounded in size, depth and time."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import Fault, SchemaValidator
from ccos.capabilities.schemas import MAXIMUM_BYTES, MAXIMUM_DEPTH
from ccos.errors import InvalidManifestError

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "a/b~c": {"type": "array", "items": {"minimum": 3}}},
    "required": ["city"],
}


def test_faults_are_named_with_their_place() -> None:
    validator = SchemaValidator(CITY)
    assert validator.accepts({"city": "Paris"})
    assert validator.faults({"city": "Paris"}) == ()
    (missing,) = validator.faults({})
    assert missing.path == ""
    assert "city" in missing.message
    (nested,) = validator.faults({"city": "Paris", "a/b~c": [5, 1]})
    assert nested == Fault("/a~1b~0c/1", nested.message)
    assert not validator.accepts({})


def test_only_the_first_faults_are_listed() -> None:
    validator = SchemaValidator({"items": {"type": "string"}})
    assert len(validator.faults(list(range(1000)))) == 10


@pytest.mark.parametrize(("schema", "accepted"), [(True, True), (False, False), ({}, True)])
def test_trivial_schemas(schema: Any, accepted: bool) -> None:
    assert SchemaValidator(schema).accepts({"any": 1}) is accepted


def test_references_within_the_schema_work() -> None:
    validator = SchemaValidator({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})
    assert validator.accepts(3)
    assert not validator.accepts("3")


def test_schema_that_refers_to_itself_works() -> None:
    validator = SchemaValidator(
        {"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False}
    )
    assert validator.accepts({"child": {"child": {}}})
    assert not validator.accepts({"child": {"other": 1}})


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$schema"])
def test_nothing_is_ever_fetched(keyword: str, tmp_path: Path) -> None:
    contacted = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)

        def watch() -> None:
            try:
                server.accept()[0].close()
                contacted.set()
            except TimeoutError:
                pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        file = tmp_path / "schema.json"
        file.write_text('{"type": "integer"}')
        for address in (f"http://127.0.0.1:{server.getsockname()[1]}/x", file.as_uri()):
            with pytest.raises(InvalidManifestError):
                SchemaValidator({keyword: address})
        watcher.join()
    assert not contacted.is_set()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^(a+)+$", "a" * 40 + "!"),
        (r"^(a|a)*$", "a" * 40 + "!"),
        (r"^(\w+\s?)*\1$", "word " * 20 + "!"),
        (r"(?=(a+)+$)b", "a" * 40 + "!"),
    ],
)
def test_catastrophic_pattern_ends_soon_and_does_not_match(pattern: str, text: str) -> None:
    validator = SchemaValidator({"type": "string", "pattern": pattern})
    started = time.perf_counter()
    assert not validator.accepts(text)
    assert validator.faults(text)
    assert time.perf_counter() - started < 2


def test_ordinary_pattern_matches() -> None:
    validator = SchemaValidator({"type": "string", "pattern": r"^(?=.*\d)[a-z\d]+$"})
    assert validator.accepts("abc1")
    assert not validator.accepts("abc")


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


def test_depth_is_bounded() -> None:
    SchemaValidator(nested(MAXIMUM_DEPTH - 1))
    with pytest.raises(InvalidManifestError, match="deeper than 64"):
        SchemaValidator(nested(MAXIMUM_DEPTH))
    with pytest.raises(InvalidManifestError, match="deeper than 64"):
        SchemaValidator(nested(100_000))
    with pytest.raises(InvalidManifestError, match="deeper"):
        SchemaValidator({"enum": [[[]] * 3, nested(100)]})


def test_size_is_bounded() -> None:
    SchemaValidator({"description": "x" * (MAXIMUM_BYTES - 100)})
    with pytest.raises(InvalidManifestError, match="at most 1000000"):
        SchemaValidator({"description": "x" * MAXIMUM_BYTES})


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "string",
        {"type": "integr"},
        {"properties": []},
        {"pattern": "("},
        {"minimum": float("nan")},
        {"default": object()},
        {"$ref": "#/$defs/none"},
        {"$schema": "https://example.com/unheard-of"},
    ],
)
def test_what_is_no_schema_is_refused_by_its_role(schema: Any) -> None:
    with pytest.raises(InvalidManifestError, match="output schema"):
        SchemaValidator(schema, role="output schema")


@pytest.mark.parametrize(
    "dialect",
    [
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-04/schema#",
    ],
)
def test_known_dialects_need_no_network(dialect: str) -> None:
    assert SchemaValidator({"$schema": dialect, "type": "integer"}).accepts(3)
