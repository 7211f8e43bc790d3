"""Text from servers that nobody vouches for: what hides in it, and how to show it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_ESCAPE_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
)
_LAYOUT: Final = frozenset("\n\r\t")
_ZERO_WIDTH_JOINER: Final = "\u200d"
_VARIATION_SELECTOR_16: Final = "\ufe0f"
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain_text(text: str, *, limit: int = 2000) -> str:
    """``text`` as it may be shown: no escape sequences, no invisible characters, cut to ``limit``.

    ``limit`` counts characters; the end is kept, since programs say last what went wrong.
    """
    shown = _ESCAPE_SEQUENCE.sub("", text)
    shown = "".join(
        character
        for character in shown
        if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE_CATEGORIES
    ).strip()
    return shown if len(shown) <= limit else "…" + shown[-limit:]


def hidden_character(text: str) -> str | None:
    """The first character a reader would not see, as ``U+XXXX``; None if there is none.

    Such are control, zero-width, bidirectional and tag characters, and the variation selectors
    that can carry smuggled bytes. Line breaks and tabs are fine, and so is the joiner within an
    emoji.
    """
    for position, character in enumerate(text):
        if character in _LAYOUT:
            continue
        smuggles = 0xE0100 <= ord(character) <= 0xE01EF
        invisible = unicodedata.category(character) in _INVISIBLE_CATEGORIES
        if smuggles or (invisible and not _joins_emoji(text, position)):
            return f"U+{ord(character):04X}"
    return None


def _joins_emoji(text: str, position: int) -> bool:
    if text[position] != _ZERO_WIDTH_JOINER or position == 0:
        return False
    before = text[position - 1]
    return before == _VARIATION_SELECTOR_16 or unicodedata.category(before) in {"So", "Sk"}
