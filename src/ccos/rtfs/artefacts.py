"""Capabilities and plans as RTFS files: read and analysed, never run to be loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.capabilities import EffectType, canonical_id, parse_version
from ccos.errors import CapabilityError, SecurityViolationError
from ccos.rtfs.analysing import ModuleSource
from ccos.rtfs.compiler import CompiledModule, Dependency, compile_source
from ccos.rtfs.diagnostics import Diagnostic, raise_if_wrong
from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    MetaForm,
    Source,
    Symbol,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.printer import format_source, printed
from ccos.rtfs.reader import read
from ccos.rtfs.recursion import recursing_deeply
from ccos.rtfs.schemas import to_json_schema
from ccos.rtfs.types import Entry, Record, Type, TypeSyntaxError, read_type

IMPLEMENTATION: Final = "implementation"
_DEFINITIONS: Final = frozenset(
    {"def", "defn", "defmacro", "deftype", "defstruct", "module", "import"}
)
_NAMES: Final = ("effects", "permissions", "domains", "categories")
_KNOWN: Final = frozenset(
    {
        *_NAMES,
        *("version", "name", "description", "input-schema", "output-schema", "parameters"),
        *("implementation", "provider", "effect", "metadata"),
    }
)
_SECRETS: Final = frozenset(
    {"secret", "password", "token", "api-key", "apikey", "authorization", "private-key"}
)


@dataclass(frozen=True, slots=True)
class CapabilityArtefact:
    """One ``(capability id …)`` form.

    Attributes:
        id: Canonical id.
        name: The id if the file gives none.
        description: What it does.
        version: Semantic version.
        input_type: Type of the input object, or None.
        output_type: Type of the result, or None.
        input_schema: The same as JSON Schema.
        output_schema: The same as JSON Schema.
        program: The implementation with the helpers it uses; defines ``implementation``, a
            function of the input object. None if a provider does the work.
        provider: What ``:provider`` says, as JSON data.
        effect: Derived from the calls it makes.
        effects: Names.
        permissions: Names.
        domains: Names.
        categories: Names.
        metadata: Free, as JSON data.
        dependencies: The capabilities it calls, through helpers and modules.
        others: Keys that have no meaning here, as text.
        hash: SHA-256 of the canonical print of the form and of the helpers it uses.
        form: The form itself.
        warnings: What is doubtful.
        script: The implementation with its helpers as a text of its own; empty if there is none.
    """

    id: str
    name: str
    description: str
    version: str
    input_type: Type | None
    output_type: Type | None
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    program: CompiledModule | None
    provider: dict[str, Any] | None
    effect: EffectType
    effects: tuple[str, ...]
    permissions: tuple[str, ...]
    domains: tuple[str, ...]
    categories: tuple[str, ...]
    metadata: dict[str, Any]
    dependencies: tuple[Dependency, ...]
    others: dict[str, str]
    hash: str
    form: ListForm = field(repr=False)
    warnings: tuple[Diagnostic, ...] = ()
    script: str = field(default="", repr=False)

    @property
    def calls_dynamically(self) -> bool:
        """Whether it calls a capability whose id is computed."""
        return any(one.identifier is None for one in self.dependencies)

    def printed(self) -> str:
        """The form in canonical layout."""
        return format_source(Source(self.id, "", (self.form,)))


@dataclass(frozen=True, slots=True)
class PlanArtefact:
    """One ``(plan :name "…" :body form)`` form."""

    name: str
    program: CompiledModule
    form: ListForm = field(repr=False)


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What a file holds."""

    capabilities: tuple[CapabilityArtefact, ...]
    plans: tuple[PlanArtefact, ...]


def load_artefacts(
    text: str, name: str = "<rtfs>", *, module_source: ModuleSource | None = None
) -> Artefacts:
    """Read a file of capabilities, plans and private helper definitions.

    Args:
        text: RTFS text.
        name: What people call it, for messages.
        module_source: Answers the text of an imported module, or None.

    Raises:
        RtfsSyntaxError: with everything that is wrong with the text.
        SecurityViolationError: if a capability says it is pure and calls another.
        NotRepresentableError: if data of a schema's type cannot cross the boundary.
    """
    with recursing_deeply():
        return _File(read(text, name), module_source).load()


