"""What is asked of a result, rule by rule."""

from __future__ import annotations

import textwrap
from typing import Any

import graphql
import pytest

from ccos.capabilities import Manifest, SchemaValidator
from ccos.importers.graphql import SelectionBudget

from .schemas import LIBRARY
from .test_import import imported, named, provider


def document(text: str, name: str = "query.root", /, **budget: int) -> str:
    """The document for a field, after making sure that it is valid."""
    options = SelectionBudget(**budget) if budget else None
    found = provider(named(imported(text, budget=options), name)).document
    schema = graphql.build_schema(text, assume_valid=True)
    assert graphql.validate(schema, graphql.parse(found)) == [], found
    return found


def inner(text: str, **budget: int) -> str:
    """What is selected of the one root field, without the braces around it."""
    lines = document(text, "query.root", **budget).split("\n")[2:-2]
    return textwrap.dedent("\n".join(lines))


def test_leaves_always() -> None:
    text = "type Query { root: A } type A { a: Int b: [E!]! c: Own d: B } type B { x: Int }"
    text += " enum E { X } scalar Own"
    assert inner(text, depth=1, cost=0) == "a\nb\nc"


def test_objects_to_a_depth() -> None:
    text = "type Query { root: A } type A { a: Int b: B } type B { b: Int c: C } type C { c: Int }"
    assert inner(text, depth=1) == "a"
    assert inner(text, depth=2) == "a\nb {\n  b\n}"
    assert inner(text, depth=3) == "a\nb {\n  b\n  c {\n    c\n  }\n}"


def test_objects_within_a_cost_where_a_list_counts_ten_times() -> None:
    text = "type Query { root: A } type A { a: Int many: [B] one: B } type B { x: Int y: Int }"
    assert inner(text, cost=3) == "a\none {\n  x\n  y\n}"
    assert inner(text, cost=21) == "a\nmany {\n  x\n  y\n}"
    assert inner(text, cost=23) == "a\nmany {\n  x\n  y\n}\none {\n  x\n  y\n}"
    left_out = named(imported(text, budget=SelectionBudget(cost=3)), "root").metadata
    assert left_out["not_selected"] == "A.many"


def test_nearer_objects_come_first() -> None:
    text = "type Query { root: A } type A { b: B c: C } type B { x: Int d: D } type D { y: Int }"
    text += " type C { z: Int }"
    assert inner(text, cost=3) == "b {\n  x\n}\nc {\n  z\n}"


def test_no_type_twice_on_a_path() -> None:
    text = "type Query { root: A again: Query } type A { a: Int b: B self: A query: Query }"
    text += " type B { x: Int a: A }"
    assert inner(text, depth=9) == "a\nb {\n  x\n}"


def test_no_type_twice_on_a_path_through_a_union() -> None:
    text = "type Query { root: A } type A { x: Int u: U } type B { y: Int } union U = A | B"
    assert inner(text) == "x\nu {\n  __typename\n  ... on B {\n    y\n  }\n}"


def test_fields_that_need_arguments_are_left_out_and_reported() -> None:
    text = "type Query { root: A } type A { a: Int b(x: Int!): Int c(x: Int! = 1, y: Int): Int }"
    assert inner(text) == "a\nc"
    (note,) = imported(text).notes
    assert (note.place, note.reason) == (
        "A.b",
        "it needs the argument x, so it is not part of selections",
    )


def test_deprecated_fields_are_left_out() -> None:
    text = "type Query { root: A } type A { a: Int b: Int @deprecated c: B @deprecated }"
    text += " type B { x: Int }"
    assert inner(text) == "a"


def test_an_object_of_which_nothing_can_be_selected() -> None:
    text = "type Query { root: A } type A { b: B } type B { x(y: Int!): Int }"
    assert inner(text) == "__typename"
    assert inner(text.replace("b: B", "b: B c: Int")) == "c"


def test_a_leaf_has_no_selection() -> None:
    assert document("type Query { root(a: Int): [[Int]] }") == (
        "query root($a: Int) {\n  root(a: $a)\n}"
    )


def test_connections_are_asked_for_their_first_entries_once() -> None:
    text = """
    type Query { root: A }
    type A { c(first: Int, after: String): C d(first: String): D }
    type C { total: Int edges: [E] nodes: [N] }
    type E { cursor: String node: N }
    type N { n: Int }
    type D { edges: [E] other: [D] }
    """
    assert inner(text, depth=4) == (
        "c(first: 10) {\n  total\n  nodes {\n    n\n  }\n}\n"
        "d {\n  edges {\n    cursor\n    node {\n      n\n    }\n  }\n}"
    )


