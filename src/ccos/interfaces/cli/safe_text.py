"""Text from elsewhere, made safe for a terminal.

Descriptions, results, printed output and error messages come from servers and scripts. A terminal
obeys control characters, a reader is misled by bidirectional and invisible ones, so both are
written out as JSON writes them: ``\\u001b``. What is left is shown as it is.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories (Unicode chapter 4.5) that a terminal acts on or shows nothing for."""

_BLANK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks without a shape
    + "".join(map(chr, range(0xFE00, 0xFE0F)))  # variation selectors but the one of emoji
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)

_ELLIPSIS: Final = "…"


def printable(text: object, *, lines: bool = False) -> str:
    """``str(text)`` with every character that is not plainly visible written out.

    Args:
        text: Anything; what is not text is converted first.
        lines: Whether line breaks and tabs stay, for text of several lines.
    """
    source = str(text)
    if source.isascii() and source.isprintable():
        return source
    return "".join(
        character
        if _is_visible(character) or (lines and character in "\n\t")
        else _named(character)
        for character in source
    )


def short(text: object, limit: int) -> str:
    """The beginning of ``printable(text)`` on one line, at most ``limit`` characters."""
    line = printable(" ".join(str(text)[: limit * 4].split()))
    return line if len(line) <= limit else line[: limit - 1] + _ELLIPSIS


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES and character not in _BLANK


def _named(character: str) -> str:
    """The escape of one character by RFC 8259, section 7: one or two UTF-16 units."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
