"""Whatever the schema: documents are valid, and exactly what is accepted can be sent."""

from __future__ import annotations

from random import Random
from typing import Any

import graphql
from graphql.execution.values import get_variable_values
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ccos.capabilities import GraphQlProvider, Manifest, SchemaValidator
from ccos.importers.graphql import ImportedApi, SelectionBudget, import_graphql

from .schemas import json_value, schema_text

MANY = settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
SEEDS = st.integers(0, 2**32)


def provider(manifest: Manifest) -> GraphQlProvider:
    assert isinstance(manifest.provider, GraphQlProvider)
    return manifest.provider


def imported(text: Any, **options: Any) -> ImportedApi:
    return import_graphql(text, location="x", endpoint="https://x.test/graphql", **options)


def refusals(schema: graphql.GraphQLSchema, document: str, values: dict[str, Any]) -> list[str]:
    """Why a server would not take these variables."""
    (operation,) = graphql.parse(document).definitions
    assert isinstance(operation, graphql.OperationDefinitionNode)
    found = get_variable_values(schema, operation.variable_definitions or (), values)
    return [error.message for error in found] if isinstance(found, list) else []


@MANY
@given(SEEDS, st.integers(1, 4), st.sampled_from([0, 5, 50, 5_000]))
def test_every_document_is_valid(seed: int, depth: int, cost: int) -> None:
    text = schema_text(Random(seed))
    schema = graphql.build_schema(text)
    api = imported(text, budget=SelectionBudget(depth=depth, cost=cost))
    assert api.quarantined == ()
    roots = (schema.query_type, schema.mutation_type)
    assert len(api.capabilities) == sum(len(root.fields) for root in roots if root)
    for one in api.capabilities:
        document = graphql.parse(provider(one).document)
        assert graphql.validate(schema, document) == [], provider(one).document


@MANY
@given(SEEDS)
def test_an_introspection_result_gives_the_same_as_the_text(seed: int) -> None:
    text = schema_text(Random(seed))
    answer = graphql.introspection_from_schema(graphql.build_schema(text), one_of=True)
    from_text = imported(text, budget=SelectionBudget(cost=10**9))
    from_answer = imported({"data": answer}, budget=SelectionBudget(cost=10**9))
    assert_same(from_text, from_answer)


def assert_same(one: ImportedApi, other: ImportedApi) -> None:
    """Types may come in another order, so documents are compared by their results."""
    first = {item.id: item for item in one.capabilities}
    second = {item.id: item for item in other.capabilities}
    assert first.keys() == second.keys()
    for key, item in first.items():
        assert item.input_schema == second[key].input_schema
        assert item.effect_type is second[key].effect_type


@MANY
@given(SEEDS)
def test_arguments_that_are_accepted_can_be_sent(seed: int) -> None:
    chance = Random(seed)
    text = schema_text(chance)
    schema = graphql.build_schema(text)
    for one in imported(text).capabilities:
        assert isinstance(one.input_schema, dict)
        validator = SchemaValidator(one.input_schema)
        base = Arguments(one.input_schema, chance).value()
        assert validator.faults(base) == ()
        assert refusals(schema, provider(one).document, base) == []
        for name in one.input_schema["properties"]:
            for _ in range(10):
                changed = base | {name: json_value(chance)}
                if validator.accepts(changed):
                    assert refusals(schema, provider(one).document, changed) == []


@MANY
@given(SEEDS)
def test_what_can_be_sent_is_accepted(seed: int) -> None:
    """But for a single value in place of a list, which is not made use of."""
    chance = Random(seed)
    text = schema_text(chance)
    schema = graphql.build_schema(text)
    for one in imported(text).capabilities:
        root = schema.query_type if provider(one).operation == "query" else schema.mutation_type
        assert root is not None
        arguments = root.fields[provider(one).field].args
        values = {
            name: coercible(argument.type, chance, 3)
            for name, argument in arguments.items()
            if graphql.is_required_argument(argument) or chance.random() < 0.5
        }
        assert refusals(schema, provider(one).document, values) == []
        assert SchemaValidator(one.input_schema).faults(values) == ()


def coercible(kind: Any, chance: Random, depth: int) -> Any:
    """A value of a type, as graphql-core has it."""
    if not graphql.is_non_null_type(kind):
        if chance.random() < 0.3 or depth < 0:
            return None
    else:
        kind = kind.of_type
    if graphql.is_list_type(kind):
        number = chance.randint(0, 2) if depth > 0 else 0
        return [coercible(kind.of_type, chance, depth - 1) for _ in range(number)]
    if graphql.is_enum_type(kind):
        return chance.choice(list(kind.values))
    if graphql.is_input_object_type(kind):
        if kind.is_one_of:
            name = chance.choice(list(kind.fields))
            inner = graphql.GraphQLNonNull(kind.fields[name].type)
            return {name: coercible(inner, chance, depth - 1)}
        return {
            name: coercible(entry.type, chance, depth - 1)
            for name, entry in kind.fields.items()
            if graphql.is_required_input_field(entry) or (depth > 0 and chance.random() < 0.5)
        }
    whole = chance.randint(-(2**31), 2**31 - 1)
    found = {
        "Int": whole,
        "Float": chance.choice([whole, 0.25]),
        "Boolean": chance.random() < 0.5,
        "String": "tëxt",
        "ID": chance.choice([whole, "id"]),
    }
    return found[kind.name] if kind.name in found else json_value(chance) or 0


class Arguments:
    """Values of the part of JSON Schema that the importer writes."""

    def __init__(self, schema: dict[str, Any], chance: Random) -> None:
        self._schema = schema
        self._chance = chance

    def value(self) -> Any:
        return self._of(self._schema, 4)

    def _of(self, part: dict[str, Any], depth: int) -> Any:
        chance = self._chance
        if "$ref" in part:
            return self._of(self._schema["$defs"][part["$ref"].rpartition("/")[2]], depth)
        if "anyOf" in part:
            return None if depth <= 0 else self._of(chance.choice(part["anyOf"]), depth)
        if "enum" in part:
            return chance.choice(part["enum"])
        kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
        match chance.choice(kinds):
            case "null":
                return None
            case "boolean":
                return chance.random() < 0.5
            case "string":
                return "tëxt"
            case "number":
                return chance.choice([0.25, 3])
            case "integer":
                return chance.choice([part.get("minimum", 0), part.get("maximum", 0), 5])
            case "array":
                number = chance.randint(0, 2) if depth > 0 else 0
                return [self._of(part.get("items", {"type": "null"}), depth - 1)] * number
        entries = part.get("properties", {})
        if part.get("maxProperties") == 1:
            name = chance.choice(list(entries))
            return {name: self._of(entries[name], depth - 1)}
        needed = part.get("required", ())
        return {
            name: self._of(one, depth - 1)
            for name, one in entries.items()
            if name in needed or (depth > 0 and chance.random() < 0.5)
        }
