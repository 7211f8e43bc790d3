"""Letters that look like other letters.

The pairs are those of Unicode Technical Standard 39 (confusables) that stand for Latin letters in
Cyrillic, Greek, Armenian and Cherokee, and the digits that are mistaken for letters.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_LETTERS: Final = {
    **dict(zip("аеорсухіјѕһԁԛԝӏвкмнтг", "aeopcyxijshdqwlbkmhtr", strict=True)),
    **dict(zip("АВЕКМНОРСТУХІЈЅҮԌԚԜ", "ABEKMHOPCTYXIJSYGQW", strict=True)),
    **dict(zip("οανρικτυχγ", "oavpiktuxy", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    **dict(zip("օսհոցԼՏ", "ouhngLS", strict=True)),
    **dict(zip("ᎪᏴᏟᎠᎬᎻᎥᎫᏦᏞᎷᎮᏢᎡᏚᎢᏙᎳᏃ", "ABCDEHiJKLMOPRSTVWZ", strict=True)),
    "ı": "i",
    "ɡ": "g",
    "ⅼ": "l",
}
_DIGITS: Final = str.maketrans("0135", "oles")


def in_latin(text: str) -> str:
    """A text with the letters that look like Latin ones replaced by those."""
    return "".join(_LETTERS.get(one, one) for one in text)


def skeleton(text: str) -> str:
    """What a text looks like: two with the same skeleton are easily mistaken for each other."""
    normal = unicodedata.normalize("NFKC", text)
    plain = in_latin(normal).casefold().replace("rn", "m").replace("vv", "w").translate(_DIGITS)
    return "".join(one for one in plain if one not in "-_ ").replace("i", "l")


def confusable_word(word: str) -> bool:
    """Whether a word mixes Latin letters with others that look like Latin ones.

    Only words all of whose foreign letters are look-alikes count, so that an ordinary word of two
    alphabets, such as a chemical or a brand with a national ending, does not.
    """
    foreign = [one for one in word if not one.isascii() and not _is_latin(one)]
    latin = any(_is_latin(one) or one.isascii() for one in word)
    return latin and bool(foreign) and all(one in _LETTERS for one in foreign)


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))
