"""Text into the word pieces that BERT models read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

_LONGEST_WORD: Final = 100
_UNKNOWN: Final = "[UNK]"
# Runs of letters and digits; each ideograph and each punctuation mark alone (as BERT splits).
_WORD: Final = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]"
    r"|[^\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+"
    r"|_|[^\w\s]"
)


class WordPieces:
    """The uncased tokenizer of BERT (Devlin et al., 2018): words, then their longest known pieces.

    Args:
        vocabulary: Each piece and its number; pieces inside a word begin with ``##``.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._numbers = vocabulary
        self._start = vocabulary["[CLS]"]
        self._end = vocabulary["[SEP]"]
        self._pieces = lru_cache(maxsize=50_000)(self._pieces_of)

    @classmethod
    def from_file(cls, path: Path) -> WordPieces:
        """Read a ``vocab.txt``: one piece a line, numbered from 0."""
        lines = path.read_text(encoding="utf-8").split("\n")
        return cls({piece: number for number, piece in enumerate(lines) if piece})

    def numbers(self, text: str, limit: int) -> list[int]:
        """The numbers of at most ``limit`` pieces, the marks of start and end among them."""
        found = [self._start]
        # No word piece is made of less than one character.
        for word in _WORD.findall(_plain(text[: limit * _LONGEST_WORD])):
            found += self._pieces(word)
            if len(found) >= limit:
                break
        return [*found[: limit - 1], self._end]

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        numbers: list[int] = []
        start = 0
        while start < len(word) and len(word) <= _LONGEST_WORD:
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._numbers.get(mark + word[start:end])
                if number is not None:
                    break
            else:
                return (self._numbers[_UNKNOWN],)
            numbers.append(number)
            start = end
        return tuple(numbers) or (self._numbers[_UNKNOWN],)


def _plain(text: str) -> str:
    """Lower case without accents and control characters."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(
        " " if character in "\t\n\r" else character
        for character in decomposed
        if unicodedata.category(character) not in {"Mn", "Cc", "Cf", "Cs", "Co"}
        or character in "\t\n\r"
    )
