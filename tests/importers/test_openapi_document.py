"""Reading the text of an API description."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.errors import ImportDocumentError
from ccos.importers.openapi import Note, document, read_document

WHERE = "https://a.example/openapi"


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": [1, 2.5, true, null, "x"]}',
        b"a: [1, 2.5, true, null, x]",
        b"a:\n- 1\n- 2.5\n- true\n- ~\n- 'x'\n",
        b"\xef\xbb\xbf" + b'{"a": [1, 2.5, true, null, "x"]}',
        '{"a": [1, 2.5, true, null, "x"]}'.encode("utf-16"),
        b"%YAML 1.2\n---\na: [0x1, 2.5, True, , !!str x]\n".replace(b", ,", b", null,"),
        b'{"a": [1, 2.5, true, null, "x"],}',
    ],
)
def test_json_and_yaml_are_one(content: bytes) -> None:
    assert read_document(content, location=WHERE) == {"a": [1, 2.5, True, None, "x"]}


def test_yaml_is_read_by_its_core_schema() -> None:
    content = (
        b"no: no\n200: 2026-01-01\non: 0o17\nversion: '1.0'\nempty:\nip: 1.2.3\ntime: 12:30:45"
    )
    assert read_document(content, location=WHERE) == {
        "no": "no",
        "200": "2026-01-01",
        "on": 15,
        "version": "1.0",
        "empty": None,
        "ip": "1.2.3",
        "time": "12:30:45",
    }


@pytest.mark.parametrize(
    ("content", "expected", "fault"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}, "repeats the key 'a'"),
        (b"a: 1\na: 2", {"a": 2}, "repeats the key 'a'"),
        (b'{"a": NaN}', {"a": None}, "NaN is not"),
        (b'{"a": -Infinity}', {"a": None}, "-Infinity is not"),
        (b'{"a": [1e999]}', {"a": [None]}, "infinite"),
        (b"a: .nan", {"a": None}, "is not a JSON number"),
        (b"a: -.INF", {"a": None}, "is not a JSON number"),
        (b'{"a": "x\\ud800"}', {"a": "x\ufffd"}, "malformed"),
        (b'{"\\ud800": 1}', {"\ufffd": 1}, "malformed"),
    ],
)
def test_what_parsers_disagree_about_is_noted(content: bytes, expected: Any, fault: str) -> None:
    notes: list[Note] = []
    assert read_document(content, location=WHERE, notes=notes) == expected
    assert [fault in note.reason for note in notes] == [True]
    notes.clear()
    assert read_document(b'{"a": [1, 1.5, "\\ud83d\\ude00"]}', location=WHERE, notes=notes)
    assert not notes


def test_explicit_types_of_yaml() -> None:
    content = b"a: !!int '5'\nb: !!float 1\nc: !!bool true\nd: !!timestamp 2026-01-01\n---\n"
    assert read_document(content, location=WHERE) == {"a": 5, "b": 1, "c": True, "d": "2026-01-01"}


def test_values_are_counted_before_they_are_built() -> None:
    with pytest.raises(ImportDocumentError, match="more than 700000 values"):
        read_document(b'{"a": [' + b"[]," * 700_001 + b"0]}", location=WHERE)
    text = b'{"a": "' + b"," * 1_000_001 + b'"}'
    assert len(read_document(text, location=WHERE)["a"]) == 1_000_001


def test_aliases_and_merges() -> None:
    content = (
        b"base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\nlist: [*b, &n 5, *n]\n"
        b"many: {<<: [*b, {y: 4, z: 5}]}"
    )
    assert read_document(content, location=WHERE) == {
        "base": {"x": 1, "y": 2},
        "many": {"x": 1, "y": 2, "z": 5},
        "other": {"x": 1, "y": 3},
        "list": [{"x": 1, "y": 2}, 5, 5],
    }


def alias_bomb(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)
    ]
    return "\n".join(lines).encode()


def test_aliases_count_as_often_as_they_are_used() -> None:
    assert len(read_document(alias_bomb(4), location=WHERE)) == 4
    with pytest.raises(ImportDocumentError, match="more than 400000 values"):
        read_document(alias_bomb(12), location=WHERE)
    # Counting while reading is what keeps merged objects from being built in the first place.
    with pytest.raises(Exception, match="more than 400000 values"):
        document._parse_yaml(alias_bomb(12).decode(), print)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: !!python/object/apply:os.system [id]", "tag"),
        (b"a: !!binary aGk=", "tag"),
        (b"a: !custom x", "tag"),
        (b"a: &a [*a]", "alias"),
        (b"a: *unknown", "alias"),
        (b"? [x]\n: 1", "key that is not text"),
        (b"[" * 500_000, "nested"),
        (b'{"a":' * 500_000, "nested"),
        (b"- " * 50_000, "nested"),
        (b"[1, 2", "line 1"),
        (b'{"a" 1}', "line 1, column 6"),
        (b"a: b: c", "line 1, column 5"),
        (b"a: 1\n---\nb: 2", "2 YAML documents"),
        (b"", "0 YAML documents"),
        (b"\x80\x81", "byte 0 is not text"),
        (b'{"a": %s}' % (b"9" * 5000), "limit"),
        (b"[]", "its top is not an object"),
        (b"just text", "its top is not an object"),
    ],
)
def test_refusals(content: bytes, reason: str) -> None:
    with pytest.raises(ImportDocumentError, match=reason) as caught:
        read_document(content, location=WHERE)
    assert caught.value.message.startswith(WHERE)


def test_depth_and_size_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = document.MAXIMUM_DEPTH - 1
    for content in (b'{"a":' * deep + b"1" + b"}" * deep, b"{a: " * deep + b"1" + b"}" * deep):
        assert read_document(content, location=WHERE)
        with pytest.raises(ImportDocumentError, match="nested"):
            read_document(b'{"a":' * 2 + content + b"}}", location=WHERE)
    monkeypatch.setattr(document, "MAXIMUM_BYTES", 9)
    assert read_document(b'{"a": 12}', location=WHERE)
    with pytest.raises(ImportDocumentError, match="10 bytes; at most 9"):
        read_document(b'{"a": 123}', location=WHERE)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_document_or_refused(content: bytes) -> None:
    with contextlib.suppress(ImportDocumentError):
        assert isinstance(read_document(content, location=WHERE), dict)
