"""Full-text search over registered capabilities: FTS5 on SQLite, tsvector on Postgres."""

from __future__ import annotations

import re
from typing import Final

import sqlalchemy as sa

from ccos.capabilities import Manifest, id_tokens
from ccos.storage import Transaction

_WORD: Final = re.compile(r"[^\W_]+")
_QUERY_WORDS: Final = 32

_INSERT: Final = sa.text(
    "INSERT INTO capability_search (id, words, description) VALUES (:id, :words, :description)"
)
_DELETE: Final = sa.text("DELETE FROM capability_search WHERE id = :id")
_SQLITE_QUERY: Final = sa.text(
    "SELECT id, -bm25(capability_search, 0, 4.0, 1.0) AS score FROM capability_search "
    "WHERE capability_search MATCH :query ORDER BY score DESC, id LIMIT :limit"
)
_POSTGRES_QUERY: Final = sa.text(
    "SELECT id, ts_rank(document, to_tsquery('english', :query)) AS score "
    "FROM capability_search WHERE document @@ to_tsquery('english', :query) "
    "ORDER BY score DESC, id LIMIT :limit"
)


def index(transaction: Transaction, manifest: Manifest) -> None:
    """Make the manifest findable, in place of an earlier version of it."""
    words = [
        *id_tokens(manifest.id),
        *id_tokens(manifest.name),
        *manifest.domains,
        *manifest.categories,
    ]
    transaction.execute(_DELETE, {"id": manifest.id})
    transaction.execute(
        _INSERT,
        {"id": manifest.id, "words": " ".join(words), "description": manifest.description},
    )


def unindex(transaction: Transaction, capability_id: str) -> None:
    """Make the capability no longer findable."""
    transaction.execute(_DELETE, {"id": capability_id})


def find(connection: sa.Connection, query: str, limit: int) -> list[tuple[str, float]]:
    """Ids of capabilities that share words with ``query``, best first, with their scores.

    The query is free text: only its words count, so nothing in it acts as search syntax.
    """
    words = [*id_tokens(query), *(word.lower() for word in _WORD.findall(query))]
    words = list(dict.fromkeys(words))[:_QUERY_WORDS]
    if not words:
        return []
    if connection.dialect.name == "sqlite":
        statement, text = _SQLITE_QUERY, " OR ".join(f'"{word}"' for word in words)
    else:
        statement, text = _POSTGRES_QUERY, " | ".join(f"'{word}'" for word in words)
    rows = connection.execute(statement, {"query": text, "limit": limit}).all()
    return [(row.id, float(row.score)) for row in rows]
