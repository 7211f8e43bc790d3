"""Words and meanings of all capabilities in memory, so that 100,000 are searched in milliseconds.

Words are scored by BM25 (Robertson and Zaragoza, 2009). Meanings are vectors of length 1, compared
by their scalar product: first a part of each, then exactly for those that may be among the best.
It needs the extra ``semantic``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ccos.marketplace.search import Document
from ccos.marketplace.words import stem, stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int32]

_SATURATION: Final = 1.2
_LENGTH_WEIGHT: Final = 0.75
_NAME_WEIGHT: Final = 2
_COARSE_DIMENSIONS: Final = 96
_COARSE_FROM: Final = 5_000
_SAMPLE: Final = 20_000
_CANDIDATES: Final = 200
_USUAL_COUNT: Final = 20
_USUAL_MEAN: Final = 0.1
_USUAL_DEVIATION: Final = 0.1


@dataclass(frozen=True, slots=True)
class Scored:
    """How well one capability fits a query.

    Attributes:
        words: BM25 score; 0 if no word is shared.
        meaning: Scalar product of the vectors, from -1 to 1.
    """

    id: str
    words: float
    meaning: float


@dataclass(frozen=True, slots=True)
class Found:
    """What an index says to a query.

    Attributes:
        scored: Capabilities that may fit, in no order.
        highest_words: The highest word score of all.
        mean: Of the scalar products of all vectors.
        deviation: Standard deviation of those.
    """

    scored: list[Scored]
    highest_words: float
    mean: float
    deviation: float


class WordIndex:
    """Which texts have which stem, and how much that tells.

    Args:
        texts: By row.
        larger: The index that this one adds to; how rare a word is follows from both.
    """

    def __init__(self, texts: Sequence[Document], larger: WordIndex | None = None) -> None:
        self._count = len(texts)
        rows: dict[str, list[int]] = {}
        frequencies: dict[str, list[int]] = {}
        lengths = np.zeros(len(texts), dtype=np.float32)
        for row, text in enumerate(texts):
            counted = Counter(stems(text.description))
            for name_stem in stems(text.words):
                counted[name_stem] += _NAME_WEIGHT
            lengths[row] = counted.total()
            for word, frequency in counted.items():
                rows.setdefault(word, []).append(row)
                frequencies.setdefault(word, []).append(frequency)
        every = self._count + (larger._count if larger else 0)
        self._mean = max(float(lengths.mean()), 1.0) if self._count else 1.0
        mean = larger._mean if larger else self._mean
        damping = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * lengths / mean)
        self._postings: dict[str, tuple[Rows, Floats]] = {}
        for word, found in rows.items():
            places = np.array(found, dtype=np.int32)
            often = np.array(frequencies[word], dtype=np.float32)
            having = len(places) + (larger.having(word) if larger else 0)
            rarity = np.log1p((every - having + 0.5) / (having + 0.5))
            weights = rarity * often * (_SATURATION + 1) / (often + damping[places])
            self._postings[word] = places, weights.astype(np.float32)

    def having(self, word: str) -> int:
        """How many texts have this stem."""
        return len(self._postings[word][0]) if word in self._postings else 0

    def scores(self, words: Sequence[str]) -> Floats:
        """The score of each row for these words."""
        scores = np.zeros(self._count, dtype=np.float32)
        for word in dict.fromkeys(map(stem, words)):
            if word in self._postings:
                rows, weights = self._postings[word]
                scores[rows] += weights
        return scores


class VectorIndex:
    """The vectors of all rows, turned so that their first numbers tell most.

    A rotation leaves scalar products as they are, so what is computed in full is exact.

    Args:
        vectors: One row each, of length 1.
    """

    def __init__(self, vectors: Floats) -> None:
        self._turn: Floats | None = None
        if len(vectors) >= _COARSE_FROM and vectors.shape[1] > _COARSE_DIMENSIONS:
            some = vectors[:: max(1, len(vectors) // _SAMPLE)]
            _, axes = np.linalg.eigh(some.T @ some)
            self._turn = np.ascontiguousarray(axes[:, ::-1], dtype=np.float32)
            vectors = vectors @ self._turn
            self._first = np.ascontiguousarray(vectors[:, :_COARSE_DIMENSIONS])
            self._rest = np.ascontiguousarray(vectors[:, _COARSE_DIMENSIONS:])
        else:
            self._first, self._rest = vectors, vectors[:, :0]

    def estimates(self, vector: Floats) -> Floats:
        """The scalar product of each row by the first numbers alone."""
        result: Floats = self._first @ self._turned(vector)[: self._first.shape[1]]
        return result

    def products(self, vector: Floats, rows: Rows) -> Floats:
        """Exact scalar products of these rows."""
        turned = self._turned(vector)
        split = self._first.shape[1]
        result: Floats = self._first[rows] @ turned[:split] + self._rest[rows] @ turned[split:]
        return result

    def _turned(self, vector: Floats) -> Floats:
        return vector if self._turn is None else vector @ self._turn


class MemoryIndex:
    """Words and vectors of a set of capabilities, which does not change.

    Args:
        ids: By row.
        texts: By row.
        vectors: By row.
        larger: The index that this one adds to.
    """

    def __init__(
        self,
        ids: Sequence[str],
        texts: Sequence[Document],
        vectors: Floats,
        larger: MemoryIndex | None = None,
    ) -> None:
        self.ids = list(ids)
        self._rows = {one: row for row, one in enumerate(ids)}
        self._words: WordIndex = WordIndex(texts, larger._words if larger else None)
        self._vectors = VectorIndex(vectors)

    def find(
        self, words: Sequence[str], vector: Floats, among: Collection[str] | None = None
    ) -> Found:
        """What may fit.

        Args:
            words: Those of the query.
            vector: That of the query.
            among: Score exactly these ids; the likeliest of all if left out.
        """
        by_words = self._words.scores(words)
        estimates = self._vectors.estimates(vector)
        if among is not None:
            known = [self._rows[one] for one in among if one in self._rows]
            rows = np.array(sorted(known), dtype=np.int32)
        else:
            rows = np.union1d(best(by_words, _CANDIDATES), best(estimates, _CANDIDATES))
        meanings = self._vectors.products(vector, rows)
        scored = [
            Scored(self.ids[row], float(by_words[row]), float(meaning))
            for row, meaning in zip(rows.tolist(), meanings, strict=True)
        ]
        mean, deviation = _spread(estimates)
        return Found(scored, float(by_words.max(initial=0.0)), mean, deviation)


def _spread(products: Floats) -> tuple[float, float]:
    """Mean and deviation, drawn towards usual ones where there are few to take them from."""
    count = len(products) + _USUAL_COUNT
    mean = (float(products.sum()) + _USUAL_COUNT * _USUAL_MEAN) / count
    squares = float(np.dot(products, products)) - len(products) * mean**2
    variance = (max(squares, 0.0) + _USUAL_COUNT * _USUAL_DEVIATION**2) / count
    return mean, float(variance**0.5)


def best(scores: Floats, count: int) -> Rows:
    """Rows of the highest scores, in no order."""
    if len(scores) <= count:
        return np.arange(len(scores), dtype=np.int32)
    return np.argpartition(-scores, count)[:count].astype(np.int32)
