"""The words with a meaning of their own."""

from __future__ import annotations

from typing import Final

CORE: Final = frozenset(
    [
        "quote",
        "quasiquote",
        "unquote",
        "unquote-splicing",
        "if",
        "do",
        "let",
        "fn",
        "λ",
        "def",
        "defn",
        "defmacro",
        "defstruct",
        "deftype",
        "loop",
        "recur",
        "match",
        "for",
        "try",
        "step",
        "step-if",
        "step-loop",
        "step-parallel",
        "call",
        "module",
        "import",
        "export",
        "resource:ref",
    ]
)


DERIVED: Final = frozenset(
    [
        "lambda",
        "cond",
        "case",
        "when",
        "when-not",
        "if-not",
        "if-let",
        "when-let",
        "and",
        "or",
        "->",
        "->>",
        "doseq",
        "dotimes",
        "parallel",
    ]
)


HINTS: Final = frozenset(
    [
        "metrics",
        "fallback",
        "cache",
        "circuit-breaker",
        "rate-limit",
        "retry",
        "timeout",
        "idempotent",
    ]
)


LOG_LEVELS: Final = frozenset({"debug", "info", "warn", "error"})


WHILE: Final = "#while"
