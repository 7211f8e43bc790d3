"""RTFS types: read from forms, printed as forms, and as the data that the prelude checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    is_symbol,
    without_meta,
)
from ccos.rtfs.printer import printed


class TypeSyntaxError(Exception):
    """A form is no type; never leaves this package."""

    def __init__(self, message: str, form: Form) -> None:
        super().__init__(message)
        self.message = message
        self.form = form


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts: ``int``, ``float``, ``string``, ``bool``, ``nil``, ``keyword``,
    ``symbol``, ``timestamp``, ``uuid``, ``any``, ``never``."""

    name: str


@dataclass(frozen=True, slots=True)
class Optional:
    """``T?``."""

    inner: Type


@dataclass(frozen=True, slots=True)
class Sequence:
    """``[:vector T]``, ``[:list T]``, or one size of ``[:array T [n]]``."""

    word: str
    item: Type
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Tuple:
    """``[:tuple A B]``."""

    items: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a record; ``key`` is a keyword, text or integer."""

    key: Form
    type: Type
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """``[:map [:k T] …]``; ``others`` is the type of values under other keys, if they have one."""

    entries: tuple[Entry, ...]
    others: Type | None = None


@dataclass(frozen=True, slots=True)
class Dictionary:
    """``[:dict K V]``."""

    key: Type
    value: Type


@dataclass(frozen=True, slots=True)
class Enumeration:
    """``[:enum v…]``; ``single`` if it was written ``[:val v]``."""

    values: tuple[Form, ...]
    single: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """``[:union A B]``."""

    members: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Refinement:
    """A predicate inside ``[:and …]``: its word and its operands."""

    word: str
    operands: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Both:
    """``[:and A B pred…]``."""

    members: tuple[Type | Refinement, ...]


@dataclass(frozen=True, slots=True)
class Callable:
    """``:fn`` or ``[:fn [A & R] B]``; the signature is documentation."""

    parameters: tuple[Type, ...] | None = None
    rest: Type | None = None
    returns: Type | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """``[:resource N]``."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """A name that ``deftype`` or ``defstruct`` may have given to a type."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


Type: TypeAlias = (
    Scalar
    | Optional
    | Sequence
    | Tuple
    | Record
    | Dictionary
    | Enumeration
    | Union
    | Both
    | Callable
    | Resource
    | Named
)

ANY: Final = Scalar("any")
_SYNONYMS: Final = {
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "str": "string",
}
_SCALARS: Final = frozenset(
    {
        "int",
        "float",
        "string",
        "bool",
        "nil",
        "keyword",
        "symbol",
        "timestamp",
        "uuid",
        "any",
        "never",
    }
)
_OPERANDS: Final = {
    ">": "number",
    ">=": "number",
    "<": "number",
    "<=": "number",
    "=": "value",
    "!=": "value",
    "in-range": "range",
    "min-length": "size",
    "max-length": "size",
    "length": "size",
    "matches-regex": "string",
    "min-count": "size",
    "max-count": "size",
    "count": "size",
    "non-empty": "none",
    "has-key": "key",
    "required-keys": "keys",
    "is-url": "none",
    "is-email": "none",
}
_SEQUENCES: Final = ("vector", "list", "array", "tuple")


def read_type(form: Form) -> Type:
    """A type from its form.

    Raises:
        TypeSyntaxError: if the form is none.
    """
    form = without_meta(form)
    match form:
        case Keyword(name) | Symbol(name):
            return _named(name, form)
        case Literal("nil"):
            return Scalar("nil")
        case VectorForm((head, *operands)):
            return _compound(head, operands, form)
        case MapForm():
            return Record(tuple(_pair_entry(key, value) for key, value in form.pairs))
    raise TypeSyntaxError(f"`{_short(form)}` is no type", form)


def _named(name: str, form: Form) -> Type:
    if len(name) > 1 and name.endswith("?"):
        return Optional(_named(name[:-1], form))
    word = name[:1].lower() + name[1:]
    word = _SYNONYMS.get(word, word)
    if word in _SCALARS:
        return Scalar(word)
    if word == "fn" or word == "function":
        return Callable()
    return Named(name, form.start, form.end)


def _compound(head: Form, operands: list[Form], form: Form) -> Type:
    if not isinstance(head, Keyword):
        raise TypeSyntaxError(f"`{_short(form)}` is no type", form)
    word = head.name
    optional = word.endswith("?") and len(word) > 1
    inner = _compound_of(word.removesuffix("?"), operands, form)
    return Optional(inner) if optional else inner


