"""How deeply JSON nests is known before it is read, whatever the interpreter's recursion limit."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.egress import read_json
from ccos.errors import ImportDocumentError
from ccos.importers.openapi.document import read_document
from ccos.nesting import nests_deeper

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('[]{}"\\a,:é\U0001f600')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('[{"\\x')), inner),
    max_leaves=20,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-le"]))
def test_depth_is_that_of_the_value(value: Any, ascii_only: bool, encoding: str) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    levels = depth(value)
    for document in (text, text.encode(encoding)):
        assert not nests_deeper(document, levels)
        assert levels == 0 or nests_deeper(document, levels - 1)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1", 0),
        ('"[[["', 0),
        ('"\\"[[["', 0),
        (r'"\\", [[', 2),
        (r'["\\\\"[[', 3),
        ('["]]]", [', 2),
        ('{"[": {"]": 1}}', 2),
        ("[][][]", 1),
        ("[[[[", 4),
        ("]]]][[", 0),
        ('"[[[', 0),
        ('["\ud800[", [', 2),
    ],
)
def test_text_that_is_no_json_has_the_depth_that_a_reader_comes_to(text: str, levels: int) -> None:
    assert not nests_deeper(text, levels)
    assert levels == 0 or nests_deeper(text, levels - 1)


@pytest.fixture(params=["as it is", "raised", "lowered"])
def recursion_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    usual, used = sys.getrecursionlimit(), len_of_stack()
    wanted = {"as it is": usual, "raised": 10 * usual, "lowered": used + 200}
    sys.setrecursionlimit(wanted[request.param])
    yield
    sys.setrecursionlimit(usual)


def len_of_stack() -> int:
    frame, length = sys._getframe(), 1
    while frame.f_back is not None:
        frame, length = frame.f_back, length + 1
    return length


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")])
def test_strict_reader_has_a_limit_of_its_own(opening: str, closing: str) -> None:
    deep = opening * 64 + '"[[[["' + closing * 64
    assert depth(read_json(deep)) == 64
    for levels in (65, 500, 5000):
        for text in (opening * levels, opening * levels + "1" + closing * levels):
            with pytest.raises(ValueError, match="it nests too deeply"):
                read_json(text)


@pytest.mark.usefixtures("recursion_limit")
def test_descriptions_of_apis_have_a_limit_of_their_own() -> None:
    for levels in (90, 500, 5000):
        deep = b'{"a": ' * levels + b"1" + b"}" * levels
        if levels == 90:
            assert depth(read_document(deep, location="api.json")) == levels
        else:
            with pytest.raises(ImportDocumentError, match="nested deeper than 100 levels"):
                read_document(deep, location="api.json")
