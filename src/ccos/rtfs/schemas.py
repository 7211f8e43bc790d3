"""RTFS types as JSON Schema (draft 2020-12), and back.

From a type to a schema and back nothing is lost: where the plain keywords do not say everything,
the annotation ``x-rtfs-type`` holds the type. From a foreign schema to a type some keywords have
no counterpart, which the conversion names; the type is never stricter than the schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.errors import InvalidManifestError
from ccos.rtfs.diagnostics import RtfsSyntaxError
from ccos.rtfs.forms import Form, Keyword, Literal, MapForm, Symbol, VectorForm
from ccos.rtfs.prelude import BEYOND_THE_DIALECT, KEYWORD
from ccos.rtfs.reader import read
from ccos.rtfs.types import (
    ANY,
    Both,
    Callable,
    Dictionary,
    Entry,
    Enumeration,
    Named,
    Optional,
    Record,
    Refinement,
    Resource,
    Scalar,
    Sequence,
    Tuple,
    Type,
    TypeSyntaxError,
    Union,
    read_type,
    type_text,
)

RTFS_TYPE: Final = "x-rtfs-type"
_DEPTH_LIMIT: Final = 100
_REFERENCE_LIMIT: Final = 50
_TEXT_LIMIT: Final = 20_000
_SCALARS: Final[dict[str, dict[str, Any]]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "nil": {"type": "null"},
    "keyword": {"type": "string"},
    "symbol": {"type": "string"},
    "timestamp": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "any": {},
    "never": {"not": {}},
}
_BY_WORD: Final = {
    "integer": Scalar("int"),
    "number": Scalar("float"),
    "string": Scalar("string"),
    "boolean": Scalar("bool"),
    "null": Scalar("nil"),
}
_ANNOTATIONS: Final = frozenset(
    {
        RTFS_TYPE,
        *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description"),
        *("default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
        *("externalDocs", "xml"),
    }
)
_BOUNDS: Final = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}
_KEYWORDS: Final = {word: keyword for keyword, word in _BOUNDS.items()}
_NIL: Final = Literal("nil", None)


class NotRepresentableError(InvalidManifestError):
    """A type has no JSON Schema, since no JSON data can be of it."""

    code = "CCOS-RTFS-TYPE"
    default_next_step = "Describe data only: functions stay inside a program."


@dataclass(frozen=True, slots=True)
class FromSchema:
    """A type that was read from a schema.

    Attributes:
        type: The type; it accepts whatever the schema accepts.
        lost: Keywords without a counterpart, each with its place: ``/properties/a: multipleOf``.
    """

    type: Type
    lost: tuple[str, ...]


def to_json_schema(kind: Type, names: Mapping[str, Type] | None = None) -> dict[str, Any]:
    """The JSON Schema of a type.

    Args:
        kind: The type.
        names: What ``deftype`` and ``defstruct`` gave names to; used ones go to ``$defs``.

    Raises:
        NotRepresentableError: for functions, and for names without a type.
    """
    writer = _Writer(dict(names or {}))
    schema = writer.schema(kind)
    if not writer.used:
        return schema
    return {**schema, "$defs": writer.definitions()}


def from_json_schema(schema: Any) -> FromSchema:
    """The type that comes nearest to a JSON Schema.

    Args:
        schema: A schema of draft 4 to 2020-12 or of OpenAPI 3: an object or a boolean.
    """
    reader = _Reader(schema)
    kind = reader.type(schema, "", ())
    return FromSchema(kind, tuple(dict.fromkeys(reader.lost)))


# --- To JSON Schema -------------------------------------------------------------------------


@dataclass(slots=True)
class _Writer:
    names: dict[str, Type]
    used: list[str] = field(default_factory=list)

    def definitions(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in self.used:  # grows while the types are written
            found[name] = self.schema(self.names[name])
        return found

    def schema(self, kind: Type) -> dict[str, Any]:
        """A schema that reads back as the same type."""
        schema = self._plain(kind)
        if not isinstance(kind, Named) and _Reader(schema).type(schema, "", ()) != kind:
            schema[RTFS_TYPE] = type_text(kind)
        return schema

    def _plain(self, kind: Type) -> dict[str, Any]:
        match kind:
            case Scalar(name):
                return dict(_SCALARS[name])
            case Optional(inner):
                return {"anyOf": [self.schema(inner), {"type": "null"}]}
            case Sequence(_, item, size):
                sizes = {} if size is None else {"minItems": size, "maxItems": size}
                return {"type": "array", "items": self.schema(item), **sizes}
            case Tuple(items):
                parts = [self.schema(item) for item in items]
                closed = {"items": False, "minItems": len(items)}
                return {"type": "array", "prefixItems": parts, **closed}
            case Record():
                return self._record(kind)
            case Dictionary(key, value):
                names = {} if key == Scalar("string") else {"propertyNames": self.schema(key)}
                return {"type": "object", "additionalProperties": self.schema(value), **names}
            case Enumeration(values, single):
                data = [_json_value(value) for value in values]
                return {"const": data[0]} if single else {"enum": data}
            case Union(members):
                return {"anyOf": [self.schema(member) for member in members]}
            case Both(members):
                return {"allOf": [self._member(member, kind) for member in members]}
            case Resource():
                return {"type": "string"}
            case Named(name):
                return self._named(name)
            case Callable():
                raise NotRepresentableError("A function type has no JSON Schema.")

    def _named(self, name: str) -> dict[str, Any]:
        if name not in self.names:
            raise NotRepresentableError(
                f"No type has the name {name}.", next_step="Define it with deftype or defstruct."
            )
        if name not in self.used:
            self.used.append(name)
        return {"$ref": "#/$defs/" + name.replace("~", "~0").replace("/", "~1")}

    def _record(self, kind: Record) -> dict[str, Any]:
        properties = {_key_name(one.key): self.schema(one.type) for one in kind.entries}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        required = [_key_name(one.key) for one in kind.entries if not one.optional]
        if required:
            schema["required"] = list(dict.fromkeys(required))
        if kind.others is not None:
            closed = kind.others == Scalar("never")
            schema["additionalProperties"] = False if closed else self.schema(kind.others)
        return schema

    def _member(self, member: Type | Refinement, whole: Both) -> dict[str, Any]:
        if isinstance(member, Refinement):
            return _refinement_schema(member, _unit_of(whole))
        return self.schema(member)


def _refinement_schema(one: Refinement, unit: str) -> dict[str, Any]:
    """The keywords of a predicate; ``unit`` says whose sizes it counts."""
    operands = [_json_value(operand) for operand in one.operands]
    match one.word:
        case ">" | ">=" | "<" | "<=":
            return {_KEYWORDS[one.word]: operands[0]}
        case "=":
            return {"const": operands[0]}
        case "!=":
            return {"not": {"const": operands[0]}}
        case "in-range":
            return {"minimum": operands[0], "maximum": operands[1]}
        case "matches-regex":
            return {"pattern": operands[0]}
        case "has-key":
            return {"required": operands}
        case "required-keys":
            return {"required": list(dict.fromkeys(operands[0]))}
        case "is-url":
            return {"format": "uri"}
        case "is-email":
            return {"format": "email"}
        case "non-empty":
            return {f"min{unit}": 1}
    name = "Length" if one.word.endswith("length") else unit.replace("Length", "Items")
    if one.word.startswith("min"):
        return {f"min{name}": operands[0]}
    if one.word.startswith("max"):
        return {f"max{name}": operands[0]}
    return {f"min{name}": operands[0], f"max{name}": operands[0]}


def _unit_of(kind: Type) -> str:
    """What the sizes of a type's values are called in JSON Schema."""
    match kind:
        case Record() | Dictionary():
            return "Properties"
        case Scalar("string"):
            return "Length"
        case Both(members):
            units = [_unit_of(one) for one in members if not isinstance(one, Refinement)]
            return next((unit for unit in units if unit != "Items"), "Items")
    return "Items"


