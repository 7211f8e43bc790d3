"""What is asked of a result: a selection that is built by rules.

1. Of an object its leaves are selected: fields that hold scalars and enums.
2. Objects inside of it are selected as far as the budget reaches, nearer ones first and in the
   order of the schema.
3. No type stands twice on a path.
4. Of an interface its own fields are selected, and of it and of a union those of each type it can
   be, by inline fragments, with ``__typename``.
5. Fields that need arguments, and deprecated ones, are left out. A field that can be paged by
   ``first`` is asked for its first entries.
6. ``edges`` are left out where another list beside them holds what their ``node`` is (Relay cursor
   connections).
7. Where fields of one name have different types in different fragments, all but the first are
   asked for under another name, ``<field>_<type>``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ccos.importers.graphql.schema import ABSTRACT, LEAVES, Field, Report, Schema, Type
from ccos.importers.openapi.findings import Effort

PAGE: Final = 10
"""How many entries a list is taken to have, and is asked for where it can be paged."""
MAXIMUM_DEPTH: Final = 10
MAXIMUM_FIELDS: Final = 2_000
"""Fields of one document, whatever the budget."""
_TYPENAME: Final = "__typename"
_REPORTED: Final = 20


@dataclass(frozen=True, slots=True)
class SelectionBudget:
    """How much of a result is asked for.

    Attributes:
        depth: How many objects may lie inside one another, the result itself included; at most 10.
        cost: How many values a result is expected to hold, each list having ten entries. The
            leaves of the result itself are selected whatever they cost.
    """

    depth: int = 3
    cost: int = 500

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= MAXIMUM_DEPTH or self.cost < 0:
            raise ValueError(
                f"a selection has a depth of 1 to {MAXIMUM_DEPTH} and a cost of at least 0"
            )


@dataclass(slots=True)
class Selected:
    """A field in a selection."""

    field: Field
    arguments: str = ""
    """As written in the document, such as ``(first: 10)``."""
    inner: Selection | None = None
    optional: bool = False
    """Whether a directive may leave it out."""


@dataclass(slots=True)
class Selection:
    """What is asked of a value of one type, by response name."""

    type: Type
    fields: dict[str, Selected] = field(default_factory=dict)
    fragments: dict[str, dict[str, Selected]] = field(default_factory=dict)
    """By type: what is asked only of a value of that type."""
    typename: bool = False

    @property
    def empty(self) -> bool:
        """Whether it asks for nothing."""
        return not (self.fields or self.fragments or self.typename)

    def text(self, indent: str = "") -> str:
        """The selection in GraphQL; of an object without anything to select its type's name."""
        deeper = indent + "  "
        lines = [deeper + _TYPENAME] if self.typename or self.empty else []
        lines += _lines(self.fields, deeper)
        for name, fields in self.fragments.items():
            inner = "\n".join(_lines(fields, deeper + "  "))
            lines.append(f"{deeper}... on {name} {{\n{inner}\n{deeper}}}")
        return "{\n" + "\n".join(lines) + f"\n{indent}}}"


def _lines(fields: dict[str, Selected], indent: str) -> Iterator[str]:
    for key, one in fields.items():
        alias = f"{key}: " if key != one.field.name else ""
        inner = f" {one.inner.text(indent)}" if one.inner else ""
        yield f"{indent}{alias}{one.field.name}{one.arguments}{inner}"


@dataclass(frozen=True, slots=True)
class _Parts:
    """What of a type can be selected."""

    leaves: dict[str, Field]
    objects: dict[str, Field]


@dataclass(frozen=True, slots=True)
class _Pending:
    """An object field of which it is not decided yet whether it is selected."""

    into: dict[str, Selected]
    key: str
    field: Field
    owner: str
    path: frozenset[str]
    depth: int
    weight: int


