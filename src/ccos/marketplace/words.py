"""The words of texts and queries, and the stems by which they are compared."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ccos.capabilities import id_tokens

_WORD: Final = re.compile(r"[^\W_]+")
_PUNCTUATION: Final = ".,;:!?()\"'"
_QUERY_WORDS: Final = 32
_QUERY_CHARACTERS: Final = 20_000
# Words that say nothing about what is wanted: grammar, politeness, and asking itself.
_EMPTY_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a about additionally after all also am an and any are as at be been but by can could did "
        "do does don for from get give had has have hello help her hi his how i if in into is it "
        "its know let like ll looking m make may me might my need of on or our out please provide "
        "re s she should show so some such t tell than thank thanks that the their them then "
        "there these they this those to us use using ve want was we were what when where which "
        "who will with would you your ",
    )
)
# Of those, the ones whose absence does not change what a sentence means to a model.
_FILLING_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a additionally also am an and are be can could for give help i in is it know let like "
        "looking me my need of on or our please provide show some tell that the this to us want "
        "we with would you your",
    )
)
_SIBILANT_PLURALS: Final = ("sses", "xes", "ches", "shes", "zes")


def query_words(query: str) -> list[str]:
    """The words of free text that say what is wanted; all of them if none does."""
    query = query[:_QUERY_CHARACTERS]
    words = [*id_tokens(query), *(word.lower() for word in _WORD.findall(query))]
    words = list(dict.fromkeys(words))
    telling = [word for word in words if word not in _EMPTY_WORDS]
    return (telling or words)[:_QUERY_WORDS]


def without_filling(query: str) -> str:
    """The query without words that only cost time to embed; all of it if nothing else is there."""
    words = query[:_QUERY_CHARACTERS].split()
    kept = [word for word in words if word.strip(_PUNCTUATION).lower() not in _FILLING_WORDS]
    return " ".join(kept) or query


def stems(text: str) -> list[str]:
    """The stems of a text's words, in order; camel case is split into words."""
    found = []
    for word in _WORD.findall(text):
        parts = [word.lower()] if word.islower() or not word.isascii() else id_tokens(word)
        found += [stem(part) for part in parts]
    return found


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """A lower-case English word without the endings of plural, past and continuous forms.

    Rough on purpose: it only has to bring together the forms of one word.
    """
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(_SIBILANT_PLURALS):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
