"""Reads a schema from its definition language (GraphQL September 2025, section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from ccos.errors import ImportDocumentError
from ccos.importers.graphql.literals import literal_value
from ccos.importers.graphql.schema import (
    OPERATIONS,
    Field,
    Input,
    Kind,
    OperationKind,
    Report,
    Schema,
    Type,
    TypeRef,
    link,
)

if TYPE_CHECKING:
    from graphql.language import ast

MAXIMUM_TOKENS: Final = 250_000
MAXIMUM_COMMENTS: Final = 100_000
_KINDS: Final = {
    "scalar_type": Kind.SCALAR,
    "object_type": Kind.OBJECT,
    "interface_type": Kind.INTERFACE,
    "union_type": Kind.UNION,
    "enum_type": Kind.ENUM,
    "input_object_type": Kind.INPUT_OBJECT,
}


def read_sdl(text: str, *, location: str, report: Report) -> Schema:
    """Read type definitions and extensions; what else a document may hold is passed over.

    An extension of a type that the document does not define makes that type, as subgraphs of a
    federation have it. Of a part that is defined twice the last definition counts.

    Raises:
        ImportDocumentError: It is no text in the language, or too large.
    """
    from graphql import GraphQLError, parse

    try:
        document = parse(
            text,
            no_location=True,
            max_lexical_tokens=MAXIMUM_TOKENS,
            max_comments=MAXIMUM_COMMENTS,
        )
    except (GraphQLError, RecursionError) as error:
        raise ImportDocumentError(
            f"{location} cannot be read as a GraphQL schema: {_said(error)}",
            details={"location": location},
        ) from None
    reader = _Reader(report)
    for definition in document.definitions:
        reader.read(definition)
    return link(reader.types, reader.roots(), report)


def _said(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    message = str(getattr(error, "message", error)).removeprefix("Syntax Error: ")
    places = getattr(error, "locations", None)
    where = f" (line {places[0].line}, column {places[0].column})" if places else ""
    return message[:300].rstrip(".") + where + "."


class _Reader:
    def __init__(self, report: Report) -> None:
        self.types: dict[str, Type] = {}
        self._named: dict[OperationKind, str] = {}
        self._report = report

    def roots(self) -> dict[OperationKind, str]:
        """The types of the operations: those named, or else those with the usual names."""
        if self._named:
            return self._named
        usual = {operation: operation.capitalize() for operation in OPERATIONS}
        return {operation: name for operation, name in usual.items() if name in self.types}

    def read(self, node: ast.DefinitionNode) -> None:
        if node.kind in ("schema_definition", "schema_extension"):
            described = cast("ast.SchemaDefinitionNode", node)
            for entry in described.operation_types or ():
                self._named[entry.operation.value] = entry.type.name.value
            return
        group, _, what = node.kind.rpartition("_")
        kind = _KINDS.get(group)
        if kind is None or what not in ("definition", "extension"):
            if not node.kind.startswith("directive"):
                self._report("", f"a {node.kind.replace('_', ' ')} is no part of a schema")
            return
        self._add(kind, cast("ast.TypeDefinitionNode", node), extends=what == "extension")

    def _add(self, kind: Kind, node: Any, *, extends: bool) -> None:
        name = node.name.value
        known = self.types.get(name)
        if known is not None and known.kind is not kind:
            self._report(name, f"it is also defined as {kind.value.lower()}; the first one counts")
            return
        if known is not None and not extends:
            self._report(name, "it is defined more than once; the definitions are joined")
        specified = _directive(node, "specifiedBy")
        one = Type(
            kind,
            name,
            known.description if known else _description(node),
            fields=known.fields if known else {},
            inputs=known.inputs if known else {},
            interfaces=known.interfaces if known else {},
            members=known.members if known else {},
            values=known.values if known else {},
            specified_by=str(specified.get("url") or "") if specified else "",
            one_of=_directive(node, "oneOf") is not None or bool(known and known.one_of),
        )
        self.types[name] = one
        if kind is Kind.INPUT_OBJECT:
            self._put(one.inputs, name, (self._input(entry) for entry in node.fields or ()))
        elif kind in (Kind.OBJECT, Kind.INTERFACE):
            self._put(one.fields, name, (self._field(name, entry) for entry in node.fields or ()))
            one.interfaces.update(
                dict.fromkeys(entry.name.value for entry in node.interfaces or ())
            )
        elif kind is Kind.UNION:
            one.members.update(dict.fromkeys(entry.name.value for entry in node.types or ()))
        elif kind is Kind.ENUM:
            one.values.update(
                {entry.name.value: _description(entry) for entry in node.values or ()}
            )

    def _put(self, into: dict[str, Any], owner: str, entries: Iterable[Input | Field]) -> None:
        for entry in entries:
            if entry.name in into:
                self._report(
                    f"{owner}.{entry.name}", "it is defined more than once; the last one counts"
                )
            into[entry.name] = entry

    def _field(self, owner: str, node: ast.FieldDefinitionNode) -> Field:
        arguments: dict[str, Input] = {}
        for entry in map(self._input, node.arguments or ()):
            arguments[entry.name] = entry
        return Field(
            node.name.value,
            _type_ref(node.type),
            arguments,
            _description(node),
            _deprecated(node),
        )

    def _input(self, node: ast.InputValueDefinitionNode) -> Input:
        return Input(
            node.name.value,
            _type_ref(node.type),
            _description(node),
            node.default_value is not None,
            None if node.default_value is None else literal_value(node.default_value),
            _deprecated(node),
        )


def _type_ref(node: Any) -> TypeRef:
    if node.kind == "non_null_type":
        return TypeRef(_type_ref(node.type).of, required=True)
    if node.kind == "list_type":
        return TypeRef(_type_ref(node.type))
    return TypeRef(node.name.value)


def _description(node: Any) -> str:
    found = getattr(node, "description", None)  # extensions have none
    return found.value.strip() if found else ""


def _deprecated(node: Any) -> str | None:
    arguments = _directive(node, "deprecated")
    if arguments is None:
        return None
    return str(arguments.get("reason") or "No longer supported")


def _directive(node: Any, name: str) -> dict[str, Any] | None:
    """The arguments of a directive; None where it is not applied."""
    for directive in node.directives or ():
        if directive.name.value == name:
            return {
                entry.name.value: literal_value(entry.value) for entry in directive.arguments or ()
            }
    return None
