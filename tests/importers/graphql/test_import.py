"""What becomes of a schema as a whole."""

from __future__ import annotations

import json
from typing import Any

import graphql
import pytest

from ccos.capabilities import AuthReference, EffectType, GraphQlProvider, Manifest
from ccos.errors import ImportDocumentError, InvalidIdentifierError
from ccos.importers.graphql import ImportedApi, import_graphql

from .schemas import LIBRARY

ENDPOINT = "https://api.library.test/graphql/?v=1"


def imported(document: Any = LIBRARY, **options: Any) -> ImportedApi:
    options = {"location": "library.graphql", "endpoint": ENDPOINT} | options
    return import_graphql(document, **options)


def named(api: ImportedApi, name: str) -> Manifest:
    (found,) = (one for one in api.capabilities if one.id.endswith(f".{name}"))
    return found


def provider(one: Manifest) -> GraphQlProvider:
    assert isinstance(one.provider, GraphQlProvider)
    return one.provider


def test_each_root_field_is_a_capability() -> None:
    api = imported()
    assert api.api == "library_test"
    assert api.quarantined == ()
    assert [one.id.removeprefix("graphql.library_test.") for one in api.capabilities] == [
        *("query.book", "query.books", "query.node", "query.printed", "query.count", "query.old"),
        *("mutation.addBook", "mutation.deleteBook", "subscription.added"),
    ]
    assert api.places["graphql.library_test.query.book"] == "Query.book"
    assert api.tool_names["graphql.library_test.query.book"] == "graphql_library_test_query_book"
    book = named(api, "query.book")
    assert (book.name, book.description) == ("book", "One book")
    assert provider(book).endpoint == ENDPOINT
    assert provider(book).document.startswith("query book($key: BookKey!) {\n  book(key: $key) {")
    assert not api.needs_base_url


def test_effects_come_from_the_kind_of_operation_and_a_name_can_only_add_to_them() -> None:
    api = imported()
    effects = {one.name: (one.effect_type, one.effects) for one in api.capabilities}
    assert effects["book"] == (EffectType.READ_ONLY, ("network",))
    assert effects["addBook"] == (EffectType.EFFECTFUL, ("network", "write"))
    assert effects["deleteBook"] == (EffectType.EFFECTFUL, ("destructive", "network", "write"))
    assert effects["added"] == (EffectType.READ_ONLY, ("network", "stream"))
    others = imported("type Query { deleteIt: Int } type Mutation { deletedIt: Int drop_it: Int }")
    effects = {one.name: (one.effect_type, one.effects) for one in others.capabilities}
    assert effects["deleteIt"] == (EffectType.READ_ONLY, ("network",))
    assert effects["deletedIt"] == (EffectType.EFFECTFUL, ("network", "write"))
    assert "destructive" in effects["drop_it"][1]


def test_what_is_deprecated_says_so() -> None:
    old = named(imported(), "query.old")
    assert old.metadata["deprecated"] == "true"
    assert old.description == "Deprecated: Nobody asks"
    assert "deprecated" not in named(imported(), "query.book").metadata


@pytest.mark.parametrize("form", ["data", "inner", "text", "bytes", "sdl-bytes"])
def test_every_form_of_a_schema_gives_the_same(form: str) -> None:
    answer = graphql.introspection_from_schema(graphql.build_schema(LIBRARY), one_of=True)
    document: Any = {
        "data": {"data": answer},
        "inner": answer,
        "text": json.dumps({"data": answer}),
        "bytes": b"\xef\xbb\xbf\n" + json.dumps(answer).encode(),
        "sdl-bytes": b"\xef\xbb\xbf" + LIBRARY.encode(),
    }[form]
    expected = {one.id: one for one in imported().capabilities}
    found = {one.id: one for one in imported(document).capabilities}
    assert found.keys() == expected.keys()
    for key, one in found.items():
        assert one.input_schema == expected[key].input_schema
        assert one.output_schema == expected[key].output_schema


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("book", ["book"]),
        ("*Book", ["addBook", "deleteBook"]),
        ("mutation.*", ["addBook", "deleteBook"]),
        ("Query.b*", ["book", "books"]),
        ("graphql.library_test.subscription.*", ["added"]),
        ("nothing", []),
    ],
)
def test_fields_are_selected_by_a_pattern(pattern: str, names: list[str]) -> None:
    assert [one.name for one in imported(select=pattern).capabilities] == names


def test_without_an_endpoint_the_place_is_unknown() -> None:
    api = imported(endpoint=None, location="zoo.graphql")
    assert api.needs_base_url
    assert api.api == "zoo"
    assert provider(api.capabilities[0]).endpoint == "https://zoo.base-url-unknown.invalid/graphql"