def _key_name(key: Form) -> str:
    assert isinstance(key, Keyword | Literal)
    return key.name if isinstance(key, Keyword) else str(key.value)


def _json_value(form: Form) -> Any:
    match form:
        case Keyword(name) | Symbol(name):
            return name
        case Literal("float", float(value)) if value != value or value in (_INF, -_INF):
            raise NotRepresentableError("JSON has no infinite numbers.")
        case Literal(_, value):
            return value
        case VectorForm(items):
            return [_json_value(item) for item in items]
        case MapForm() if all(isinstance(key, Keyword | Literal) for key, _ in form.pairs):
            return {_key_name(key): _json_value(value) for key, value in form.pairs}
    raise NotRepresentableError("This constant has no JSON value.")


_INF: Final = float("inf")


def shape_of(kind: Type) -> Any:
    """What a type says of JSON data beyond JSON, for ``shaped`` of the prelude; JSON data itself.

    None if it says nothing: then names become keywords where they can, and text stays text.
    """
    match kind:
        case Scalar("keyword" | "symbol" | "timestamp" | "uuid" | "int"):
            return [kind.name]
        case Optional(inner):
            return shape_of(inner)
        case Sequence(_, item):
            inner_shape = shape_of(item)
            return None if inner_shape is None else ["items", inner_shape]
        case Tuple(items):
            shapes = [shape_of(item) for item in items]
            return ["tuple", shapes] if any(shapes) else None
        case Record(entries, others):
            fields = {_key_name(one.key): shape_of(one.type) for one in entries}
            rest = None if others is None else shape_of(others)
            return ["record", fields, rest] if rest or any(fields.values()) else None
        case Dictionary(key, value):
            return ["dict", key == Scalar("string"), shape_of(value)]
        case Both(members):
            shapes = [shape_of(one) for one in members if not isinstance(one, Refinement)]
            return next((one for one in shapes if one is not None), None)
        case Enumeration(values) if all(isinstance(value, Keyword) for value in values):
            return ["keyword"]
    return None