ABSTRACT = """
type Query { root: U shown: I! }
interface I { id: ID! owner: I name: String }
type A implements I { id: ID! owner: A name: String! size: Int! only: Int list: [Int] }
type B implements I { id: ID! owner: I name: String size: Int! b: C list: Int }
type C { size: String! c: Int list: [Int] }
union U = A | B | C
"""


def test_unions_by_fragments_with_other_names_where_types_differ() -> None:
    assert inner(ABSTRACT, depth=1) == textwrap.dedent(
        """\
        __typename
        ... on A {
          id
          name
          size
          only
          list
        }
        ... on B {
          id
          name_B: name
          size
          list_B: list
        }
        ... on C {
          size_C: size
          c
          list
        }"""
    )


def test_interfaces_by_their_own_fields_and_fragments_for_the_rest() -> None:
    found = document(ABSTRACT, "query.shown", depth=1)
    assert textwrap.dedent("\n".join(found.split("\n")[2:-2])) == textwrap.dedent(
        """\
        __typename
        id
        name
        ... on A {
          size
          only
          list
        }
        ... on B {
          size
          list_B: list
        }"""
    )


def test_an_alias_is_never_the_name_of_a_field_or_of_another_alias() -> None:
    text = """
    type Query { root: U }
    type A { x: Int x_B: Int a_b: Int a: Int }
    type B { x: String }
    type b_c { a: String }
    type c { a_b: String }
    union U = A | B | b_c | c
    """
    found = inner(text)
    assert "x_B_: x" in found
    assert "a_b_c: a" in found
    assert "a_b_c_: a_b" in found


def test_types_that_do_not_fit_are_left_out_and_told() -> None:
    api = imported(ABSTRACT, budget=SelectionBudget(cost=6, depth=1))
    root = named(api, "root")
    assert "... on A" in provider(root).document
    assert "... on B" not in provider(root).document
    assert root.metadata["not_selected"] == "U: B, U: C, A.owner"


@pytest.mark.parametrize("name", ["query.book", "query.printed", "query.node", "mutation.addBook"])
def test_the_documents_of_a_whole_schema(name: str) -> None:
    found = document(LIBRARY, name, depth=4, cost=10_000)
    assert "portrait" not in found
    assert "oldTitle" not in found


def answer(root: Manifest, data: Any, **more: Any) -> list[str]:
    assert root.output_schema is not None
    faults = SchemaValidator(root.output_schema).faults({"data": data, **more})
    return [fault.path for fault in faults]


def test_the_output_schema_follows_the_selection() -> None:
    root = named(imported(ABSTRACT, budget=SelectionBudget(depth=2)), "root")
    one: Any = {
        "__typename": "A",
        "id": "1",
        "name": "x",
        "size": 1,
        "only": None,
        "list": [1, None],
    }
    other: Any = {"__typename": "B", "id": "2", "name_B": None, "size": 2, "list_B": 3}
    other["b"] = {"size": "big", "c": None, "list": None}
    assert answer(root, one) == []
    assert answer(root, other) == []
    assert answer(root, None, errors=[{"message": "x", "path": ["root", 0]}]) == []
    assert answer(root, {"id": "1"}) == ["/data"]
    assert answer(root, one | {"name": None}) == ["/data/name"]
    assert answer(root, other | {"b": {"size": 1}}) != []
    assert answer(root, [one]) == ["/data"]


def test_the_output_schema_of_lists_and_leaves() -> None:
    api = imported("type Query { a: [[Int!]]! b: Own! c: E } scalar Own enum E { X }")
    assert answer(named(api, "query.a"), [[1], None]) == []
    assert answer(named(api, "query.a"), [[None]]) == ["/data/0/0"]
    assert answer(named(api, "query.a"), None) == ["/data"]
    assert answer(named(api, "query.b"), {"any": "thing"}) == []
    assert answer(named(api, "query.c"), "ADDED_LATER") == []
    assert answer(named(api, "query.c"), 1) == ["/data"]


@pytest.mark.parametrize("budget", [{"depth": 0}, {"depth": 11}, {"cost": -1}])
def test_a_budget_has_bounds(budget: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="depth of 1 to 10"):
        SelectionBudget(**budget)
