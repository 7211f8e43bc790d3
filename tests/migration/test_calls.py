"""What arguments a tool takes, how they reach it, and what results it may give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.errors import InvalidArgumentsError, InvalidResultError, ScriptConflictError
from ccos.migration import Binding, Form, ToolDefinition, ToolEntry
from ccos.migration.calls import bound_arguments, checked_result

SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "string"}, "z": {}},
    "required": ["x", "y"],
    "additionalProperties": False,
}


def definition(binding: Binding = Binding.NAMED, **changes: Any) -> ToolDefinition:
    parameters = ("x", "y", "z") if binding is Binding.NAMED else ("args",)
    parts: dict[str, Any] = {
        "name": "tool",
        "description": "A tool.",
        "entry": ToolEntry("call", parameters, binding),
        "form": Form.ATTRIBUTES,
        "input_schema": SCHEMA,
    }
    return ToolDefinition(**{**parts, **changes})


def test_arguments_are_bound_by_name_or_as_one_object() -> None:
    arguments = {"y": "a", "x": 1}
    assert bound_arguments(definition(), arguments) == {"x": 1, "y": "a"}
    assert bound_arguments(definition(Binding.OBJECT), arguments) == {"args": arguments}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"y": "a"}, "Missing required field: x"),
        ({}, "Missing required fields: x, y"),
        ({"x": 1, "y": 2}, "/y: 2 is not of type"),
        ({"x": 1, "y": "a", "w": 1}, "'w' was unexpected"),
        ([1], "have to be an object"),
        ("x", "have to be an object"),
        (None, "have to be an object"),
        ({"x": 1, "y": "a", "z": 2**63}, r"\$\.z is an integer beyond 64 bits"),
        ({"x": 1, "y": "a", "z": [[0, {"k": -(2**63) - 1}]]}, r"\$\.z\[0\]\[1\]\.k is an integer"),
        ({"x": 1, "y": "a", "z": float("nan")}, "no JSON data"),
        ({"x": 1, "y": "\ud800"}, "lone surrogate"),
        ({"x": True, "y": "a"}, "/x: true is not of type"),
    ],
    ids=str,
)
def test_arguments_that_it_does_not_take_are_named(arguments: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=says) as caught:
        bound_arguments(definition(), arguments)
    assert caught.value.details["tool"] == "tool"


def test_the_largest_integers_are_taken() -> None:
    for number in (2**63 - 1, -(2**63)):
        given_ = {"x": number, "y": "a"}
        assert bound_arguments(definition(), given_) == given_


def test_null_leaves_an_optional_argument_out_where_arguments_have_names() -> None:
    typed = {**SCHEMA, "properties": {**SCHEMA["properties"], "z": {"type": "string"}}}  # type: ignore[dict-item]
    named = definition(input_schema=typed)
    assert bound_arguments(named, {"x": 1, "y": "a", "z": None}) == {"x": 1, "y": "a"}
    with pytest.raises(InvalidArgumentsError, match="/z"):
        bound_arguments(
            definition(Binding.OBJECT, input_schema=typed), {"x": 1, "y": "a", "z": None}
        )
    with pytest.raises(InvalidArgumentsError, match="/x"):
        bound_arguments(named, {"x": None, "y": "a"})


def test_a_disabled_tool_is_named() -> None:
    with pytest.raises(ScriptConflictError, match="'tool' is disabled"):
        bound_arguments(definition(enabled=False), {"x": 1, "y": "a"})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_arrives_as_it_is(value: Any) -> None:
    anything = definition(Binding.OBJECT, input_schema={"type": "object"})
    assert bound_arguments(anything, {"value": value}) == {"args": {"value": value}}


def test_a_result_is_held_to_the_promise() -> None:
    promised = definition(output_schema={"type": "number"})
    assert checked_result(promised, 1.5) == 1.5
    assert checked_result(definition(), "anything") == "anything"
    with pytest.raises(InvalidResultError, match="not what it promises"):
        checked_result(promised, "text")
