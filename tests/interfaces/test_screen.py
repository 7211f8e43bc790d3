from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from ccos.errors import CcosError
from ccos.interfaces.cli.screen import Screen, duration, moment

HOSTILE = "\x1b[2Jx\u202e\x9b[b]"
SHOWN = "\\u001b[2Jx\\u202e\\u009b[b]"


def test_nothing_hostile_passes_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.table(("a", "b"), [(HOSTILE, 1)])
    screen.fields([(HOSTILE, HOSTILE)])
    screen.text(HOSTILE)
    screen.value({"x": HOSTILE})
    screen.note(HOSTILE)
    screen.error(CcosError(HOSTILE, next_step=HOSTILE))
    captured = capsys.readouterr()
    assert captured.out.count(SHOWN) == 5
    assert captured.err.count(SHOWN) == 3
    assert not {"\x1b", "\u202e", "\x9b"} & set(captured.out + captured.err)


def test_a_screen_for_programs_prints_the_document_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen(json=True)
    screen.table(("a",), [("b",)])
    screen.fields([("a", "b")])
    screen.text("text")
    screen.value(1)
    screen.document({"x": "é\u202e"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"x": "é\u202e"}
    assert out.isascii()


@pytest.mark.parametrize(
    "say",
    [
        lambda screen: screen.table(("é",), [("ü",)]),
        lambda screen: screen.fields([("é", "ü")]),
        lambda screen: screen.text("é ü"),
        lambda screen: screen.part("é ü"),
        lambda screen: screen.value({"é": "ü"}),
    ],
)
def test_a_terminal_of_few_characters_is_told_in_escapes(
    say: Callable[[Screen], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(told, encoding="ascii"))
    screen = Screen()
    say(screen)  # the first thing that is said
    screen.text("")
    assert b"\\xe9" in told.getvalue()
    assert b"\\xfc" in told.getvalue()


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().table(("a",), [], empty="Nothing.")
    assert capsys.readouterr().out == "Nothing.\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "none"), (0.04, "0.0 s"), (59, "59.0 s"), (90, "1.5 min"), (86_400, "1.0 d")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_moments() -> None:
    assert moment(0) == "1970-01-01 00:00:00Z"
    assert moment(None) == "-"
