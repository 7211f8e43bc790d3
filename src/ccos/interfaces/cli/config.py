"""``ccos config``: what the settings are and where each comes from."""

from __future__ import annotations

import json
from dataclasses import asdict

from cyclopts import App

from ccos.interfaces.cli.options import COMMON, Common, LongCommon
from ccos.interfaces.cli.session import load, screen_of

app = App(name="config", help="See the settings.")


@app.command
def show(*, common: Common = COMMON) -> None:
    """Show each value and where it came from. Secrets are masked."""
    show_settings(common)


def show_settings(common: LongCommon) -> None:
    """Show every setting and the warnings; for the commands that do.

    Raises:
        ConfigurationError: if the settings cannot be used.
    """
    from ccos.config import describe

    screen = screen_of(common)
    loaded = load(common)
    rows = describe(loaded)
    screen.document({"settings": [asdict(row) for row in rows], "warnings": list(loaded.warnings)})
    screen.table(
        ("setting", "value", "from", "environment variable"),
        ((row.key, json.dumps(row.value), row.origin, row.variables[0]) for row in rows),
    )
    for warning in loaded.warnings:
        screen.note(f"Warning: {warning}")
