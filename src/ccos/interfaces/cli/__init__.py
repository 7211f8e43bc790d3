"""The command line. Nothing here is imported before the command that needs it."""

from __future__ import annotations

from collections.abc import Sequence


def main(tokens: Sequence[str] | None = None) -> int:
    """Run ``ccos`` with these arguments, those of the process by default; returns the exit code."""
    from ccos.interfaces.cli.program import run

    return run("ccos", tokens)
