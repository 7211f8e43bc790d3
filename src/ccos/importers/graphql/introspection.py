"""Reads a schema from the answer to an introspection query (GraphQL September 2025, section 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from ccos.errors import ImportDocumentError
from ccos.importers.graphql.literals import parsed_literal
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

_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_MAXIMUM_WRAPPING: Final = 32
_NO_VALUES: Final = frozenset({"true", "false", "null"})

_Part = TypeVar("_Part", Input, Field)


class _UnreadableError(Exception):
    """What is wrong with one part of the answer; it never leaves this module."""


def read_introspection(answer: Mapping[str, Any], *, location: str, report: Report) -> Schema:
    """Read ``{"data": {"__schema": …}}``, or what is inside of it.

    Raises:
        ImportDocumentError: It holds no schema; the server's own words are in the message.
    """
    data = answer.get("data", answer)
    described = data.get("__schema", data) if isinstance(data, Mapping) else None
    if not isinstance(described, Mapping) or not isinstance(described.get("types"), list):
        raise ImportDocumentError(
            f"{location} is no answer to an introspection query{_said(answer)}.",
            next_step="Where a server refuses introspection, import its schema from a file.",
            details={"location": location},
        )
    reader = _Reader(report)
    for entry in described["types"]:
        reader.read(entry)
    return link(reader.types, _roots(described), report, reader.faults)


def _said(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    message = first.get("message") if isinstance(first, Mapping) else None
    return f": {' '.join(message.split())[:300].rstrip('.')}" if isinstance(message, str) else ""


def _roots(described: Mapping[str, Any]) -> dict[OperationKind, str]:
    found: dict[OperationKind, str] = {}
    for operation in OPERATIONS:
        root = described.get(f"{operation}Type")
        name = root.get("name") if isinstance(root, Mapping) else None
        if isinstance(name, str):
            found[operation] = name
    return found


class _Reader:
    def __init__(self, report: Report) -> None:
        self.types: dict[str, Type] = {}
        self.faults: dict[str, str] = {}
        self._report = report

    def read(self, entry: Any) -> None:
        try:
            name = _name(entry)
            kind = Kind(str(entry.get("kind")))
        except (_UnreadableError, ValueError) as error:
            self._report(_shown(entry), f"the type cannot be read: {error}")
            return
        if name.startswith("__"):
            return
        if name in self.types:
            self._report(name, "it is defined more than once; the last one counts")
        self.types[name] = Type(
            kind,
            name,
            _text(entry, "description"),
            fields=self._parts(entry, "fields", name, self._field),
            inputs=self._parts(entry, "inputFields", name, self._input),
            interfaces=dict.fromkeys(self._names(entry, "interfaces")),
            members=dict.fromkeys(self._names(entry, "possibleTypes"))
            if kind is Kind.UNION
            else {},
            values={
                value: _text(one, "description")
                for one in _listed(entry, "enumValues")
                if (value := _name_or_none(one)) and value not in _NO_VALUES
            },
            specified_by=_text(entry, "specifiedByURL") or _text(entry, "specifiedByUrl"),
            one_of=entry.get("isOneOf") is True,
        )

    def _parts(
        self, entry: Any, key: str, owner: str, read: Callable[[Any, str], _Part]
    ) -> dict[str, _Part]:
        found: dict[str, _Part] = {}
        for one in _listed(entry, key):
            coordinate = f"{owner}.{_shown(one)}"
            try:
                part = read(one, coordinate)
            except _UnreadableError as error:
                self._report(coordinate, f"{error}, so it is left out")
                self.faults[coordinate] = str(error)
                continue
            if part.name in found:
                self._report(coordinate, "it is defined more than once; the last one counts")
            found[part.name] = part
        return found

    def _field(self, entry: Any, coordinate: str) -> Field:
        return Field(
            _name(entry),
            _type_ref(entry.get("type")),
            self._parts(entry, "args", coordinate, self._input),
            _text(entry, "description"),
            _deprecated(entry),
        )

    def _input(self, entry: Any, coordinate: str) -> Input:
        name = _name(entry)
        default = entry.get("defaultValue")
        value = parsed_literal(default) if isinstance(default, str) else None
        if value is None and isinstance(default, str) and default.strip() != "null":
            self._report(coordinate, "its default cannot be read, so it is not shown")
        return Input(
            name,
            _type_ref(entry.get("type")),
            _text(entry, "description"),
            default is not None,
            value,
            _deprecated(entry),
        )

    def _names(self, entry: Any, key: str) -> Iterator[str]:
        return (name for one in _listed(entry, key) if (name := _name_or_none(one)))


def _type_ref(entry: Any) -> TypeRef:
    required = False
    wrapping: list[bool] = []
    """Of each list around the name, whether it may not be null, outermost first."""
    for _ in range(_MAXIMUM_WRAPPING):
        if not isinstance(entry, Mapping):
            raise _UnreadableError("its type is not stated in full")
        match entry.get("kind"):
            case "NON_NULL":
                required = True
            case "LIST":
                wrapping.append(required)
                required = False
            case _:
                ref = TypeRef(_name(entry), required)
                for outer in reversed(wrapping):
                    ref = TypeRef(ref, outer)
                return ref
        entry = entry.get("ofType")
    raise _UnreadableError("its type is a list of lists without end")


def _listed(entry: Any, key: str) -> list[Any]:
    found = entry.get(key)
    return found if isinstance(found, list) else []


def _name(entry: Any) -> str:
    name = _name_or_none(entry)
    if name is None:
        raise _UnreadableError("it has no name, or one that is none in GraphQL")
    return name


def _name_or_none(entry: Any) -> str | None:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None


def _shown(entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name[:100] if isinstance(name, str) else "?"


def _text(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key)
    return found.strip() if isinstance(found, str) else ""


def _deprecated(entry: Mapping[str, Any]) -> str | None:
    if entry.get("isDeprecated") is not True:
        return None
    return _text(entry, "deprecationReason") or "No longer supported"