class _File:
    def __init__(self, source: Source, module_source: ModuleSource | None) -> None:
        self._source = source
        self._module_source = module_source
        self._helpers: list[ListForm] = []
        self._errors: list[Diagnostic] = []
        self._warnings: list[Diagnostic] = []

    def load(self) -> Artefacts:
        capabilities: list[ListForm] = []
        plans: list[ListForm] = []
        for form in _opened(self._source.forms):
            bare = without_meta(form)
            head = head_name(bare)
            if not isinstance(bare, ListForm) or head is None:
                self._wrong("a file of artefacts holds definitions only", form)
            elif head == "capability":
                capabilities.append(bare)
            elif head == "plan":
                plans.append(bare)
            elif head in _DEFINITIONS or head in self._macro_names():
                self._helpers.append(bare)
            else:
                self._wrong("a file of artefacts holds definitions only", form)
        loaded = [self._capability(form) for form in capabilities]
        loaded_plans = [self._plan(form) for form in plans]
        self._stop_if_wrong()
        return Artefacts(
            tuple(one for one in loaded if one is not None),
            tuple(one for one in loaded_plans if one is not None),
        )

    def _macro_names(self) -> set[str]:
        return {
            name for one in self._helpers if head_name(one) == "defmacro" for name in _defines(one)
        }

    def _wrong(self, message: str, form: Form, hint: str = "") -> None:
        self._errors.append(Diagnostic(message, form.start, form.end, hint))

    def _stop_if_wrong(self) -> None:
        raise_if_wrong(self._source.name, self._source.text, self._errors)

    def _options(self, items: tuple[Form, ...]) -> dict[str, Form]:
        options: dict[str, Form] = {}
        if len(items) % 2:
            self._wrong("this key has no value", items[-1])
        for key, value in zip(items[::2], items[1::2], strict=False):
            if not isinstance(key, Keyword):
                self._wrong("a key is a keyword", key)
            elif key.name in options:
                self._wrong(f"`:{key.name}` is given twice", key)
            else:
                options[key.name] = value
        return options

    def _capability(self, form: ListForm) -> CapabilityArtefact | None:
        if len(form.items) < 2:
            self._wrong("a capability has an id", form)
            return None
        before = len(self._errors)
        self._warnings = []
        identifier = self._identifier(form.items[1])
        options = self._options(form.items[2:])
        version = self._version(options, form)
        given, answered = self._types(options)
        implementation, provider = self._work(options, form)
        names = {key: self._names(options.get(key)) for key in _NAMES}
        metadata = self._data_map(options.get("metadata"))
        for key in options.keys() - _KNOWN:
            value = options[key]
            words = f"`:{key}` has no meaning for a capability; it is kept"
            self._warnings.append(Diagnostic(words, value.start, value.end, "", "warning", "Key"))
        if len(self._errors) > before:
            return None
        helpers = self._used_helpers(form)
        program, script = None, ""
        if implementation is not None:
            work = _definition(implementation, options.get("parameters"), form)
            program = self._compiled([*helpers, work])
            script = "\n".join(printed(one) for one in (*helpers, work))
        dependencies = program.dependencies if program is not None else ()
        types = self._named_types(program, helpers, form)
        return CapabilityArtefact(
            identifier,
            self._text(options.get("name")) or identifier,
            self._text(options.get("description")),
            version,
            given,
            answered,
            None if given is None else to_json_schema(given, types),
            None if answered is None else to_json_schema(answered, types),
            program,
            provider,
            self._effect(options, dependencies, provider, identifier),
            names["effects"],
            names["permissions"],
            names["domains"],
            names["categories"],
            metadata,
            dependencies,
            {key: printed(options[key]) for key in options.keys() - _KNOWN},
            _hash([*helpers, form]),
            form,
            (*self._warnings, *(program.warnings if program is not None else ())),
            script,
        )

    def _identifier(self, form: Form) -> str:
        match form:
            case Keyword(text) | Literal("string", str(text)):
                try:
                    return canonical_id(text)
                except CapabilityError as error:
                    self._wrong(error.message.rstrip("."), form)
            case _:
                self._wrong("the id of a capability is a string or a keyword", form)
        return ""

    def _version(self, options: dict[str, Form], form: ListForm) -> str:
        given = options.get("version")
        if given is None:
            self._wrong("a capability has a `:version`", form, 'add `:version "1.0.0"`')
            return ""
        text = self._text(given)
        try:
            return str(parse_version(text))
        except CapabilityError as error:
            self._wrong(error.message.rstrip("."), given)
        return ""

    def _text(self, form: Form | None) -> str:
        if form is None:
            return ""
        if isinstance(form, Literal) and isinstance(form.value, str) and form.kind == "string":
            return form.value
        self._wrong("this is a text", form)
        return ""

    def _types(self, options: dict[str, Form]) -> tuple[Type | None, Type | None]:
        given = self._type(options.get("input-schema"))
        parameters = options.get("parameters")
        if parameters is not None and given is not None:
            self._wrong("`:parameters` and `:input-schema` say the same", parameters)
        if isinstance(parameters, MapForm):
            entries = [(key, self._type(value)) for key, value in parameters.pairs]
            given = Record(tuple(Entry(key, kind) for key, kind in entries if kind is not None))
        elif parameters is not None:
            self._wrong("`:parameters` is a map of names and types", parameters)
        return given, self._type(options.get("output-schema"))

    def _type(self, form: Form | None) -> Type | None:
        if form is None:
            return None
        try:
            return read_type(form)
        except TypeSyntaxError as error:
            self._wrong(error.message, error.form)
            return None

    def _work(
        self, options: dict[str, Form], form: ListForm
    ) -> tuple[Form | None, dict[str, Any] | None]:
        implementation, given = options.get("implementation"), options.get("provider")
        if (implementation is None) == (given is None):
            self._wrong("a capability has either an `:implementation` or a `:provider`", form)
        if given is None:
            return implementation, None
        provider = self._data_map(given)
        if not isinstance(provider.get("type"), str):
            self._wrong("a provider has a `:type`", given, "add `:type :http`, for instance")
        for key in _names_in(provider):
            if key.lower().replace("_", "-") in _SECRETS:
                hint = "name an environment variable instead"
                self._wrong(f"`:{key}` would hold a secret", given, hint)
        return None, provider

    def _names(self, form: Form | None) -> tuple[str, ...]:
        if form is None:
            return ()
        names: list[str] = []
        for item in form.items if isinstance(form, VectorForm) else ():
            match item:
                case Keyword(name) | Symbol(name) | Literal("string", str(name)):
                    names.append(name)
        if not isinstance(form, VectorForm) or len(names) != len(form.items):
            self._wrong("this is a vector of names", form)
        return tuple(names)

    def _data_map(self, form: Form | None) -> dict[str, Any]:
        if form is None:
            return {}
        data = self._data(form)
        if not isinstance(data, dict):
            self._wrong("this is a map", form)
            return {}
        return data

    def _data(self, form: Form) -> Any:
        """Constants as JSON data; keywords by name."""
        match form:
            case Keyword(name) | Symbol(name):
                return name
            case Literal(_, value):
                return value
            case VectorForm(items):
                return [self._data(item) for item in items]
            case MapForm():
                return {str(self._data(key)): self._data(value) for key, value in form.pairs}
        self._wrong("this is no constant", form)
        return None

    def _used_helpers(self, form: ListForm) -> list[ListForm]:
        """The definitions that a form needs, directly or through others, in their order."""
        names = set(_symbols(form))
        used: set[int] = set()
        changed = True
        while changed:
            changed = False
            for index, helper in enumerate(self._helpers):
                defined = _defines(helper)
                needed = not defined or bool(defined & names) or head_name(helper) == "module"
                if needed and index not in used:
                    used.add(index)
                    names |= set(_symbols(helper))
                    changed = True
        return [self._helpers[index] for index in sorted(used)]

    def _compiled(self, forms: Iterable[Form]) -> CompiledModule:
        source = Source(self._source.name, self._source.text, tuple(forms))
        return compile_source(source, module_source=self._module_source)

    def _named_types(
        self, program: CompiledModule | None, helpers: list[ListForm], form: ListForm
    ) -> dict[str, Type]:
        if program is None:
            program = self._compiled([*helpers, Literal("nil", None, form.start, form.start)])
        return dict(program.types)

    def _effect(
        self,
        options: dict[str, Form],
        dependencies: tuple[Dependency, ...],
        provider: dict[str, Any] | None,
        identifier: str,
    ) -> EffectType:
        declared = options.get("effect")
        pure = declared == Keyword("pure")
        if declared is not None and declared not in (Keyword("pure"), Keyword("effectful")):
            self._wrong("`:effect` is `:pure` or `:effectful`", declared)
        if pure and dependencies:
            raise SecurityViolationError(
                f"{identifier} says that it is pure and calls "
                f"{dependencies[0].identifier or 'a capability whose id it computes'} "
                f"on line {dependencies[0].line}.",
                next_step="Declare it :effectful, or remove the call.",
            )
        return EffectType.EFFECTFUL if dependencies or provider else EffectType.PURE

    def _plan(self, form: ListForm) -> PlanArtefact | None:
        options = self._options(form.items[1:])
        name = self._text(options.get("name"))
        body = options.get("body")
        if not name:
            self._wrong("a plan has a `:name`", form)
        if body is None:
            self._wrong("a plan has a `:body`", form)
        if not name or body is None:
            return None
        return PlanArtefact(name, self._compiled([*self._used_helpers(form), body]), form)


