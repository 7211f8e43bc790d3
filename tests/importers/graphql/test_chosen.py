"""Selections that the caller chooses."""

from __future__ import annotations

from typing import Any

import graphql
import pytest

from ccos.capabilities import Manifest, SchemaValidator
from ccos.errors import ImportDocumentError

from .schemas import LIBRARY
from .test_import import imported, named, provider


def chosen(name: str, text: str, schema: str = LIBRARY) -> Manifest:
    one = named(imported(schema, selections={name: text}), name)
    core = graphql.build_schema(schema)
    assert graphql.validate(core, graphql.parse(provider(one).document)) == []
    return one


def faults(one: Manifest, data: Any) -> list[str]:
    assert one.output_schema is not None
    return [fault.path for fault in SchemaValidator(one.output_schema).faults({"data": data})]


def test_a_selection_is_used_as_it_stands() -> None:
    one = chosen("query.book", "{ title by: author { name } }")
    assert provider(one).document == (
        "query book($key: BookKey!) {\n  book(key: $key) {\n    title\n"
        "    by: author {\n      name\n    }\n  }\n}"
    )
    assert faults(one, {"title": "x", "by": {"name": None}}) == []
    assert faults(one, {"title": "x"}) == ["/data"]
    assert chosen("query.book", "title") == chosen("query.book", "{ title }")


def test_its_variables_become_arguments() -> None:
    one = chosen(
        "query.book",
        "{ author { portrait(size: $size) books(first: $count) { totalCount } } }",
    )
    assert "$key: BookKey!, $size: Int!, $count: Int" in provider(one).document
    schema: Any = one.input_schema
    assert schema["required"] == ["key", "size"]
    assert SchemaValidator(schema).accepts({"key": {"id": 1}, "size": 5, "count": None})


def test_a_variable_called_like_an_argument_is_that_argument() -> None:
    text = "{ nodes { author { books(first: $first) { totalCount } } } }"
    one = chosen("query.books", text)
    assert provider(one).document.count("$first") == 3
    wrong = text.replace("first: $first", "after: $first")
    with pytest.raises(ImportDocumentError, match="Variable '\\$first' of type 'Int'"):
        chosen("query.books", wrong)


def test_fragments_and_directives_make_fields_optional() -> None:
    one = chosen(
        "query.node",
        """{
          id @skip(if: $short)
          ... on Named { name }
          ... on Book { title author { id } ... on Node { id } }
          ... @include(if: $more) { __typename }
        }""",
    )
    schema: Any = one.input_schema
    assert schema["required"] == ["id", "short", "more"]
    assert faults(one, {}) == []
    assert faults(one, {"title": "x", "author": {"id": "1"}, "name": None}) == []
    assert faults(one, {"title": None}) == ["/data/title"]


def test_fields_asked_for_twice_are_joined() -> None:
    one = chosen("query.book", "{ author { id } ... on Book { author { name } } }")
    assert faults(one, {"author": {"id": "1", "name": None}}) == []
    assert faults(one, {"author": {"id": "1"}}) == ["/data/author"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("query.book", "{ missing }", "Cannot query field 'missing'"),
        ("query.book", "{ author }", "must have a selection of subfields"),
        ("query.book", "{ title", "Expected Name"),
        ("query.book", "{ title } query b { count }", "more than one selection"),
        ("query.book", "{ ...F } fragment F on Book { ...F }", "more than one selection"),
        ("query.book", "{ ...F }", "Unknown fragment 'F'"),
        ("query.book", "{ a: title a: pages }", "conflict"),
        ("query.book", "{ author { portrait } }", "of type 'Int!' is required"),
        ("query.book", "mutation { x }", "Cannot query field 'mutation'"),
        (
            "query.book",
            "{ " + "author { books { nodes { " * 5 + "title" + " } } }" * 5 + " }",
            "deeper than 12",
        ),
        ("query.book", "{ title " + "# x\n" * 10_000 + "}", "characters"),
        ("query.book", "{ " + "title " * 3_000 + "}", "tokens"),
        ("query.count", "{ x }", "nothing can be selected"),
        ("query.nothing", "{ x }", "no field that is imported"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ImportDocumentError, match=words):
        imported(selections={name: text})


def test_a_name_of_two_fields_is_refused() -> None:
    text = "type Query { a: B } type Mutation { a: B } type B { x: Int y: Int }"
    with pytest.raises(ImportDocumentError, match="more than one field"):
        imported(text, selections={"a": "{ x }"})
    api = imported(text, selections={"mutation.a": "{ x }"})
    assert "y" in provider(named(api, "query.a")).document
    assert "y" not in provider(named(api, "mutation.a")).document


def test_the_places_of_a_selection_are_those_of_a_schema_with_faults() -> None:
    text = "type Query { a: B bad: Missing } type B { x: Int c: C } union C = B | Missing"
    api = imported(text, selections={"a": "{ x c { __typename ... on B { x } } }"})
    assert "... on B" in provider(named(api, "query.a")).document
