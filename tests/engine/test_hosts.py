from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ccos.engine.hosts import Effect, HostFunction, HostFunctionError, Parameter, bound


def function(*parameters: Parameter) -> HostFunction:
    return HostFunction(
        module="test.module",
        name="act",
        parameters=parameters,
        returns="none",
        effect=Effect.ACT,
        summary="Acts.",
        handler=lambda context: None,
    )


TWO = function(Parameter("first", "string"), Parameter("second", "integer", required=False))


@pytest.mark.parametrize(
    ("positional", "named", "expected"),
    [
        (["a"], {}, {"first": "a"}),
        (["a", 2], {}, {"first": "a", "second": 2}),
        (["a"], {"second": 2}, {"first": "a", "second": 2}),
        ([], {"second": 2, "first": "a"}, {"first": "a", "second": 2}),
        (["a", None], {}, {"first": "a"}),
    ],
)
def test_arguments_are_bound_by_place_and_by_name(
    positional: list[Any], named: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert bound(TWO, positional, named) == expected


@pytest.mark.parametrize(
    ("positional", "named", "message"),
    [
        ([], {}, "act() lacks the argument 'first'."),
        ([], {"second": 1}, "act() lacks the argument 'first'."),
        (["a", 1, 2], {}, "act() takes 2 arguments; 3 were given."),
        (["a"], {"third": 1}, "act() has no parameter 'third'."),
        (["a"], {"\x1b[2J": 1}, "act() has no parameter '\\x1b[2J'."),
        (["a"], {"first": "b"}, "act() was given 'first' twice."),
        ([None], {}, "act() takes a string as 'first', not null."),
        (["a", "1"], {}, "act() takes an integer as 'second', not a string."),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    positional: list[Any], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(HostFunctionError) as caught:
        bound(TWO, positional, named)
    assert str(caught.value) == message


SAMPLES: Mapping[str, list[Any]] = {
    "null": [None],
    "string": ["", "text"],
    "integer": [0, -(2**63), 2**63 - 1],
    "number": [0.0, -1.5],
    "boolean": [True, False],
    "array": [[], [1, "a"]],
    "object": [{}, {"a": 1}],
}
ACCEPTED = {
    "string": {"string"},
    "integer": {"integer"},
    "number": {"integer", "number"},
    "boolean": {"boolean"},
    "array": {"array"},
    "object": {"object"},
    "any": set(SAMPLES),
}


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("sample", SAMPLES)
def test_each_kind_takes_its_own_values_and_no_other(kind: str, sample: str) -> None:
    one = function(Parameter("value", kind))
    for value in SAMPLES[sample]:
        if sample in ACCEPTED[kind]:
            assert bound(one, [value], {}) == {"value": value}
        else:
            with pytest.raises(HostFunctionError, match="as 'value'"):
                bound(one, [value], {})


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_refused(value: int) -> None:
    for kind in ("integer", "number"):
        with pytest.raises(HostFunctionError, match="an integer beyond 64 bits"):
            bound(function(Parameter("value", kind)), [value], {})


@pytest.mark.parametrize("value", [(1,), b"bytes", object(), {1}])
def test_what_is_not_json_data_is_refused(value: Any) -> None:
    with pytest.raises(HostFunctionError, match="takes JSON data as 'value', not a value of type"):
        bound(function(Parameter("value", "any")), [value], {})


def test_null_is_an_argument_where_anything_is() -> None:
    anything = function(Parameter("value", "any", required=False))
    assert bound(anything, [None], {}) == {"value": None}
    assert bound(anything, [], {}) == {}


def test_an_effect_may_depend_on_the_arguments() -> None:
    assert TWO.effect_of({"first": "a"}) is Effect.ACT
    by_first = HostFunction(
        module="test.module",
        name="act",
        parameters=(Parameter("first", "string"),),
        returns="none",
        effect=Effect.ACT,
        summary="Acts.",
        handler=lambda context: None,
        effect_by_arguments=lambda arguments: (
            Effect.READ if arguments["first"] == "look" else Effect.ACT
        ),
    )
    assert by_first.effect_of({"first": "look"}) is Effect.READ
    assert by_first.effect_of({"first": "take"}) is Effect.ACT
