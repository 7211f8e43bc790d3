"""Search by words over registered capabilities: FTS5 on SQLite, tsvector on Postgres."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ccos.capabilities import Manifest, id_tokens
from ccos.marketplace.words import query_words
from ccos.storage import Statement, Transaction
from ccos.storage.schema import counters

_TEXT_LIMIT: Final = 20_000
_PARAMETERS: Final = 50

_INSERT: Final = sa.text(
    "INSERT INTO capability_search (id, words, description) VALUES (:id, :words, :description)"
)
_DELETE: Final = sa.text("DELETE FROM capability_search WHERE id = :id")
_DOCUMENTS: Final = sa.text("SELECT id, words, description FROM capability_search")
_REVISION: Final = Statement(sa.select(counters.c.value).where(counters.c.name == "marketplace"))
_SQLITE_QUERY: Final = (
    "SELECT id, -bm25(capability_search, 0, 2.0, 1.0) AS score FROM capability_search "
    "WHERE capability_search MATCH :query{among} ORDER BY score DESC, id LIMIT :limit"
)
_POSTGRES_QUERY: Final = (
    "SELECT id, ts_rank(document, to_tsquery('english', :query)) AS score "
    "FROM capability_search WHERE document @@ to_tsquery('english', :query){among} "
    "ORDER BY score DESC, id LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class Document:
    """What is searched of a capability.

    Attributes:
        words: Those of its id, name, domains and categories.
        description: What it says of itself, and of its parameters.
    """

    id: str
    words: str
    description: str

    @property
    def text(self) -> str:
        """All of it, for embedding."""
        return f"{self.words}: {self.description}"


def document(manifest: Manifest) -> Document:
    """What is searched of a manifest."""
    words = [*id_tokens(manifest.id), *id_tokens(manifest.name)]
    words = [*dict.fromkeys(words), *manifest.domains, *manifest.categories]
    parts = [manifest.description, *_parameters(manifest.input_schema)]
    return Document(manifest.id, " ".join(words), " ".join(filter(None, parts))[:_TEXT_LIMIT])


def _parameters(schema: Any) -> Iterator[str]:
    """Names of the parameters, then their descriptions."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return
    some = list(properties.items())[:_PARAMETERS]
    yield "(" + ", ".join(" ".join(id_tokens(name)) for name, _ in some) + ")"
    for _, parameter in some:
        said = parameter.get("description") if isinstance(parameter, dict) else None
        if isinstance(said, str):
            yield said


def index(transaction: Transaction, manifest: Manifest) -> None:
    """Make the manifest findable, in place of an earlier version of it."""
    one = document(manifest)
    transaction.execute(_DELETE, {"id": one.id})
    transaction.execute(_INSERT, {"id": one.id, "words": one.words, "description": one.description})


def unindex(transaction: Transaction, capability_id: str) -> None:
    """Make the capability no longer findable."""
    transaction.execute(_DELETE, {"id": capability_id})


def documents(connection: sa.Connection) -> list[Document]:
    """Everything that can be found."""
    return [Document(*row) for row in connection.execute(_DOCUMENTS)]


def revision(connection: sa.Connection) -> int:
    """A number that grows with every change of what is registered."""
    value: int = _REVISION.scalar(connection)
    return value


def find(
    connection: sa.Connection, query: str, limit: int, among: Collection[str] | None = None
) -> list[tuple[str, float]]:
    """Ids of capabilities that share words with ``query``, best first, with their scores.

    The query is free text: only its words count, so nothing in it acts as search syntax.

    Args:
        connection: To the database.
        query: Free text.
        limit: How many to return at most.
        among: Look at these ids only; at all of them if left out.
    """
    words = query_words(query)
    if not words:
        return []
    if connection.dialect.name == "sqlite":
        template, text = _SQLITE_QUERY, " OR ".join(f'"{word}"' for word in words)
    else:
        template, text = _POSTGRES_QUERY, " | ".join(f"'{word}'" for word in words)
    values: dict[str, Any] = {"query": text, "limit": limit}
    statement = sa.text(template.format(among="" if among is None else " AND id IN :among"))
    if among is not None:
        statement = statement.bindparams(sa.bindparam("among", expanding=True))
        values["among"] = list(among)
    return [(row.id, float(row.score)) for row in connection.execute(statement, values)]
