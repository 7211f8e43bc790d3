"""Values made from schemas satisfy them."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import SchemaValidator
from importers.samples import sample


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"type": "string", "pattern": "^[A-F0-9]{40}$", "minLength": 40, "maxLength": 40},
        {"type": "string", "pattern": r"^\d{3}-(ab|cd)+[^x]?(?=)$"},
        {"type": "string", "minLength": 30, "maxLength": 31},
        {"type": "integer", "exclusiveMinimum": 3, "maximum": 5},
        {"type": "number", "multipleOf": 0.5, "minimum": 2},
        {"type": "number", "exclusiveMaximum": 1, "minimum": 0},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
        {"type": ["null", "boolean"]},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
        {"allOf": [{"required": ["a"]}, {"properties": {"a": {"const": 5}}}]},
        {"oneOf": [{"type": "string"}, {"type": "string", "const": "x"}, {"type": "integer"}]},
        {
            "$ref": "#/$defs/Node",
            "$defs": {
                "Node": {
                    "type": "object",
                    "required": ["v"],
                    "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}},
                }
            },
        },
        {"properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}},
    ],
)
def test_a_sample_satisfies_its_schema(schema: Any) -> None:
    accepts = SchemaValidator(schema).accepts
    values = [sample(schema, seed=seed) for seed in range(20)]
    assert all(map(accepts, values))
    assert values == [sample(schema, seed=seed) for seed in range(20)]


def test_a_schema_that_nothing_satisfies() -> None:
    with pytest.raises(ValueError, match="no value"):
        sample({"type": "string", "minLength": 5, "maxLength": 1}, seed=1)
