"""A GraphQL schema as plain data, of which every part that is left can be used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

OperationKind = Literal["query", "mutation", "subscription"]
OPERATIONS: Final[tuple[OperationKind, ...]] = ("query", "mutation", "subscription")

BUILT_IN: Final = ("Int", "Float", "String", "Boolean", "ID")
"""The scalars of the specification (GraphQL September 2025, section 3.5)."""

Report = Callable[[str, str], None]
"""Takes a schema coordinate, such as ``Query.user(id:)``, and what was made of that part."""


class Kind(StrEnum):
    """The six kinds of named types."""

    SCALAR = "SCALAR"
    OBJECT = "OBJECT"
    INTERFACE = "INTERFACE"
    UNION = "UNION"
    ENUM = "ENUM"
    INPUT_OBJECT = "INPUT_OBJECT"


LEAVES: Final = frozenset({Kind.SCALAR, Kind.ENUM})
ABSTRACT: Final = frozenset({Kind.INTERFACE, Kind.UNION})
_INPUTS: Final = LEAVES | {Kind.INPUT_OBJECT}
_OUTPUTS: Final = frozenset(Kind) - {Kind.INPUT_OBJECT}


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A use of a type: its name, or a list of another use; ``!`` if it is never null."""

    of: str | TypeRef
    required: bool = False

    @property
    def item(self) -> TypeRef | None:
        """What the list holds; None for what is no list."""
        return self.of if isinstance(self.of, TypeRef) else None

    @property
    def name(self) -> str:
        """The name inside all lists."""
        inner = self.of
        while isinstance(inner, TypeRef):
            inner = inner.of
        return inner

    def nullable(self) -> TypeRef:
        """The same without ``!``."""
        return TypeRef(self.of)

    def __str__(self) -> str:
        return (f"[{self.of}]" if self.item else str(self.of)) + "!" * self.required


@dataclass(frozen=True, slots=True)
class Input:
    """An argument of a field, or a field of an input object."""

    name: str
    type: TypeRef
    description: str = ""
    has_default: bool = False
    default: Any = None
    """The default as JSON data; None also where it could not be read."""
    deprecated: str | None = None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.type.required and not self.has_default


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object or interface."""

    name: str
    type: TypeRef
    arguments: Mapping[str, Input] = field(default_factory=dict)
    description: str = ""
    deprecated: str | None = None


@dataclass(frozen=True, slots=True)
class Type:
    """A named type; which parts it has depends on its kind."""

    kind: Kind
    name: str
    description: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    interfaces: dict[str, None] = field(default_factory=dict)
    members: dict[str, None] = field(default_factory=dict)
    """The types of a union."""
    values: dict[str, str] = field(default_factory=dict)
    """The values of an enum with their descriptions."""
    specified_by: str = ""
    one_of: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """What an API offers."""

    types: Mapping[str, Type]
    roots: Mapping[OperationKind, str]
    """The type of each kind of operation."""
    faults: Mapping[str, str]
    """By coordinate: a field that cannot be used, and why."""
    possible: Mapping[str, tuple[str, ...]]
    """By name of an interface or union: the objects that it can be, in the schema's order."""


def link(
    types: Mapping[str, Type],
    roots: Mapping[OperationKind, str],
    report: Report,
    faults: Mapping[str, str] | None = None,
) -> Schema:
    """A schema without the parts that contradict it.

    A field is left out if its type is unknown or of the wrong kind, or if an argument that it
    needs can have no value. The rest of what is left out is optional: arguments, input fields,
    and names in unions and interfaces.

    Args:
        types: What a document defines.
        roots: The types it names for its operations.
        report: Told about each part that is left out.
        faults: Fields that could not even be read, as in ``Schema.faults``.
    """
    for name in BUILT_IN:
        if name in types and types[name].kind is not Kind.SCALAR:
            report(name, "it is a scalar of GraphQL itself, so this definition is left out")
    known = dict(types) | {name: Type(Kind.SCALAR, name) for name in BUILT_IN}
    linker = _Linker(known, report)
    linked = {name: linker.inputs_of(one) for name, one in known.items()}
    linker.unusable = _unusable(linked, linker.unusable)
    linked = {name: linker.fields_of(one) for name, one in linked.items()}
    found = {
        operation: name
        for operation, name in roots.items()
        if name in linked and linked[name].kind is Kind.OBJECT
    }
    for operation in roots.keys() - found.keys():
        report(operation, f"{roots[operation][:100]!r} is no object type, so it has no fields")
    return Schema(linked, found, {**(faults or {}), **linker.faults}, _possible(linked))