def _definition(implementation: Form, parameters: Form | None, form: ListForm) -> ListForm:
    """The implementation as a function of the input object."""
    at, end = form.start, form.start + 1
    given = Symbol("input", at, end)
    work: Form = implementation
    if head_name(without_meta(implementation)) in ("fn", "λ", "lambda"):
        work = ListForm((implementation, given), at, end)
    if isinstance(parameters, MapForm):
        keys = [key for key, _ in parameters.pairs if isinstance(key, Keyword)]
        names = VectorForm(tuple(Symbol(key.name, key.start, key.end) for key in keys), at, end)
        pattern = MapForm((Keyword("keys", at, end), names), at, end)
        binding = VectorForm((pattern, given), at, end)
        work = ListForm((Symbol("let", at, end), binding, work), at, end)
    name = Symbol(IMPLEMENTATION, at, end)
    head = Symbol("defn", at, end)
    return ListForm((head, name, VectorForm((given,), at, end), work), at, end)


def _opened(forms: Iterable[Form]) -> list[Form]:
    """Top-level forms; those of a wrapping ``do`` in its place."""
    result: list[Form] = []
    for form in forms:
        if isinstance(form, ListForm) and head_name(form) == "do":
            result += _opened(form.items[1:])
        else:
            result.append(form)
    return result


def _defines(form: ListForm) -> set[str]:
    """The names that a definition gives; none if it has to be kept in any case."""
    if head_name(form) not in ("def", "defn", "defmacro", "deftype", "defstruct"):
        return set()
    name = without_meta(form.items[1]) if len(form.items) > 1 else None
    return {name.name} if isinstance(name, Symbol) else set()


def _symbols(form: Form) -> Iterable[str]:
    """Every name and type name in a form."""
    waiting = [form]
    while waiting:
        one = waiting.pop()
        match one:
            case Symbol(name) | Keyword(name):
                yield name.removesuffix("?")
                yield name
            case ListForm(items) | VectorForm(items) | MapForm(items):
                waiting.extend(items)
            case MetaForm(meta, inner):
                waiting += [*meta, inner]


def _names_in(data: Any) -> Iterable[str]:
    """Every key of nested JSON data whose value is text."""
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, str):
                yield key
            yield from _names_in(value)
    elif isinstance(data, list):
        for item in data:
            yield from _names_in(item)


def _hash(forms: Iterable[Form]) -> str:
    text = "\n".join(printed(form) for form in forms)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