# --- From JSON Schema -----------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    root: Any
    lost: list[str] = field(default_factory=list)

    def type(self, schema: Any, path: str, seen: tuple[str, ...]) -> Type:
        """The type of the schema at ``path``, inside the references ``seen``."""
        if schema is False:
            return Scalar("never")
        if schema is True:
            return ANY
        if not isinstance(schema, Mapping):
            return self._unknown(path, "a schema that is no object")
        if path.count("/") > _DEPTH_LIMIT:
            return self._unknown(path, "nesting")
        exact = _exact(schema)
        if exact is not None:
            return exact
        if "$ref" in schema:
            return self._reference(schema, path, seen)
        if schema == {"not": {}}:
            return Scalar("never")
        left = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
        kind = self._whole(left, path, seen)
        for keyword in left:
            self._lose(path, keyword)
        return kind

    def _lose(self, path: str, keyword: str) -> None:
        self.lost.append(f"{path or '/'}: {keyword}")

    def _unknown(self, path: str, keyword: str) -> Type:
        self._lose(path, keyword)
        return ANY

    def _reference(self, schema: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Type:
        reference = schema["$ref"]
        for keyword in schema:
            if keyword != "$ref" and keyword not in _ANNOTATIONS:
                self._lose(path, keyword)
        if reference in seen or len(seen) > _REFERENCE_LIMIT:
            return self._unknown(path, "$ref (recursive)")
        target = _target(self.root, reference)
        if target is None:
            return self._unknown(path, "$ref")
        return self.type(target, path, (*seen, reference))

    def _whole(self, left: dict[str, Any], path: str, seen: tuple[str, ...]) -> Type:
        """A type of all keywords that have a counterpart; those are taken out of ``left``."""
        nullable = left.pop("nullable", False) is True
        members: list[Type | Refinement] = [*_parts(self._base(left, path, seen))]
        members += self._all_of(left, members, path, seen)
        for word in ("anyOf", "oneOf"):
            if isinstance(left.get(word), list):
                members.append(self._any_of(left.pop(word), f"{path}/{word}", seen))
        if not members:
            return ANY
        single = len(members) == 1 and not isinstance(members[0], Refinement)
        kind: Type = members[0] if single else Both(tuple(members))  # type: ignore[assignment]
        return Optional(kind) if nullable and not _accepts_nil(kind) else kind

    def _all_of(
        self,
        left: dict[str, Any],
        members: list[Type | Refinement],
        path: str,
        seen: tuple[str, ...],
    ) -> list[Type | Refinement]:
        """The parts of ``allOf``; those that only refine need a type to refine."""
        parts = left.pop("allOf", [])
        if not isinstance(parts, list):
            left["allOf"] = parts
            return []
        found: list[Type | Refinement] = []
        base: Type = next((one for one in members if not isinstance(one, Refinement)), ANY)
        for index, part in enumerate(parts):
            place = f"{path}/allOf/{index}"
            refining = dict(part) if isinstance(part, Mapping) else {}
            refinements = _refinements(refining, base)
            if refinements and not refining:
                found += refinements
                continue
            kind = self.type(part, place, seen)
            base = kind if base == ANY else base
            found += [] if kind == ANY and len(parts) > 1 and part != {} else [kind]
        return found

    def _any_of(self, choices: list[Any], path: str, seen: tuple[str, ...]) -> Type:
        kinds = [self.type(one, f"{path}/{i}", seen) for i, one in enumerate(choices)]
        if len(kinds) == 2 and kinds[1] == Scalar("nil"):
            return Optional(kinds[0])
        return Union(tuple(kinds)) if kinds else ANY

    def _base(self, left: dict[str, Any], path: str, seen: tuple[str, ...]) -> Type:
        """What ``enum``, ``const`` or ``type`` say, with the refinements of that type."""
        if isinstance(left.get("enum"), list):
            return self._enumeration(left, path)
        if "const" in left and _is_constant(left["const"]):
            left.pop("type", None)
            return Enumeration((_form(left.pop("const")),), single=True)
        word = left.pop("type", None)
        if isinstance(word, list):
            return self._type_list(word, left, path, seen)
        return self._refined(self._typed(word, left, path, seen), left)

    def _refined(self, kind: Type, left: dict[str, Any]) -> Type:
        refinements = _refinements(left, kind)
        return Both((kind, *refinements)) if refinements else kind

    def _type_list(
        self, words: list[Any], left: dict[str, Any], path: str, seen: tuple[str, ...]
    ) -> Type:
        kinds: list[Type] = []
        unused = dict(left)
        for word in words:
            part = dict(left)
            kind = self._typed(word, part, path, seen)
            if word != "null":
                kinds.append(self._refined(kind, part))
            unused = {key: value for key, value in unused.items() if key in part}
        left.clear()
        left.update(unused)
        if not kinds:
            return Scalar("nil")
        kind = kinds[0] if len(kinds) == 1 else Union(tuple(kinds))
        return Optional(kind) if "null" in words and not _accepts_nil(kind) else kind

    def _typed(self, word: Any, left: dict[str, Any], path: str, seen: tuple[str, ...]) -> Type:
        if word is None:
            if "properties" in left or "additionalProperties" in left:
                return self._object(left, path, seen)
            return ANY
        if word == "array":
            return self._array(left, path, seen)
        if word == "object":
            return self._object(left, path, seen)
        if isinstance(word, str) and word in _BY_WORD:
            return _BY_WORD[word]
        return self._unknown(path, "type")

    def _array(self, left: dict[str, Any], path: str, seen: tuple[str, ...]) -> Type:
        prefix = left.get("prefixItems")
        if isinstance(prefix, list):
            if left.get("items") is not False or left.get("minItems") != len(prefix):
                left.pop("items", None)
                return Sequence("vector", ANY)
            del left["prefixItems"], left["items"], left["minItems"]
            if left.get("maxItems") == len(prefix):
                del left["maxItems"]
            places = [f"{path}/prefixItems/{i}" for i in range(len(prefix))]
            kinds = (self.type(one, at, seen) for one, at in zip(prefix, places, strict=True))
            return Tuple(tuple(kinds))
        return Sequence("vector", self.type(left.pop("items", True), f"{path}/items", seen))

    def _object(self, left: dict[str, Any], path: str, seen: tuple[str, ...]) -> Type:
        properties = left.pop("properties", None)
        required = left.pop("required", [])
        others = left.pop("additionalProperties", True)
        if "patternProperties" in left:
            others = True
        wanted = required if isinstance(required, list) else []
        if properties is None and not wanted and others is not True and others != {}:
            key = self.type(left.pop("propertyNames", {"type": "string"}), path, seen)
            return Dictionary(key, self.type(others, f"{path}/additionalProperties", seen))
        known = dict(properties) if isinstance(properties, Mapping) else {}
        for name in wanted:
            known.setdefault(str(name), True)
        entries = tuple(
            Entry(
                _entry_key(str(name)),
                self.type(inner, f"{path}/properties/{name}", seen),
                optional=name not in wanted,
            )
            for name, inner in known.items()
        )
        rest: Type | None = None
        if others is not True and others != {}:
            rest = self.type(others, f"{path}/additionalProperties", seen)
        return Record(entries, rest)

    def _enumeration(self, left: dict[str, Any], path: str) -> Type:
        values = left.pop("enum")
        left.pop("type", None)
        if not values or not all(_is_constant(one) for one in values):
            return self._unknown(path, "enum")
        forms = tuple(_form(one) for one in values if one is not None)
        if len(forms) == len(values):
            return Enumeration(forms)
        return Optional(Enumeration(forms)) if forms else Enumeration((_NIL,))


def _exact(schema: Mapping[str, Any]) -> Type | None:
    """The type that ``x-rtfs-type`` holds, if the rest of the schema is that of this type."""
    word = schema.get(RTFS_TYPE)
    if not isinstance(word, str) or len(word) > _TEXT_LIMIT:
        return None
    try:
        forms = read(word).forms
        kind = read_type(forms[0]) if len(forms) == 1 else None
        said = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
        if kind is None or _Writer({}).schema(kind) not in (schema, {**said, RTFS_TYPE: word}):
            return None
    except (RtfsSyntaxError, TypeSyntaxError, NotRepresentableError):
        return None
    return kind


def _parts(kind: Type) -> tuple[Type | Refinement, ...]:
    if kind == ANY:
        return ()
    return kind.members if isinstance(kind, Both) else (kind,)


def _target(root: Any, reference: Any) -> Any:
    """What a local reference points to; None if there is nothing."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    for part in reference.split("/")[1:]:
        word = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(root, Mapping) or word not in root:
            return None
        root = root[word]
    return root


def _refinements(left: dict[str, Any], base: Type) -> list[Refinement]:
    """The refinements of a type's values; their keywords are taken out of ``left``.

    JSON Schema applies a keyword to values of one type only and lets others pass, so a keyword
    without that type has no counterpart.
    """
    match base:
        case Scalar("int") | Scalar("float"):
            return _bounds(left)
        case Scalar("string"):
            return _sizes(left, "Length", "length") + _pattern(left)
        case Sequence() | Tuple():
            return _sizes(left, "Items", "count")
        case Record() | Dictionary():
            return _sizes(left, "Properties", "count") + _required(left)
    return []


def _bounds(left: dict[str, Any]) -> list[Refinement]:
    found: dict[str, Refinement] = {}
    for keyword, word in _BOUNDS.items():
        strict = left.get("exclusive" + keyword.capitalize())
        if not _is_number(left.get(keyword)):
            continue
        value = left.pop(keyword)
        if isinstance(strict, bool):  # draft 4
            del left["exclusive" + keyword.capitalize()]
            word = word[0] if strict else word
        found[word] = Refinement(word, (_form(value),))
    if ">=" in found and "<=" in found:
        low, high = found.pop(">="), found.pop("<=")
        found["in-range"] = Refinement("in-range", (*low.operands, *high.operands))
    return list(found.values())


def _sizes(left: dict[str, Any], name: str, word: str) -> list[Refinement]:
    sizes = [left.get(f"min{name}"), left.get(f"max{name}")]
    found: list[Refinement] = []
    if sizes[0] == sizes[1] and _is_size(sizes[0]):
        del left[f"min{name}"], left[f"max{name}"]
        return [Refinement(word, (_form(sizes[0]),))]
    for side, size in zip(("min", "max"), sizes, strict=True):
        if _is_size(size):
            del left[side + name]
            found.append(Refinement(f"{side}-{word}", (_form(size),)))
    return found


def _pattern(left: dict[str, Any]) -> list[Refinement]:
    pattern = left.get("pattern")
    if not isinstance(pattern, str) or BEYOND_THE_DIALECT.search(pattern):
        return []
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return []
    del left["pattern"]
    return [Refinement("matches-regex", (_form(pattern),))]


def _required(left: dict[str, Any]) -> list[Refinement]:
    names = left.get("required")
    if not isinstance(names, list) or not names:
        return []
    del left["required"]
    keys = tuple(_entry_key(str(name)) for name in names)
    if len(keys) == 1:
        return [Refinement("has-key", keys)]
    return [Refinement("required-keys", (VectorForm(keys),))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _accepts_nil(kind: Type) -> bool:
    return isinstance(kind, Optional) or kind in (ANY, Scalar("nil"))


def _entry_key(name: str) -> Form:
    return Keyword(name) if KEYWORD.fullmatch(name) else Literal("string", name)


def _is_constant(value: Any) -> bool:
    """Whether JSON data can be written as a constant of the language."""
    if isinstance(value, list):
        return all(_is_constant(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)


def _form(value: Any) -> Form:
    match value:
        case None:
            return _NIL
        case bool():
            return Literal("boolean", value)
        case int():
            return Literal("integer", value)
        case float():
            return Literal("float", value)
        case str():
            return Literal("string", value)
    return VectorForm(tuple(_form(item) for item in value))