class _Linker:
    def __init__(self, types: Mapping[str, Type], report: Report) -> None:
        self._types = types
        self._report = report
        self.faults: dict[str, str] = {}
        self.unusable: set[str] = set()
        """Input objects that no value can satisfy."""

    def inputs_of(self, one: Type) -> Type:
        """The type with only those input fields whose types exist."""
        kept = {}
        for name, entry in one.inputs.items():
            fault = self._fault(entry.type, _INPUTS)
            if fault is None:
                kept[name] = entry
                continue
            self._report(f"{one.name}.{name}", f"{fault}, so it is left out")
            if entry.required:
                self.unusable.add(one.name)
        return replace(one, inputs=kept)

    def fields_of(self, one: Type) -> Type:
        """The type with only what can be used of it."""
        inputs = {
            name: entry
            for name, entry in one.inputs.items()
            if entry.type.item or entry.type.name not in self.unusable
        }
        fields = {}
        for name, entry in one.fields.items():
            coordinate = f"{one.name}.{name}"
            fault = self._fault(entry.type, _OUTPUTS)
            arguments, needed = self._arguments(coordinate, entry)
            if fault or needed:
                self.faults[coordinate] = fault or needed or ""
                self._report(coordinate, f"{fault or needed}, so it is left out")
            else:
                fields[name] = replace(entry, arguments=arguments)
        return replace(
            one,
            inputs=inputs,
            fields=fields,
            members=self._names(one, one.members, Kind.OBJECT),
            interfaces=self._names(one, one.interfaces, Kind.INTERFACE),
        )

    def _arguments(self, coordinate: str, entry: Field) -> tuple[dict[str, Input], str | None]:
        kept = {}
        for name, argument in entry.arguments.items():
            fault = self._fault(argument.type, _INPUTS)
            if not (fault or argument.type.item) and argument.type.name in self.unusable:
                fault = f"no value is possible for its type {argument.type.name}"
            if fault is None:
                kept[name] = argument
            elif argument.required:
                return {}, f"the argument {name} is needed, and {fault}"
            else:
                self._report(f"{coordinate}({name}:)", f"{fault}, so it is left out")
        return kept, None

    def _fault(self, ref: TypeRef, kinds: frozenset[Kind]) -> str | None:
        found = self._types.get(ref.name)
        if found is None:
            return f"the type {ref.name} is not defined"
        if found.kind not in kinds:
            return f"the type {ref.name} is {_SAID[found.kind]} and cannot stand there"
        return None

    def _names(self, one: Type, names: Iterable[str], kind: Kind) -> dict[str, None]:
        kept: dict[str, None] = {}
        for name in names:
            found = self._types.get(name)
            if found is not None and found.kind is kind:
                kept[name] = None
            else:
                self._report(one.name, f"{name} is no {_SAID[kind][3:]}, so it is left out")
        return kept


_SAID: Final = {
    Kind.SCALAR: "a scalar",
    Kind.OBJECT: "an object",
    Kind.INTERFACE: "an interface",
    Kind.UNION: "a union",
    Kind.ENUM: "an enum",
    Kind.INPUT_OBJECT: "an input object",
}


def _unusable(types: Mapping[str, Type], broken: Iterable[str]) -> set[str]:
    """The input objects that no finite value satisfies, such as one that needs itself."""
    waiting: dict[str, set[str]] = {}
    needed_by: defaultdict[str, list[str]] = defaultdict(list)
    ready: list[str] = []
    excluded = set(broken)
    for name, one in types.items():
        if one.kind is not Kind.INPUT_OBJECT or name in excluded:
            continue
        wanted = [entry for entry in one.inputs.values() if one.one_of or entry.required]
        objects = {
            entry.type.name
            for entry in wanted
            if entry.type.item is None and types[entry.type.name].kind is Kind.INPUT_OBJECT
        }
        plain = len(objects) < len({entry.type.name for entry in wanted}) or any(
            entry.type.item is not None for entry in wanted
        )
        if not objects or (one.one_of and plain):
            if wanted or not one.one_of:
                ready.append(name)
            continue
        waiting[name] = objects
        for needed in objects:
            needed_by[needed].append(name)
    usable = set()
    while ready:
        done = ready.pop()
        usable.add(done)
        for user in needed_by[done]:
            left = waiting.get(user)
            if left is None:
                continue
            left.discard(done)
            if not left or types[user].one_of:
                del waiting[user]
                ready.append(user)
    inputs = (name for name, one in types.items() if one.kind is Kind.INPUT_OBJECT)
    return set(inputs) - usable


def _possible(types: Mapping[str, Type]) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, one in types.items():
        if one.kind is Kind.UNION:
            found[name] = list(one.members)
        elif one.kind is Kind.OBJECT:
            for interface in one.interfaces:
                found[interface].append(name)
    return {name: tuple(names) for name, names in found.items()}