def _compound_of(word: str, operands: list[Form], form: Form) -> Type:
    match word, operands:
        case (("vector" | "list"), [item]):
            return Sequence(word, read_type(item))
        case (("vector" | "list"), []):
            return Sequence(word, ANY)
        case "array", [item]:
            return Sequence("array", read_type(item))
        case "array", [item, VectorForm(sizes)]:
            return _array(read_type(item), sizes, form)
        case "tuple", _:
            return Tuple(tuple(read_type(item) for item in operands))
        case (("map" | "record"), _):
            return _record(operands, form)
        case (("map-of" | "dict"), [key, value]):
            return Dictionary(read_type(key), read_type(value))
        case "enum", [_, *_]:
            return Enumeration(tuple(_data(value) for value in operands))
        case (("val" | "literal"), [value]):
            return Enumeration((_data(value),), single=True)
        case (("union" | "or"), [_, *_]):
            return Union(tuple(read_type(member) for member in operands))
        case (("optional" | "maybe"), [inner]):
            return Optional(read_type(inner))
        case "and", [_, *_]:
            return Both(tuple(_member(member) for member in operands))
        case (("fn" | "=>"), _):
            return _callable(operands, form)
        case "resource", [Symbol(name) | Keyword(name)]:
            return Resource(name)
        case "resource", [Literal("string", str(name))]:
            return Resource(name)
    if word in _OPERANDS:
        raise TypeSyntaxError(f"`[:{word} …]` stands inside `[:and T …]` only", form)
    raise TypeSyntaxError(f"`{_short(form)}` is no type", form)


def _array(item: Type, sizes: tuple[Form, ...], form: Form) -> Type:
    result = item
    for size in reversed(sizes):
        match size:
            case Literal("integer", int(number)) if number >= 0:
                result = Sequence("array", result, number)
            case Symbol("?"):
                result = Sequence("array", result)
            case _:
                raise TypeSyntaxError("a size is a number or `?`", size)
    if not sizes:
        raise TypeSyntaxError("an array has at least one size", form)
    return result


def _record(operands: list[Form], form: Form) -> Type:
    entries: list[Entry] = []
    others: Type | None = None
    if len(operands) == 1 and isinstance(operands[0], MapForm):
        return read_type(operands[0])
    for operand in operands:
        match operand:
            case VectorForm((Keyword("*"), value)):
                others = read_type(value)
            case VectorForm((key, value)):
                entries.append(_pair_entry(key, value))
            case VectorForm((key, value, Symbol("?"))):
                entries.append(Entry(_key(key), read_type(value), optional=True))
            case VectorForm((key, MapForm((Keyword("optional"), flag)), value)):
                absent = flag == Literal("boolean", True)
                entries.append(Entry(_key(key), read_type(value), optional=absent))
            case _:
                raise TypeSyntaxError("an entry is `[:key T]`, `[:key T ?]` or `[:* T]`", operand)
    if len({entry.key for entry in entries}) != len(entries):
        raise TypeSyntaxError("a key is named twice", form)
    return Record(tuple(entries), others)


def _pair_entry(key: Form, value: Form) -> Entry:
    return Entry(_key(key), read_type(value))


def _key(form: Form) -> Form:
    match form:
        case Keyword() | Literal("string" | "integer"):
            return form
    raise TypeSyntaxError("the key of an entry is a keyword, a string or an integer", form)


def _callable(operands: list[Form], form: Form) -> Type:
    match operands:
        case [VectorForm(items), returns]:
            ampersand = next((i for i, item in enumerate(items) if is_symbol(item, "&")), None)
            if ampersand is None:
                return Callable(tuple(read_type(item) for item in items), None, read_type(returns))
            if ampersand == len(items) - 2:
                fixed = tuple(read_type(item) for item in items[:ampersand])
                return Callable(fixed, read_type(items[-1]), read_type(returns))
    raise TypeSyntaxError("a function type is `[:fn [A B & R] T]`", form)


def _member(form: Form) -> Type | Refinement:
    match form:
        case VectorForm((Keyword(word), *operands)) if word in _OPERANDS:
            return _refinement(word, tuple(operands), form)
        case VectorForm((Symbol(word), *operands)) if word in _OPERANDS:
            return _refinement(word, tuple(operands), form)
        case VectorForm((Keyword(word), *_)) if word not in _COMPOUND:
            raise TypeSyntaxError(f"`:{word}` is no predicate", form)
        case VectorForm((Symbol(word), *_)):
            raise TypeSyntaxError(f"`{word}` is no predicate", form)
        case ListForm():
            raise TypeSyntaxError(f"`{_short(form)}` is no predicate", form)
    return read_type(form)


