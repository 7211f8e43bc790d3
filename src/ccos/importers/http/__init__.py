"""Requests that somebody made become capabilities: from curl commands, HAR files and examples."""

from ccos.importers.http.curl import exchange_of_curl
from ccos.importers.http.exchange import Exchange, SkippedEntry, exchanges_of
from ccos.importers.http.learning import LearnedEndpoints, learn
from ccos.importers.http.schemas import inferred_schema

__all__ = [
    "Exchange",
    "LearnedEndpoints",
    "SkippedEntry",
    "exchange_of_curl",
    "exchanges_of",
    "inferred_schema",
    "learn",
]
