from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccos.rtfs.diagnostics import RtfsSyntaxError
from ccos.rtfs.forms import (
    DEREF,
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    MetaForm,
    Symbol,
    VectorForm,
)
from ccos.rtfs.printer import format_text, printed
from ccos.rtfs.reader import DEPTH_LIMIT, SIZE_LIMIT, read, read_leniently

names = st.from_regex(r"[a-z*!?<>=+-][a-z0-9*!?.-]{0,6}", fullmatch=True).filter(
    lambda name: name not in ("true", "false", "nil") and not name.lstrip("+-")[:1].isdigit()
)
literals = st.one_of(
    st.none().map(lambda _: Literal("nil", None)),
    st.booleans().map(lambda value: Literal("boolean", value)),
    st.integers().map(lambda value: Literal("integer", value)),
    st.floats(allow_nan=False).map(lambda value: Literal("float", value)),
    st.text(st.characters(exclude_categories=["Cs"])).map(lambda value: Literal("string", value)),
    st.just(Literal("timestamp", "2024-01-15T10:30:45.5Z")),
    st.uuids().map(lambda value: Literal("uuid", str(value))),
    st.just(Literal("resource-handle", "resource://a/b")),
)
atoms: st.SearchStrategy[Form] = st.one_of(literals, names.map(Symbol), names.map(Keyword))


def unique(pairs: list[tuple[Form, Form]]) -> MapForm:
    kept: dict[Any, Form] = {}
    for key, value in pairs:
        kept.setdefault(key, value)
    return MapForm(tuple(part for pair in kept.items() for part in pair))


def nested(inner: st.SearchStrategy[Form]) -> st.SearchStrategy[Form]:
    several = st.lists(inner, max_size=4).map(tuple)
    return st.one_of(
        several.map(ListForm),
        several.map(VectorForm),
        st.lists(st.tuples(inner, inner), max_size=3).map(unique),
        st.tuples(
            st.sampled_from(["quote", "quasiquote", "unquote", "unquote-splicing"]), inner
        ).map(lambda pair: ListForm((Symbol(pair[0]), pair[1]))),
        names.map(lambda name: ListForm((Symbol(DEREF), Symbol(name)))),
        st.tuples(names.map(Keyword), inner).map(lambda pair: MetaForm((pair[0],), pair[1])),
    )


forms: st.SearchStrategy[Form] = st.recursive(atoms, nested, max_leaves=12)


@given(st.lists(forms, max_size=3))
@settings(max_examples=300, deadline=None)
def test_what_is_printed_reads_back(whole: list[Form]) -> None:
    assert list(read("\n".join(printed(form) for form in whole)).forms) == whole


@given(st.lists(forms, max_size=3))
@settings(max_examples=200, deadline=None)
def test_formatting_keeps_the_forms_and_is_settled(whole: list[Form]) -> None:
    text = format_text("\n".join(printed(form) for form in whole))
    assert list(read(text).forms) == whole
    assert format_text(text) == text


PIECES = """( ) [ ] { } #( a :k 1 "s" ' ` ~ ~@ @ ^ : #_ , .5 " \\\\ & %1 ##Inf 1a é"""
pieces = st.sampled_from([*PIECES.split(), "; c\n", "#| b |#", "\n", " ", "\x00"])


@given(st.one_of(st.text(max_size=60), st.lists(pieces, max_size=30).map(" ".join)))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused_with_places(text: str) -> None:
    source, diagnostics = read_leniently(text)
    for one in diagnostics:
        assert 0 <= one.start <= one.end <= len(text)
    if not diagnostics:
        formatted = format_text(text)
        assert read(formatted).forms == source.forms
        assert format_text(formatted) == formatted
        for comment in source.comments:
            assert comment.text in formatted


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("[1 2 3)", [(1, 1)]),
        ("(a\n  [b\n\n(c)", [(1, 1), (2, 3)]),
        ("(a))", [(1, 4)]),
        ('(a "b)', [(1, 4)]),
        ("1a .5 5. 1/0", [(1, 1), (1, 4), (1, 7), (1, 10)]),
        ('"\\q" "\\ud800"', [(1, 2), (1, 6)]),
        ("{:a 1 :a 2}", [(1, 7)]),
        ("{:a}", [(1, 1)]),
        ("(f п)", [(1, 4)]),
        ("'", [(1, 1)]),
        ("#(a #(b))", [(1, 5)]),
        ("#| never closed", [(1, 1)]),
        ("^5 x", [(1, 1)]),
        ("@(a)", [(1, 1)]),
    ],
)
def test_every_error_has_its_place(text: str, places: list[tuple[int, int]]) -> None:
    with pytest.raises(RtfsSyntaxError) as caught:
        read(text)
    data = caught.value.report.as_data()
    assert sorted((one["line"], one["column"]) for one in data) == places


def test_a_message_shows_the_line_and_suggests_the_fix() -> None:
    with pytest.raises(RtfsSyntaxError) as caught:
        read("(def a\n  (+ 1 2)\n\n(def b 2)", "plan.rtfs")
    assert caught.value.report.rendered() == (
        "plan.rtfs:1:1: error: `(` is not closed\n"
        "    (def a\n"
        "    ^\n"
        "    hint: add `)` at the end of line 2"
    )


def test_control_characters_of_a_text_do_not_reach_a_terminal() -> None:
    with pytest.raises(RtfsSyntaxError) as caught:
        read("(a \x1b[31m")
    assert "\x1b" not in caught.value.report.rendered()


def test_depth_and_size_are_limited() -> None:
    deep = "(" * DEPTH_LIMIT + ")" * DEPTH_LIMIT
    assert len(read(deep).forms) == 1
    with pytest.raises(RtfsSyntaxError, match="deep"):
        read("(" + deep + ")")
    assert read(" " * SIZE_LIMIT).forms == ()
    with pytest.raises(RtfsSyntaxError, match="larger"):
        read(" " * SIZE_LIMIT + "1")


def test_integers_of_any_length_are_read_and_printed() -> None:
    digits = "9" * 20_000
    [form] = read(digits).forms
    assert printed(form) == digits


def test_comments_stay_where_they_belong() -> None:
    text = """\
; what it does
(defn f [x] ; the argument
  ; the sum
  (+ x 1)) ; the end

; last
"""
    assert format_text(text) == text.replace("1)) ; the end", "1))  ; the end").replace(
        "[x] ; the", "[x]  ; the"
    )
