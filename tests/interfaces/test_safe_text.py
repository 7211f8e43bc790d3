from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.interfaces.cli.safe_text import printable, short


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", "\\u001b[31mred"),
        ("\x9b2J", "\\u009b2J"),
        ("a\rb", "a\\u000db"),
        ("a\x00b\x7f", "a\\u0000b\\u007f"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("pay\u200bpal", "pay\\u200bpal"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("a\u2028b", "a\\u2028b"),
        ("\u3164", "\\u3164"),
        ("\ud800", "\\ud800"),
        ("\ufeffx", "\\ufeffx"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    assert printable(hostile, lines=True) == shown


@pytest.mark.parametrize("text", ["plain", "München", "日本語", "[bold]x[/bold]", "❤️", "a  b"])
def test_what_can_be_seen_is_left_alone(text: str) -> None:
    assert printable(text) == text


def test_lines_stay_only_where_they_are_wanted() -> None:
    assert printable("a\n\tb", lines=True) == "a\n\tb"
    assert printable("a\n\tb") == "a\\u000a\\u0009b"


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_hidden_is_left_of_any_text(text: str) -> None:
    for character in printable(text):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


@given(st.text())
def test_json_stays_the_same_json(text: str) -> None:
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_short_is_one_line_of_at_most_so_many_characters() -> None:
    assert short("a\nb   c", 10) == "a b c"
    assert short("x" * 50, 10) == "x" * 9 + "…"
    assert len(short("\x1b" * 50, 10)) == 10


@pytest.mark.parametrize("code", range(0x20))
def test_every_c0_character_is_hidden(code: int) -> None:
    assert chr(code) not in printable(chr(code))


def test_no_assigned_format_character_passes() -> None:
    passing = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf") and printable(chr(code)) == chr(code)
    ]
    assert passing == []