_COMPOUND: Final = frozenset(
    [
        "vector",
        "list",
        "array",
        "tuple",
        "map",
        "record",
        "map-of",
        "dict",
        "enum",
        "val",
        "literal",
        "union",
        "or",
        "optional",
        "maybe",
        "and",
        "fn",
        "=>",
        "resource",
    ]
)


def _refinement(word: str, operands: tuple[Form, ...], form: Form) -> Refinement:
    if _fits(_OPERANDS[word], operands):
        return Refinement(word, tuple(_data(operand) for operand in operands))
    raise TypeSyntaxError(f"`{_short(form)}` does not have the operands of `:{word}`", form)


def _fits(wanted: str, operands: tuple[Form, ...]) -> bool:
    match wanted, operands:
        case "none", ():
            return True
        case "number", (Literal("integer" | "float"),):
            return True
        case "range", (Literal("integer" | "float"), Literal("integer" | "float")):
            return True
        case "size", (Literal("integer", int(number)),):
            return number >= 0
        case "string", (Literal("string"),):
            return True
        case "key", (Keyword() | Literal("string"),):
            return True
        case "keys", (VectorForm(items),):
            return all(isinstance(item, Keyword | Literal) for item in items)
        case "value", (_,):
            return True
    return False


def _data(form: Form) -> Form:
    match form:
        case ListForm((Symbol("quote"), inner)):
            return inner
        case Symbol() | Keyword() | Literal() | VectorForm() | MapForm():
            return form
    raise TypeSyntaxError(f"`{_short(form)}` is no constant", form)


def _short(form: Form) -> str:
    text = printed(form)
    return text if len(text) <= 60 else text[:59] + "…"


def type_form(kind: Type | Refinement) -> Form:
    """The form that reads as the type."""
    match kind:
        case Scalar(name):
            return Keyword(name)
        case Named(name):
            return Symbol(name) if name[:1].isupper() or "/" in name else Keyword(name)
        case Optional(Scalar(name)) | Optional(Named(name)):
            inner = kind.inner
            assert isinstance(inner, Scalar | Named)
            head = type_form(inner)
            assert isinstance(head, Symbol | Keyword)
            return type(head)(head.name + "?")
        case Optional(inner):
            return _vector("optional", type_form(inner))
        case Sequence("array"):
            return _array_form(kind)
        case Sequence(word, item):
            return _vector(word, type_form(item))
        case Tuple(items):
            return _vector("tuple", *map(type_form, items))
        case Record(entries, others):
            parts = [_entry_form(entry) for entry in entries]
            if others is not None:
                parts.append(_vector("*", type_form(others)))
            return _vector("map", *parts)
        case Dictionary(key, value):
            return _vector("dict", type_form(key), type_form(value))
        case Enumeration(values, single):
            return _vector("val" if single else "enum", *values)
        case Union(members):
            return _vector("union", *map(type_form, members))
        case Both(both):
            return _vector("and", *map(type_form, both))
        case Refinement(word, operands):
            return _vector(word, *operands)
        case Callable(None):
            return Keyword("fn")
        case Callable(parameters, rest, returns):
            return _callable_form(parameters or (), rest, returns or ANY)
        case Resource(name):
            return _vector("resource", Symbol(name))


def _callable_form(parameters: tuple[Type, ...], rest: Type | None, returns: Type) -> Form:
    items = [type_form(parameter) for parameter in parameters]
    if rest is not None:
        items += [Symbol("&"), type_form(rest)]
    return _vector("fn", VectorForm(tuple(items)), type_form(returns))


def _array_form(kind: Sequence) -> Form:
    sizes: list[Form] = []
    item: Type = kind
    while isinstance(item, Sequence) and item.word == "array":
        sizes.append(Symbol("?") if item.size is None else Literal("integer", item.size))
        item = item.item
    return _vector("array", type_form(item), VectorForm(tuple(sizes)))


def _entry_form(entry: Entry) -> Form:
    items = [entry.key, type_form(entry.type)]
    return VectorForm((*items, Symbol("?")) if entry.optional else tuple(items))


def _vector(word: str, *items: Form) -> VectorForm:
    return VectorForm((Keyword(word), *items))


def type_text(kind: Type | Refinement) -> str:
    """The type as a program writes it."""
    return printed(type_form(kind))


def describes_sequence(kind: Type) -> bool:
    """Whether a type after ``& rest`` describes all arguments together."""
    match kind:
        case Sequence() | Tuple():
            return True
        case Optional(inner):
            return describes_sequence(inner)
        case Both(members):
            return any(
                describes_sequence(member)
                for member in members
                if not isinstance(member, Refinement)
            )
    return False