def test_secrets_times_and_the_place_of_subscriptions_reach_every_capability() -> None:
    secret = AuthReference(scheme="bearer", environment=("A",))
    api = imported(
        auth=(secret,), timeout_seconds=5, subscriptions_endpoint="https://live.test/", api="lib"
    )
    assert {provider(one).auth for one in api.capabilities} == {(secret,)}
    assert {provider(one).timeout_seconds for one in api.capabilities} == {5}
    assert provider(named(api, "added")).subscriptions_endpoint == "https://live.test/"
    assert provider(named(api, "query.book")).subscriptions_endpoint is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoint": "ftp://x.test"}, "endpoint cannot be used"),
        ({"endpoint": "https://u:p@x.test/"}, "endpoint cannot be used"),
        ({"document": "type Query {"}, "line 1, column 13"),
        ({"document": "scalar A"}, "no type for queries"),
        ({"document": "schema { query: A } scalar A"}, "no type for queries"),
        ({"document": b"\xff"}, "not text in UTF-8"),
        ({"document": '{"data": {"a": 1}}'}, "no answer to an introspection query"),
        ({"document": "{"}, "cannot be read"),
        (
            {"document": {"errors": [{"message": "introspection is\noff."}], "data": None}},
            "query: introspection is off.",
        ),
    ],
)
def test_what_is_no_schema_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImportDocumentError, match=words):
        imported(**options)


def test_an_id_needs_a_proper_name() -> None:
    with pytest.raises(InvalidIdentifierError):
        imported(api="a b")


FAULTY = """
type Query {
  fine: String
  unknown: Missing
  asks(value: Missing): String
  needs(value: Missing!): String
  wrong: In
  wrongArgument(value: Query): String
  endless(value: Endless!): String
  maybe(value: Endless): String
  through(value: Through!): String
  choice(value: Choice!): String
  list(value: [Endless!]!): String
  both(value: Both!): String
  nested: Nested
}
type Nested { good: Int bad: Missing worse(value: Missing!): Int }
input In { a: Int }
input Both { good: In! bad: Endless! other: In! }
input Endless { again: Endless! }
input Through { other: Other! }
input Other { back: Through! extra: Missing }
input Choice @oneOf { again: Choice other: Endless }
union Any = Nested | Missing | In
"""


def test_a_fault_costs_its_field_and_nothing_else() -> None:
    api = imported(FAULTY)
    assert {one.name for one in api.capabilities} == {
        *("fine", "asks", "wrongArgument", "maybe", "list", "nested"),
    }
    reasons = {one.place: one.reason for one in api.quarantined}
    assert reasons == {
        "Query.unknown": "the type Missing is not defined",
        "Query.needs": "the argument value is needed, and the type Missing is not defined",
        "Query.wrong": "the type In is an input object and cannot stand there",
        "Query.endless": (
            "the argument value is needed, and no value is possible for its type Endless"
        ),
        "Query.through": (
            "the argument value is needed, and no value is possible for its type Through"
        ),
        "Query.choice": (
            "the argument value is needed, and no value is possible for its type Choice"
        ),
        "Query.both": "the argument value is needed, and no value is possible for its type Both",
    }
    assert api.operations == 13
    places = {note.place for note in api.notes}
    assert {"Nested.bad", "Nested.worse", "Query.asks(value:)", "Query.maybe(value:)"} <= places
    assert named(api, "wrongArgument").input_schema["properties"] == {}  # type: ignore[index]
    assert {"Other.extra", "Any"} <= places
    nested = named(api, "nested")
    assert "good" in provider(nested).document
    assert "bad" not in provider(nested).document


def test_a_quarantined_field_is_told_only_if_it_is_wanted() -> None:
    assert imported(FAULTY, select="fine").quarantined == ()
    assert [one.place for one in imported(FAULTY, select="unknown").quarantined] == [
        "Query.unknown"
    ]
    assert len(imported(FAULTY, select="query.*").quarantined) == 7


def test_definitions_are_extended_repeated_and_passed_over() -> None:
    api = imported(
        """
        extend type Query { a: Int  b: B }
        type Query { a: String }
        enum B { X } extend enum B { Y }
        directive @x on FIELD
        query Q { a }
        interface Query { c: Int }
        """
    )
    assert {one.name for one in api.capabilities} == {"a", "b"}
    assert named(api, "query.a").metadata["returns"] == "String"
    reasons = " ".join(note.reason for note in api.notes)
    assert "is no part of a schema" in reasons
    assert "it is also defined as interface" in reasons
    assert "the last one counts" in reasons


def test_types_without_anything_in_them() -> None:
    text = """
        type Query { a(e: E, i: In): T b(e: E!): U c(i: In!): I d: Int e(o: Only!): Int }
        enum E  type T  union U  interface I  input In  input Only @oneOf
        type Int { x: String }
    """
    api = imported(text)
    assert {one.name for one in api.capabilities} == {"a", "b", "c", "d"}
    schema = graphql.build_schema(text, assume_valid=True, assume_valid_sdl=True)
    for one in api.capabilities:
        assert graphql.validate(schema, graphql.parse(provider(one).document)) == []
    assert [one.place for one in api.quarantined] == ["Query.e"]
    assert "Int" in {note.place for note in api.notes}


def test_a_long_name_fits_into_an_id_and_a_tool_name() -> None:
    api = imported(f"type Query {{ a{'b' * 300}: Int  a{'b' * 301}: Int }}")
    first, second = api.capabilities
    assert first.id != second.id
    assert provider(first).field == "a" + "b" * 300
    assert all(len(name) <= 64 for name in api.tool_names.values())


def test_too_many_wanted_fields_are_refused_and_a_pattern_helps() -> None:
    text = "type Query { " + " ".join(f"f{number}: Int" for number in range(2_001)) + " }"
    with pytest.raises(ImportDocumentError, match="more than 2000") as caught:
        imported(text)
    assert "pattern" in caught.value.next_step
    assert len(imported(text, select="f1*").capabilities) == 1111
