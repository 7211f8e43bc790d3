"""Hostile schemas end in little time and memory, in a clear error or a bounded result.

Work is measured in processor time, which other programs on the machine hardly change.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest

from ccos.errors import ImportDocumentError
from ccos.importers.graphql import SelectionBudget, import_graphql

from .test_import import imported, provider

SECONDS = 10.0
"""Some times what the slowest takes, for slow machines."""
MEGABYTES = 200


def many(line: str, number: int) -> str:
    return "\n".join(
        line.replace("#", str(one)).replace("@", str(one + 1)) for one in range(number)
    )


def wrapped(depth: int) -> Any:
    used: Any = {"kind": "SCALAR", "name": "Int"}
    for _ in range(depth):
        used = {"kind": "LIST", "ofType": used}
    return used


BOUNDED: dict[str, Callable[[], Any]] = {
    "ten thousand types": lambda: "type Query { a: T0 }" + many("type T# { a: Int t: T@ }", 10_000),
    "everything refers to everything": lambda: (
        "type Query { a: T0 }"
        + many("type T# { x: Int " + " ".join(f"t{n}: T{n}" for n in range(60)) + " }", 60)
    ),
    "an interface of thousands": lambda: (
        "type Query { a: I } interface I { id: ID }"
        + many("type T# implements I { id: ID x#: Int y: String i: I }", 3_000)
    ),
    "a union of thousands with fields that differ": lambda: (
        "type Query { a: U }"
        + many("type T# { x: T# y: U }", 3_000)
        + "union U = "
        + " | ".join(f"T{n}" for n in range(3_000))
    ),
    "interfaces in a circle": lambda: (
        "type Query { a: A } interface A implements B { b: B } interface B implements A { a: A }"
        " type C implements A & B { a: A b: B }"
    ),
    "a chain of inputs that need one another": lambda: (
        "type Query { a(x: In0!): Int b(x: In9999!): Int }"
        + many("input In# { x: In@! }", 9_999)
        + "input In9999 { x: Int }"
    ),
    "a web of inputs": lambda: (
        "type Query { a(x: In0): Int }"
        + many("input In# { " + " ".join(f"f{n}: In{n}" for n in range(200)) + " }", 200)
    ),
    "a huge enum": lambda: (
        "type Query { a(x: E): E } enum E { " + " ".join(f"V{n}" for n in range(40_000)) + " }"
    ),
    "a huge type": lambda: (
        "type Query { a: T } type T { " + " ".join(f"f{n}: Int" for n in range(20_000)) + " }"
    ),
    "hostile directives": lambda: (
        "directive @d(a: Int) repeatable on OBJECT type Query "
        + "@d(a: 1) " * 20_000
        + "{ a: Int @deprecated(reason: [[1]]) b: Int @specifiedBy @oneOf }"
    ),
    "a long description": lambda: 'type Query { """' + "x" * 5_000_000 + '""" a: Int }',
}

REFUSED: dict[str, Callable[[], Any]] = {
    "a nest of lists": lambda: "type Query { a: " + "[" * 100_000 + "Int" + "]" * 100_000 + " }",
    "a nest in a default": lambda: "type Query { a(x: Int = " + "[" * 100_000 + "): Int }",
    "a nest of selections": lambda: "query " + "{ a " * 100_000,
    "too many tokens": lambda: "type Query { a: Int } " + "type T { a: Int }" * 500_000,
    "too many comments": lambda: "type Query { a: Int }" + "#\n" * 1_000_000,
    "too large": lambda: "type Query { a: Int }" + " " * 10_000_001,
    "thousands of root fields with the same result": lambda: (
        "type Query { "
        + " ".join(f"a{n}: T" for n in range(1_500))
        + " } type T { "
        + " ".join(f"x{n}: Int t{n}: U{n}" for n in range(200))
        + " }"
        + many("type U# { a: Int b: Int c: Int }", 200)
    ),
    "thousands of root fields with the same arguments": lambda: (
        "type Query { "
        + " ".join(f"a{n}(x: In0): Int" for n in range(1_900))
        + " }"
        + many("input In# { " + " ".join(f"f{n}: In{n}" for n in range(30)) + " }", 30)
    ),
    "thousands of root fields with a union": lambda: (
        "type Query { "
        + " ".join(f"a{n}: U" for n in range(1_900))
        + " } union U = "
        + " | ".join(f"T{n}" for n in range(2_000))
        + " "
        + many("type T# { a: Int }", 2_000)
    ),
    "JSON that is nested": lambda: '{"data":' * 100_000,
    "JSON of many values": lambda: '{"data": [' + "0," * 2_000_000 + "0]}",
}


def cost(document: Any) -> tuple[float, float, Any]:
    """Seconds of the processor, megabytes that the process grew, and the result."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    result: Any
    try:
        result = import_graphql(document, location="bomb", endpoint="https://x.test/")
    except ImportDocumentError as error:
        result = error
    seconds = time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds, grown / 1024, result


@pytest.mark.parametrize("name", BOUNDED)
def test_what_is_large_is_bounded(name: str) -> None:
    seconds, megabytes, result = cost(BOUNDED[name]())
    assert not isinstance(result, ImportDocumentError), result
    assert result.capabilities
    assert all(len(provider(one).document) < 200_000 for one in result.capabilities)
    assert (seconds < SECONDS, megabytes < MEGABYTES) == (True, True), (seconds, megabytes)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_too_large_is_refused(name: str) -> None:
    seconds, megabytes, result = cost(REFUSED[name]())
    assert isinstance(result, ImportDocumentError), result
    assert len(result.message) < 1_000
    assert (seconds < SECONDS, megabytes < MEGABYTES) == (True, True), (seconds, megabytes)


def test_a_wrapping_without_end_in_an_answer() -> None:
    fields = [{"name": "a", "type": wrapped(5_000)}, {"name": "b", "type": wrapped(1)}]
    types = [{"kind": "OBJECT", "name": "Query", "fields": fields}]
    described = {"__schema": {"queryType": {"name": "Query"}, "types": types}}
    api = imported(described)
    assert [one.name for one in api.capabilities] == ["b"]
    with pytest.raises(ImportDocumentError, match="nested"):
        imported('{"__schema":' + "{" * 5_000)
    assert json.dumps(described["__schema"]["queryType"])


def test_time_is_a_limit_of_its_own() -> None:
    text = "type Query { " + " ".join(f"a{n}: T0" for n in range(1_900)) + " }"
    text += many("type T# { a: Int t: T@ }", 300) + "type T300 { a: Int }"
    budget = SelectionBudget(depth=10, cost=10_000)
    with pytest.raises(ImportDocumentError, match="takes more than 0 seconds"):
        imported(text, seconds=0.0, budget=budget)
