"""Schemas, some written by hand and some by chance."""

from __future__ import annotations

from random import Random
from typing import Any

LIBRARY = '''
"""A library that lends books."""
schema { query: Query mutation: Mutation subscription: Subscription }

scalar Date @specifiedBy(url: "https://scalars.graphql.org/andimarek/local-date")
scalar JSON

enum Genre { "Made up" FICTION FACT @deprecated(reason: "Use FICTION") }

interface Node { id: ID! }
interface Named implements Node { id: ID! name: String }

type Author implements Node & Named {
  id: ID!
  name: String
  born: Date
  pages: Int!
  books(first: Int, after: String): BookConnection!
  portrait(size: Int!): String
}
type Book implements Node {
  id: ID!
  title: String!
  genre: Genre!
  pages: Int
  author: Author!
  sequel: Book
  oldTitle: String @deprecated
  reviews: [Review!]!
}
type Magazine implements Node & Named { id: ID! name: String pages: [String] issue: Int! }
type Review { stars: Int! text: String by: Author! on: Printed! }
type BookConnection { totalCount: Int! pageInfo: PageInfo! edges: [BookEdge] nodes: [Book] }
type BookEdge { cursor: String! node: Book }
type PageInfo { endCursor: String hasNextPage: Boolean! }
union Printed = Book | Magazine

input BookFilter {
  "Words of the title"
  title: String
  genres: [Genre!] = [FICTION]
  published: DateRange
  not: BookFilter
  and: [BookFilter!]
}
input DateRange { from: Date! to: Date }
input BookKey @oneOf { id: ID isbn: String }
input NewBook { title: String!, genre: Genre! = FACT, author: ID!, extra: JSON }

type Query {
  "One book"
  book(key: BookKey!): Book
  books(filter: BookFilter, first: Int! = 10, tags: [[String!]]): BookConnection!
  node(id: ID!): Node
  printed: [Printed!]!
  count: Int!
  old: String @deprecated(reason: "Nobody asks")
}
type Mutation {
  addBook(book: NewBook!): Book!
  deleteBook(id: ID!): Boolean
}
type Subscription { added(genre: Genre): Book! }
'''

_NAMES = ("a", "b", "c", "d", "first", "name")
_SCALARS = ("Int", "Float", "String", "Boolean", "ID", "Own", "Colour")
_FORMS = ("{}", "{}", "[{}]", "[{}!]", "[[{}]]")
_DEFAULTS = {
    "Int": "7",
    "Int!": "7",
    "String": '"x"',
    "String!": '"x"',
    "Boolean": "null",
    "Colour!": "RED",
    "[Int]": "[1, null]",
    "[Colour!]!": "[GREEN]",
}


def schema_text(chance: Random) -> str:
    """A valid schema in which names repeat, types differ, and everything refers to everything."""
    return _Author(chance).text()


class _Author:
    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._objects = [f"O{number}" for number in range(chance.randint(2, 5))]
        self._interfaces = [f"I{number}" for number in range(chance.randint(0, 2))]
        self._unions = [f"U{number}" for number in range(chance.randint(0, 2))]
        self._inputs = [f"In{number}" for number in range(chance.randint(1, 3))]

    def text(self) -> str:
        own = {name: self._fields() for name in self._interfaces}
        lines = ["scalar Own", "enum Colour { RED GREEN }"]
        lines += [f"interface {name} {_block(own[name])}" for name in self._interfaces]
        lines += [self._object(name, own) for name in self._objects]
        for name in self._unions:
            members = self._chance.sample(self._objects, self._chance.randint(1, 2))
            lines.append(f"union {name} = {' | '.join(members)}")
        lines += [self._input_object(name) for name in self._inputs]
        lines += [f"type {name} {_block(self._fields())}" for name in ("Query", "Mutation")]
        return "\n".join(lines)

    def _object(self, name: str, own: dict[str, dict[str, str]]) -> str:
        mine = self._fields()
        implemented = []
        for interface, theirs in own.items():
            if self._chance.random() < 0.6 and all(
                mine.get(key, entry) == entry for key, entry in theirs.items()
            ):
                mine |= theirs
                implemented.append(interface)
        said = f" implements {' & '.join(implemented)}" if implemented else ""
        return f"type {name}{said} {_block(mine)}"

    def _input_object(self, name: str) -> str:
        chooses = self._chance.random() < 0.3
        entries: dict[str, str] = {}
        for key in self._some_names(1, 3):
            # One of several must not lead to nothing but itself.
            names = [*_SCALARS, *self._inputs] if entries or not chooses else [*_SCALARS]
            used = self._ref(names).removesuffix("!")
            # An input object that needs another could need itself, which no schema may.
            plain = not any(one in used for one in self._inputs)
            used += "!" * (plain and not chooses and self._chance.random() < 0.5)
            entries[key] = f"{key}: {used}" + ("" if chooses else self._default(used))
        return f"input {name}{' @oneOf' * chooses} {_block(entries)}"

    def _fields(self) -> dict[str, str]:
        outputs = [*_SCALARS, *self._objects, *self._interfaces, *self._unions]
        return {
            name: f"{name}{self._arguments()}: {self._ref(outputs)}"
            for name in self._some_names(1, 4)
        }

    def _arguments(self) -> str:
        listed = []
        for name in self._some_names(0, 2):
            used = "Int" if name == "first" else self._ref([*_SCALARS, *self._inputs])
            listed.append(f"{name}: {used}{self._default(used)}")
        return f"({', '.join(listed)})" if listed else ""

    def _ref(self, names: list[str]) -> str:
        used = self._chance.choice(_FORMS).format(self._chance.choice(names))
        return used + "!" * (self._chance.random() < 0.4)

    def _default(self, used: str) -> str:
        has_one = used in _DEFAULTS and self._chance.random() < 0.5
        return f" = {_DEFAULTS[used]}" if has_one else ""

    def _some_names(self, least: int, most: int) -> list[str]:
        return self._chance.sample(_NAMES, self._chance.randint(least, most))


def _block(entries: dict[str, str]) -> str:
    return "{ " + " ".join(entries.values()) + " }"


def json_value(chance: Random, depth: int = 3) -> Any:
    """Any JSON data that could come near an argument."""
    shape = chance.randrange(8 if depth else 6)
    if shape == 6:
        return [json_value(chance, depth - 1) for _ in range(chance.randint(0, 2))]
    if shape == 7:
        names = chance.sample(_NAMES, chance.randint(0, 2))
        return {name: json_value(chance, depth - 1) for name in names}
    whole = chance.randint(-(2**33), 2**33)
    return [None, chance.random() < 0.5, whole, 0.5, chance.randint(-9, 9), "RED"][shape]
