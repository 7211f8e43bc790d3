"""Selections that the caller chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ccos.errors import ImportDocumentError
from ccos.importers.graphql.schema import (
    LEAVES,
    Field,
    Input,
    Kind,
    OperationKind,
    Schema,
    Type,
    TypeRef,
)
from ccos.importers.graphql.selection import Selected, Selection

if TYPE_CHECKING:
    from graphql import DocumentNode, GraphQLSchema

MAXIMUM_CHARACTERS: Final = 20_000
MAXIMUM_TOKENS: Final = 3_000
MAXIMUM_DEPTH: Final = 12
_TYPENAME: Final = Field("__typename", TypeRef("String", required=True))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection that fits the schema."""

    text: str
    selection: Selection
    variables: dict[str, Input] = field(default_factory=dict)
    """The variables in it, which become arguments of the capability."""


def read_chosen(
    text: str,
    *,
    root: Field,
    operation: OperationKind,
    schema: Schema,
    core: GraphQLSchema,
) -> Chosen:
    """Read and validate a selection such as ``{ id friends(first: $count) { name } }``.

    It may use inline fragments and variables. A variable has the type of the place it stands at;
    one that is called like an argument of the field is that argument.

    Args:
        text: The selection.
        root: The field of which it is the selection.
        operation: The kind of operation that the field belongs to.
        schema: What the API offers.
        core: The same for graphql-core.

    Raises:
        ImportDocumentError: It cannot be read or does not fit the schema; each reason is in
            ``details["faults"]``.
    """
    import graphql

    one = schema.types[root.type.name]
    if one.kind in LEAVES:
        raise _refused(root, [f"it holds a {one.name}, of which nothing can be selected"])
    selected = _parse(text, root)
    body = graphql.print_ast(selected)
    header = f"{operation} {{ {root.name}"
    variables = _variables(graphql.parse(f"{header} {body} }}"), core)
    variables = {name: entry for name, entry in variables.items() if name not in root.arguments}
    document = graphql.parse(
        document_text(root, operation, {**root.arguments, **variables}, body), no_location=True
    )
    faults = graphql.validate(core, document, max_errors=5)
    if faults:
        raise _refused(root, [fault.message.rstrip(".") for fault in faults])
    selection = Selection(one)
    _walk(schema, selection, one, selected, selection.fields, False)
    return Chosen(body, selection, variables)


def document_text(
    root: Field, operation: OperationKind, variables: dict[str, Input], body: str
) -> str:
    """The document that asks for one root field, every argument of it being a variable."""
    declared = ", ".join(f"${name}: {_declared(entry)}" for name, entry in variables.items())
    passed = ", ".join(f"{name}: ${name}" for name in root.arguments)
    head = f"{operation} {root.name}" + (f"({declared})" if declared else "")
    indented = body.replace("\n", "\n  ")
    field_text = root.name + (f"({passed})" if passed else "") + (f" {indented}" if body else "")
    return f"{head} {{\n  {field_text}\n}}"


def _declared(entry: Input) -> str:
    """The type of a variable; one without ``!`` may be left out, and then the default holds."""
    return str(entry.type if entry.required else entry.type.nullable())


def _parse(text: str, root: Field) -> Any:
    import graphql

    if len(text) > MAXIMUM_CHARACTERS:
        raise _refused(root, [f"it has more than {MAXIMUM_CHARACTERS} characters"])
    text = text if text.lstrip().startswith("{") else f"{{ {text} }}"
    try:
        document = graphql.parse(
            text, no_location=True, max_tokens=MAXIMUM_TOKENS, allow_empty_selection_sets=False
        )
    except (graphql.GraphQLError, RecursionError) as error:
        reason = str(getattr(error, "message", "it is nested too deeply"))
        raise _refused(root, [reason.removeprefix("Syntax Error: ").rstrip(".")]) from None
    first, *others = document.definitions
    if others or not isinstance(first, graphql.OperationDefinitionNode):
        raise _refused(root, ["it is more than one selection in braces"])
    depth = _depth(first.selection_set)
    if depth > MAXIMUM_DEPTH:
        raise _refused(root, [f"it is nested deeper than {MAXIMUM_DEPTH} levels"])
    return first.selection_set


def _depth(selected: Any) -> int:
    level, depth = [selected], 0
    while level:
        level = [
            node.selection_set
            for one in level
            for node in one.selections
            if getattr(node, "selection_set", None)
        ]
        depth += 1
    return depth


def _variables(document: DocumentNode, core: GraphQLSchema) -> dict[str, Input]:
    import graphql

    found: dict[str, Input] = {}
    types = graphql.TypeInfo(core)

    class Collector(graphql.Visitor):
        def enter_variable(self, node: Any, *_: Any) -> None:
            expected = types.get_input_type()
            if expected is not None:
                default = types.get_default_value() is not graphql.Undefined
                name = node.name.value
                entry = Input(name, _type_ref(str(expected)), has_default=default)
                known = found.get(name)
                if known is None or (entry.type.required and not known.type.required):
                    found[name] = entry

    graphql.visit(document, graphql.TypeInfoVisitor(types, Collector()))
    return found


def _type_ref(text: str) -> TypeRef:
    required = text.endswith("!")
    text = text.removesuffix("!")
    if text.startswith("["):
        return TypeRef(_type_ref(text[1:-1]), required)
    return TypeRef(text, required)


def _walk(
    schema: Schema,
    selection: Selection,
    parent: Type,
    selected: Any,
    into: dict[str, Selected],
    optional: bool,
) -> None:
    for node in selected.selections:
        may_miss = optional or bool(node.directives)
        if node.kind == "field":
            _add(schema, parent, node, into, may_miss)
            continue
        condition = node.type_condition.name.value if node.type_condition else parent.name
        if condition == parent.name or condition in parent.interfaces:
            where = into
        elif into is selection.fields and selection.type.kind is Kind.OBJECT:
            where = into  # an object in a union or interface of its own: it always applies
        else:
            where = selection.fragments.setdefault(condition, {})
        _walk(schema, selection, schema.types[condition], node.selection_set, where, may_miss)


def _add(
    schema: Schema, parent: Type, node: Any, into: dict[str, Selected], optional: bool
) -> None:
    name = node.name.value
    entry = _TYPENAME if name == "__typename" else parent.fields[name]
    key = node.alias.value if node.alias else name
    known = into.get(key)
    if known is None:
        known = into[key] = Selected(entry, optional=optional)
        if node.selection_set:
            known.inner = Selection(schema.types[entry.type.name])
    known.optional = known.optional and optional
    if node.selection_set and known.inner is not None:
        _walk(
            schema,
            known.inner,
            known.inner.type,
            node.selection_set,
            known.inner.fields,
            False,
        )


def _refused(root: Field, faults: list[str]) -> ImportDocumentError:
    return ImportDocumentError(
        f"The selection for {root.name} cannot be used: {'; '.join(faults)}.",
        next_step="Correct the selection, or leave it out to have one built.",
        details={"field": root.name, "faults": faults},
    )
