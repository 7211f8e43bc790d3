"""Which registered capabilities fit what a text says and means, and whether any does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import sqlalchemy as sa

from ccos.marketplace import search
from ccos.marketplace.search import Document
from ccos.marketplace.words import query_words, without_filling
from ccos.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ccos.marketplace.memory_index import Found, MemoryIndex, Scored
    from ccos.marketplace.vector_cache import VectorCache

    Floats = NDArray[np.float32]

_logger = logging.getLogger(__name__)

_WORDS_WEIGHT: Final = 0.35
_EMBEDDED_AT_ONCE: Final = 16
_RECENT_LIMIT: Final = 1_000
_RECENT_SHARE: Final = 0.1
_FITTING: Final = 0.5


@dataclass(frozen=True, slots=True)
class Hit:
    """A capability that a query may be about.

    Attributes:
        score: What hits are ordered by; it compares hits of one query only.
        confidence: How likely it is to fit at all, from 0 to 1; it compares queries as well.
    """

    id: str
    score: float
    confidence: float

    @property
    def fits(self) -> bool:
        """Whether it is more likely to fit than not."""
        return self.confidence >= _FITTING


class Embedder(Protocol):
    """Turns texts into vectors of length 1 that say what the texts mean."""

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Floats:
        """One row a text."""
        ...


class WordFinder:
    """Finds by words alone, in the database."""

    def find(
        self,
        connection: sa.Connection,
        query: str,
        limit: int,
        among: Collection[str] | None = None,
    ) -> list[Hit]:
        """The best hits, best first; see `search.find` for the arguments."""
        found = search.find(connection, query, limit, among)
        if connection.dialect.name != "sqlite":
            return [Hit(one, score, _confidence_of_rank(score)) for one, score in found]
        return [Hit(one, score, _confidence_of_words(score)) for one, score in found]


class MeaningFinder:
    """Finds by words and meaning, in memory.

    It follows the database: what changed since the last query is read again. Texts that were never
    seen are embedded then, within a limit of time; what is not embedded yet is found by its words.

    Args:
        embedder: Makes vectors.
        cache: Keeps them.
        seconds: How long one query may spend on embedding what is new.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache, *, seconds: float = 1.0) -> None:
        self._embedder = embedder
        self.cache = cache
        self._seconds = seconds
        self._lock = threading.Lock()
        self._revision: int | None = None
        self._documents: dict[str, Document] = {}
        self._vectors: dict[str, Floats] = {}
        self._missing: dict[str, None] = {}
        self._base: MemoryIndex | None = None
        self._recent: MemoryIndex | None = None
        self._changed: set[str] = set()

    def find(self, query: str, limit: int, among: Collection[str] | None = None) -> list[Hit]:
        """The best hits among what was read last, best first."""
        words = query_words(query)
        if not words:
            return []
        vector = self._embedder.embed([without_filling(query)])[0]
        with self._lock:
            base, recent, changed = self._base, self._recent, set(self._changed)
        answers = [index.find(words, vector, among) for index in (base, recent) if index]
        scored = [one for answer in answers[-1:] for one in answer.scored] if recent else []
        if base:
            scored += [one for one in answers[0].scored if one.id not in changed]
        highest = max((answer.highest_words for answer in answers), default=0.0)
        hits = [
            Hit(
                one.id,
                one.meaning + _WORDS_WEIGHT * one.words / max(highest, 1e-9),
                _confidence(one, answers[0]),
            )
            for one in scored
            if one.words > 0 or one.meaning > 0
        ]
        hits.sort(key=lambda one: (-one.score, one.id))
        return hits[:limit]

    def follow(
        self,
        revision: int,
        read: Callable[[], Sequence[Document]],
        *,
        seconds: float | None = None,
    ) -> int:
        """Take up what changed, and return how many texts are still to be embedded.

        Args:
            revision: That of the marketplace; nothing is read if it is the one known.
            read: Everything that can be found now.
            seconds: How long to embed at most; the finder's own limit if left out.
        """
        with self._lock:
            if revision != self._revision:
                self._take_up({one.id: one for one in read()})
                self._revision = revision
            if self._missing:
                self._embed_missing(self._seconds if seconds is None else seconds)
            return len(self._missing)

    def _take_up(self, documents: dict[str, Document]) -> None:
        before = self._documents
        new = [one for key, one in documents.items() if before.get(key) != one]
        gone = [key for key in before if key not in documents]
        for document in (*new, *(before[key] for key in gone)):
            self._vectors.pop(document.id, None)
            self._missing.pop(document.id, None)
        known = self.cache.read([one.text for one in new])
        for document in new:
            vector = known.get(document.text)
            if vector is None:
                self._missing[document.id] = None
            else:
                self._vectors[document.id] = vector
        self._documents = documents
        self._changed.update(gone, (one.id for one in new))
        self._index()

    def _embed_missing(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        done: list[str] = []
        while self._missing and time.monotonic() < until:
            some = list(self._missing)[:_EMBEDDED_AT_ONCE]
            texts = [self._documents[key].text for key in some]
            vectors = dict(zip(texts, self._embedder.embed(texts), strict=True))
            self.cache.write(vectors)
            for key, text in zip(some, texts, strict=True):
                self._vectors[key] = vectors[text]
                del self._missing[key]
            done += some
        self._changed.update(done)
        self._index()

    def _index(self) -> None:
        """Index what changed beside the rest; all anew when that has become a large part."""
        if len(self._changed) > max(_RECENT_LIMIT, _RECENT_SHARE * len(self._documents)):
            self._base = self._index_of(list(self._documents))
            self._changed.clear()
            self._recent = None
        else:
            there = [key for key in self._changed if key in self._documents]
            self._recent = self._index_of(there, self._base) if there else None

    def _index_of(self, ids: list[str], larger: MemoryIndex | None = None) -> MemoryIndex:
        import numpy as np

        from ccos.marketplace.memory_index import MemoryIndex

        vectors = np.zeros((len(ids), self._embedder.dimensions), dtype=np.float32)
        for row, key in enumerate(ids):
            if key in self._vectors:
                vectors[row] = self._vectors[key]
        documents = [self._documents[key] for key in ids]
        return MemoryIndex(ids, documents, vectors, larger)


def installed_meanings(cache: Path) -> MeaningFinder | None:
    """What finds by meaning with the extra ``semantic``; None where that is not installed.

    Args:
        cache: The file that keeps vectors.
    """
    try:
        with _one_thread():
            from ccos.marketplace.minilm import installed
        from ccos.marketplace.vector_cache import VectorCache

        model = installed()
    except ImportError:
        return None
    except (OSError, ValueError, KeyError) as error:
        _logger.warning("The model cannot be read; searching by words alone: %s", error)
        return None
    if model is None:
        return None
    return MeaningFinder(model, VectorCache(cache, model.identity, model.dimensions))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let numpy, which reads this when it is imported, multiply in one thread.

    The products are small: a second thread gains little on an idle machine, and on a busy one
    waiting for it makes a query several times as long.
    """
    name = "OPENBLAS_NUM_THREADS"
    chosen = name in os.environ
    os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        if not chosen:
            del os.environ[name]


class Finding:
    """Chooses how to search, and keeps up with what is registered.

    Args:
        storage: Where capabilities are kept.
        meanings: Makes what finds by meaning, or says that there is nothing to make it of.
    """

    def __init__(self, storage: Storage, meanings: Callable[[], MeaningFinder | None]) -> None:
        self._storage = storage
        self._make = meanings
        self._made = False
        self._meanings: MeaningFinder | None = None
        self._lock = threading.Lock()

    async def hits(self, query: str, limit: int, among: Collection[str] | None = None) -> list[Hit]:
        """The best hits, best first; see `search.find` for the arguments."""
        return await asyncio.to_thread(self._hits, query, limit, among)

    async def prepare(self) -> None:
        """Embed all that was never embedded."""
        await asyncio.to_thread(self._follow, math.inf)

    def _hits(self, query: str, limit: int, among: Collection[str] | None) -> list[Hit]:
        meanings = self._follow(None)
        if meanings is not None:
            return meanings.find(query, limit, among)
        return self._storage.read_blocking(
            lambda connection: WordFinder().find(connection, query, limit, among)
        )

    def _follow(self, seconds: float | None) -> MeaningFinder | None:
        with self._lock:
            if not self._made:
                self._meanings = self._make()
                self._made = True
            meanings = self._meanings
        if meanings is not None:
            read = self._storage.read_blocking
            revision = read(search.revision)
            meanings.follow(revision, lambda: read(search.documents), seconds=seconds)
        return meanings


# The numbers below were fitted to one random half of the queries of BFCL, those that one of the
# listed functions answers against those that none does, both halves weighing the same.


def _confidence(one: Scored, among: Found) -> float:
    distance = (one.meaning - among.mean) / among.deviation
    return _logistic(1.0 * one.meaning + 0.37 * distance + 0.75 * math.log1p(one.words) - 3.4)


def _confidence_of_words(score: float) -> float:
    return _logistic(1.8 * math.log1p(max(score, 0.0)) - 4.0)


def _confidence_of_rank(score: float) -> float:
    """For Postgres, whose rank has no weight for rare words and so tells little."""
    return _logistic(8.0 * score - 1.0)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
