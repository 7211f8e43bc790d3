"""A schema as graphql-core has it, for validating documents against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ccos.importers.graphql.schema import Field, Input, Kind, Schema, Type, TypeRef

if TYPE_CHECKING:
    from graphql import GraphQLSchema


def core_schema(schema: Schema) -> GraphQLSchema:
    """The schema for ``graphql.validate``; it validates documents and executes none."""
    import graphql

    types: dict[str, Any] = dict(graphql.specified_scalar_types)

    def use(ref: TypeRef) -> Any:
        found = types[ref.name] if ref.item is None else graphql.GraphQLList(use(ref.item))
        return graphql.GraphQLNonNull(found) if ref.required else found

    def arguments(inputs: Mapping[str, Input]) -> dict[str, Any]:
        return {
            name: graphql.GraphQLArgument(
                use(entry.type),
                default_value=entry.default if entry.has_default else graphql.Undefined,
            )
            for name, entry in inputs.items()
        }

    def fields(of: Mapping[str, Field]) -> dict[str, Any]:
        return {
            name: graphql.GraphQLField(use(entry.type), arguments(entry.arguments))
            for name, entry in of.items()
        }

    def inputs(of: Mapping[str, Input]) -> dict[str, Any]:
        return {
            name: graphql.GraphQLInputField(
                use(entry.type),
                default_value=entry.default if entry.has_default else graphql.Undefined,
            )
            for name, entry in of.items()
        }

    def named(names: Mapping[str, None]) -> list[Any]:
        return [types[name] for name in names]

    def made(one: Type) -> Any:
        match one.kind:
            case Kind.SCALAR:
                return graphql.GraphQLScalarType(one.name)
            case Kind.ENUM:
                return graphql.GraphQLEnumType(one.name, {value: value for value in one.values})
            case Kind.UNION:
                return graphql.GraphQLUnionType(one.name, lambda: named(one.members))
            case Kind.INPUT_OBJECT:
                return graphql.GraphQLInputObjectType(
                    one.name, lambda: inputs(one.inputs), is_one_of=one.one_of
                )
            case Kind.INTERFACE:
                return graphql.GraphQLInterfaceType(
                    one.name, lambda: fields(one.fields), lambda: named(one.interfaces)
                )
            case Kind.OBJECT:
                return graphql.GraphQLObjectType(
                    one.name, lambda: fields(one.fields), lambda: named(one.interfaces)
                )

    for name, one in schema.types.items():
        if name not in types:
            types[name] = made(one)
    roots = {operation: types[name] for operation, name in schema.roots.items()}
    return graphql.GraphQLSchema(**roots, types=list(types.values()), assume_valid=True)