class Selections:
    """Builds selections; what it learns about a type serves all of them."""

    def __init__(
        self, schema: Schema, budget: SelectionBudget, report: Report, effort: Effort
    ) -> None:
        self._schema = schema
        self._budget = budget
        self._report = report
        self._effort = effort
        self._parts: dict[str, _Parts] = {}
        self._fragments: dict[str, dict[str, _Parts]] = {}

    def build(self, root: Field, *, owner: str) -> tuple[Selection | None, tuple[str, ...]]:
        """The selection for a root field, and the coordinates of the first things left out.

        None for a field that holds a leaf.

        Args:
            root: The field.
            owner: Name of the type that it belongs to.
        """
        if self._schema.types[root.type.name].kind in LEAVES:
            return None, ()
        holder: dict[str, Selected] = {}
        plan = _Plan(self._budget.cost)
        start = _Pending(holder, root.name, root, owner, frozenset({owner}), 1, 1)
        waiting = deque([start])
        while waiting:
            waiting.extend(self._select(waiting.popleft(), plan))
        (selected,) = holder.values()
        assert selected.inner is not None
        _prune(selected.inner)
        return selected.inner, tuple(plan.left_out)

    def _select(self, pending: _Pending, plan: _Plan) -> list[_Pending]:
        """Select an object field if it fits, and tell what is to be decided next."""
        name = pending.field.type.name
        one = self._schema.types[name]
        weight = pending.weight * (PAGE if pending.field.type.item else 1)
        first = pending.depth == 1
        parts = self._of(one)
        self._effort.spend()
        price = max(1, len(parts.leaves)) * weight
        if not plan.affords(price, max(1, len(parts.leaves)), always=first):
            plan.leave(f"{pending.owner}.{pending.field.name}")
            return []
        self._effort.spend(len(parts.leaves))
        selection = Selection(one, typename=one.kind in ABSTRACT)
        if first and len(parts.leaves) > MAXIMUM_FIELDS:
            plan.leave(f"{name}: all but {MAXIMUM_FIELDS} leaves")
        leaves = list(parts.leaves.items())[:MAXIMUM_FIELDS]
        selection.fields |= {key: Selected(leaf) for key, leaf in leaves}
        pending.into[pending.key] = Selected(
            pending.field, "" if first else _paging(pending.field), selection
        )
        path = pending.path | {name}
        below = [
            _Pending(selection.fields, key, entry, name, path, pending.depth + 1, weight)
            for key, entry in parts.objects.items()
        ]
        for member, own in self._members(one).items():
            if member in path:
                continue
            self._effort.spend()
            if not plan.affords(len(own.leaves) * weight, len(own.leaves)):
                plan.leave(f"{name}: {member}")
                continue
            self._effort.spend(len(own.leaves))
            fields = {key: Selected(leaf) for key, leaf in own.leaves.items()}
            selection.fragments[member] = fields
            longer = path | {member}
            below += [
                _Pending(fields, key, entry, member, longer, pending.depth + 1, weight)
                for key, entry in own.objects.items()
            ]
        if pending.depth < self._budget.depth:
            return [one for one in below if one.field.type.name not in one.path]
        for left in below:
            plan.leave(f"{left.owner}.{left.field.name}")
        return []

    def _of(self, one: Type) -> _Parts:
        found = self._parts.get(one.name)
        if found is None:
            found = self._parts[one.name] = self._read(one)
        return found

    def _read(self, one: Type) -> _Parts:
        parts = _Parts({}, {})
        for name, entry in one.fields.items():
            needed = [argument.name for argument in entry.arguments.values() if argument.required]
            if needed:
                self._report(
                    f"{one.name}.{name}",
                    f"it needs the argument {needed[0]}, so it is not part of selections",
                )
            elif entry.deprecated is None and not self._is_repeated(one, entry):
                leaf = self._schema.types[entry.type.name].kind in LEAVES
                (parts.leaves if leaf else parts.objects)[name] = entry
        return parts

    def _is_repeated(self, one: Type, entry: Field) -> bool:
        if entry.name != "edges":
            return False
        node = self._schema.types[entry.type.name].fields.get("node")
        return node is not None and any(
            beside.type.item is not None and beside.type.name == node.type.name
            for beside in one.fields.values()
        )

    def _members(self, one: Type) -> dict[str, _Parts]:
        """By type that an abstract one can be: what it has besides, each under its response name.

        The names depend on nothing but the abstract type, so that selections that meet in one
        place of a result always agree (GraphQL September 2025, section 5.3.2).
        """
        found = self._fragments.get(one.name)
        if found is not None:
            return found
        found = self._fragments[one.name] = {}
        if one.kind not in ABSTRACT:
            return found
        members = [self._schema.types[name] for name in self._schema.possible.get(one.name, ())]
        self._effort.spend(sum(len(member.fields) for member in members))
        names = {name for member in members for name in member.fields} | one.fields.keys()
        shapes: dict[str, str] = {}
        for member in members:
            parts = self._of(member)
            own = _Parts({}, {})
            for source, into in ((parts.leaves, own.leaves), (parts.objects, own.objects)):
                for name, entry in source.items():
                    if name in one.fields:
                        continue
                    shape = str(entry.type)
                    same = shapes.setdefault(name, shape) == shape
                    into[name if same else _alias(name, member.name, names)] = entry
            found[member.name] = own
        return found


class _Plan:
    """How much one document may still hold, and what did not fit."""

    def __init__(self, cost: int) -> None:
        self._cost = cost
        self._fields = MAXIMUM_FIELDS
        self.left_out: dict[str, None] = {}

    def affords(self, cost: int, fields: int, *, always: bool = False) -> bool:
        """Take it from what is left, if there is as much."""
        if not always and (cost > self._cost or fields > self._fields):
            return False
        self._cost -= cost
        self._fields -= fields
        return True

    def leave(self, coordinate: str) -> None:
        if len(self.left_out) < _REPORTED:
            self.left_out[coordinate] = None


def _paging(entry: Field) -> str:
    first = entry.arguments.get("first")
    return f"(first: {PAGE})" if first is not None and str(first.type) == "Int" else ""


def _alias(name: str, member: str, taken: set[str]) -> str:
    alias = f"{name}_{member}"
    while alias in taken:
        alias += "_"
    taken.add(alias)
    return alias


def _prune(selection: Selection) -> None:
    """Leave out objects of which nothing is selected."""
    groups = [selection.fields, *selection.fragments.values()]
    for fields in groups:
        for key, one in list(fields.items()):
            if one.inner is not None:
                _prune(one.inner)
                if one.inner.empty:
                    del fields[key]
    for member in [name for name, fields in selection.fragments.items() if not fields]:
        del selection.fragments[member]
