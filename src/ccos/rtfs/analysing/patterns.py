"""Types in annotations, and patterns that take values apart."""

from __future__ import annotations

from ccos.rtfs import nodes
from ccos.rtfs.analysing.questions import is_keyword, renamed_types
from ccos.rtfs.analysing.scopes import Scope, WrongFormError
from ccos.rtfs.analysing.toplevel import TopLevel
from ccos.rtfs.forms import (
    Form,
    Keyword,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    is_symbol,
    without_meta,
)
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Named,
    Type,
    TypeSyntaxError,
    read_type,
)


class Patterns(TopLevel):
    """Reads patterns and types."""

    def _type(self, form: Form) -> Type:
        try:
            return self._qualified_type(read_type(form))
        except TypeSyntaxError as error:
            raise WrongFormError(error.message, error.form) from error

    def _qualified_type(self, kind: Type) -> Type:
        """Names of types as the whole program knows them."""
        renamed: Type = renamed_types(kind, self._named_type)
        return renamed

    def _named_type(self, kind: Named) -> Named:
        known = Named(self._type_name(kind.name), kind.start, kind.end)
        self._named_types.append(known)
        return known

    def _type_name(self, name: str) -> str:
        if name in self._module.types:
            return self._module.types[name]
        if name in self._imported_types:
            return self._imported_types[name]
        module, member = self._split(name)
        if module is not None and module.offers(member) and member in module.types:
            return module.types[member]
        return name

    def _pattern(self, form: Form, scope: Scope) -> nodes.Pattern:
        form = without_meta(form)
        match form:
            case Symbol("_"):
                return nodes.Ignore(form.start)
            case Symbol("&"):
                raise WrongFormError("`&` stands inside a vector of patterns", form)
            case Symbol(name):
                return nodes.Name(self._bound(name, scope), form.start)
            case VectorForm():
                return self._items_pattern(form, scope)
            case MapForm():
                return self._members_pattern(form, scope)
        raise WrongFormError("a pattern is a name, a vector or a map", form)

    def _items_pattern(self, form: VectorForm, scope: Scope) -> nodes.Items:
        items = list(form.items)
        parts: list[nodes.Pattern] = []
        rest: nodes.Variable | None = None
        whole: nodes.Variable | None = None
        open_end = False
        while items:
            item = items.pop(0)
            if is_symbol(item, "&"):
                if not items or not isinstance(items[0], Symbol) or items[0].name == "&":
                    raise WrongFormError("`&` is followed by a name", item)
                name = items.pop(0)
                assert isinstance(name, Symbol)
                open_end = True
                rest = None if name.name == "_" else self._bound(name.name, scope)
                if items and not is_keyword(items[0], "as"):
                    raise WrongFormError("nothing follows the name after `&`", items[0])
            elif item == Keyword("as"):
                name = items.pop(0) if len(items) == 1 else item
                if not isinstance(name, Symbol):
                    raise WrongFormError("`:as` is followed by one name", item)
                whole = self._bound(name.name, scope)
            else:
                parts.append(self._pattern(item, scope))
        return nodes.Items(parts, rest, open_end, whole, form.start)

    def _members_pattern(self, form: MapForm, scope: Scope) -> nodes.Members:
        items = list(form.items)
        rest: nodes.Variable | None = None
        whole: nodes.Variable | None = None
        entries: list[tuple[Form, bool, Form]] = []
        defaults: list[tuple[Form, Form]] = []
        while items:
            key = items.pop(0)
            if not items:
                raise WrongFormError("this key has no pattern", key)
            value = items.pop(0)
            if key == Keyword("keys") or key == Keyword("strs"):
                if not isinstance(value, VectorForm):
                    raise WrongFormError(f"`:{key.name}` takes a vector of names", key)
                lenient = key == Keyword("keys")
                entries += [self._short_entry(lenient, without_meta(one)) for one in value.items]
            elif key == Keyword("or"):
                if not isinstance(value, MapForm):
                    raise WrongFormError("`:or` takes a map of defaults", key)
                defaults = value.pairs
            elif key == Keyword("as") and isinstance(value, Symbol):
                whole = self._bound(value.name, scope)
            elif is_symbol(key, "&"):
                if not isinstance(value, Symbol):
                    raise WrongFormError("`&` is followed by a name", key)
                rest = self._bound(value.name, scope)
            elif isinstance(key, Keyword | Literal):
                entries.append((key, False, value))
            elif isinstance(value, Keyword | Literal):
                entries.append((value, False, key))
            else:
                raise WrongFormError("an entry is a key and a pattern", key)
        members = [self._pattern_member(entry, defaults, scope) for entry in entries]
        return nodes.Members(members, rest, whole, form.start)

    def _short_entry(self, keywords: bool, name: Form) -> tuple[Form, bool, Form]:
        if isinstance(name, Keyword):
            name = Symbol(name.name, name.start, name.end)
        if not isinstance(name, Symbol):
            raise WrongFormError("a name is a symbol", name)
        if not keywords:
            return Literal("string", name.name, name.start, name.end), False, name
        local = Symbol(name.name.rpartition("/")[2] or name.name, name.start, name.end)
        return Keyword(name.name, name.start, name.end), True, local

    def _pattern_member(
        self, entry: tuple[Form, bool, Form], defaults: list[tuple[Form, Form]], scope: Scope
    ) -> nodes.Member:
        key, lenient, target = entry
        default: Node | None = None
        for name, value in defaults:
            named = name.name if isinstance(name, Symbol | Keyword) else None
            if isinstance(target, Symbol) and named == target.name:
                default = self._node(value, scope, None)
        return nodes.Member(key, lenient, self._pattern(target, scope), default, key.start)
