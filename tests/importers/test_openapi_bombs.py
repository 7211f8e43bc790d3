"""Documents that are made to use up a machine end quickly, in an answer or a clear error."""

from __future__ import annotations

import json
import resource
import time
from typing import Any

import pytest

from ccos.errors import CcosError, ImportDocumentError
from ccos.importers.openapi import ImportedApi, findings, import_openapi, read_document
from ccos.importers.openapi.findings import Effort

WHERE = "bomb"


def document(schemas: Any, **fields: Any) -> bytes:
    media = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}}
    operation = {"requestBody": media, "responses": {"200": media}}
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Bomb"},
            "servers": [{"url": "https://a.example"}],
            "paths": {"/x": {"post": operation}},
            "components": {"schemas": schemas},
            **fields,
        }
    ).encode()


def place(number: int) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/S{number}"}


def yaml_bomb(lines: list[str]) -> bytes:
    return ("openapi: 3.0.0\npaths: {}\n" + "\n".join(lines)).encode()


def aliases(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)
    ]
    return yaml_bomb(lines)


def merges(levels: int) -> bytes:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for level in range(1, levels):
        fields = ", ".join(f"k{level}_{number}: *a{level - 1}" for number in range(10))
        lines.append(f"a{level}: &a{level} {{{fields}, <<: *a{level - 1}}}")
    return yaml_bomb(lines)


def merged_lists(number: int) -> bytes:
    bases = [
        f"b{i}: &b{i} {{{', '.join(f'k{i}_{j}: 1' for j in range(100))}}}" for i in range(number)
    ]
    return yaml_bomb([*bases, f"all: {{<<: [{', '.join(f'*b{i}' for i in range(number))}]}}"])


VALUES = [f"v{number}" for number in range(100_000)]
REFUSED = {
    "aliases": aliases(9),
    "merges": merges(9),
    "merged lists": merged_lists(2_000),
    "deep JSON": b'{"a":' * 200_000,
    "deep YAML": b"- " * 200_000,
    "deep flow": b"{a: " * 200_000,
    "empty lists": b'{"openapi":"3.0.0","paths":{},"x":[' + b"[]," * 1_500_000 + b"0]}",
    "operations": document({}, paths={f"/x{number}": {"get": {}} for number in range(30_000)}),
    "references to nowhere": document(
        {"S0": {"properties": {f"p{i}": {"$ref": f"#/nowhere/{i}"} for i in range(20_000)}}}
    ),
    "an enumeration in every operation": document(
        {},
        components={"parameters": {"p": {"name": "q", "in": "query", "schema": {"enum": VALUES}}}},
        paths={
            f"/x{i}": {"get": {"parameters": [{"$ref": "#/components/parameters/p"}]}}
            for i in range(1_000)
        },
    ),
}
READ = {
    "circle of many": document(
        {
            f"S{i}": {"properties": {"a": place((i + 1) % 2_000), "b": place((7 * i + 1) % 2_000)}}
            for i in range(2_000)
        }
    ),
    "chain of references": document(
        {f"S{i}": place(i + 1) for i in range(20_000)} | {"S20000": {"type": "string"}}
    ),
    "tree of parts": document(
        {f"S{i}": {"allOf": [place(i + 1)] * 10} for i in range(30)}
        | {"S30": {"properties": {"a": {"readOnly": True}}}}
    ),
    "tree of alternatives": document(
        {f"S{i}": {"oneOf": [{"items": place(i + 1)}] * 30} for i in range(40)}
    ),
    "long enumeration": document({"S0": {"enum": VALUES}}),
    "backtracking pattern": document({"S0": {"type": "string", "pattern": "^(a+)+$"}}),
    "patterns that grow": document(
        {
            "S0": {
                "properties": {
                    f"p{i}": {"pattern": "((a{1,100}){1,100}){1," + f"{50 + i}}}"}
                    for i in range(1_000)
                }
            }
        }
    ),
    "long paths": document(
        {}, paths={"/" + "{a" * 50_000: {"get": {}}, "/{a" + "=b" * 50_000: {"get": {}}}
    ),
    "server variables": document(
        {}, servers=[{"url": "https://" + "{a}" * 600, "variables": {"a": {"default": "b" * 9999}}}]
    ),
    "alternatives to authenticate": document(
        {},
        security=[{f"s{i}_{j}": [] for j in range(50)} for i in range(1_000)],
        paths={f"/x{number}": {"get": {}} for number in range(100)},
    ),
}


def timed(content: bytes) -> tuple[ImportedApi | CcosError, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    found: ImportedApi | CcosError
    try:
        found = import_openapi(read_document(content, location=WHERE), location=WHERE)
    except ImportDocumentError as error:
        found = error
    seconds = time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150_000, f"{grown // 1024} MB"
    return found, seconds


@pytest.mark.parametrize("name", REFUSED)
def test_refused_quickly(name: str) -> None:
    found, seconds = timed(REFUSED[name])
    assert isinstance(found, ImportDocumentError)
    assert found.message.startswith(WHERE)
    assert found.next_step
    assert seconds < 4  # the aim is 2 on an idle machine


@pytest.mark.parametrize("name", READ)
def test_read_quickly(name: str) -> None:
    found, seconds = timed(READ[name])
    assert isinstance(found, ImportedApi)
    assert found.operations
    assert seconds < 4


def test_a_backtracking_pattern_does_not_hang() -> None:
    from ccos.capabilities import SchemaValidator

    found, _ = timed(READ["backtracking pattern"])
    assert isinstance(found, ImportedApi)
    validator = SchemaValidator(found.capabilities[0].input_schema)
    started = time.process_time()
    assert not validator.accepts({"body": "a" * 50 + "!"})
    assert time.process_time() - started < 1
    assert validator.accepts({"body": "aaa"})


def test_time_is_limited() -> None:
    now = [0.0]
    effort = Effort(WHERE, seconds=5, clock=lambda: now[0])
    effort.spend(2_000)
    now[0] = 6.0
    with pytest.raises(ImportDocumentError, match="more than 5 seconds"):
        effort.spend(2_000)
    with pytest.raises(ImportDocumentError, match="more than 10 schemas"):
        Effort(WHERE, work=10).spend(2_000)


def test_many_operations_are_imported_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccos.importers.openapi.importer.MAXIMUM_OPERATIONS", 3)
    content = document({}, paths={f"/x{number}": {"get": {}} for number in range(5)})
    whole = read_document(content, location=WHERE)
    with pytest.raises(ImportDocumentError, match="more than 3 operations"):
        import_openapi(whole, location=WHERE)
    assert len(import_openapi(whole, location=WHERE, select="/x[0-2]").capabilities) == 3


def test_definitions_of_a_whole_document_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccos.importers.openapi.schemas.ALL_DEFINITIONS_BYTES", 3_000)
    schemas = {f"S{i}": {"title": "t" * 900, "items": place(i + 1)} for i in range(5)}
    paths = {
        f"/x{i}": {
            "get": {"responses": {"200": {"content": {"application/json": {"schema": place(0)}}}}}
        }
        for i in range(3)
    }
    content = document(schemas | {"S5": {}}, paths=paths)
    found = import_openapi(read_document(content, location=WHERE), location=WHERE)
    kept = [
        sum("items" in one for one in api.output_schema["$defs"].values())
        for api in found.capabilities
        if isinstance(api.output_schema, dict)
    ]
    assert kept == [3, 1, 1]
    assert findings.MAXIMUM_WORK > 100_000
