"""``ccos config``: what the settings are, where each comes from, and old ones in the new form."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ccos.interfaces.cli.options import COMMON, Common, LongCommon
from ccos.interfaces.cli.session import load, screen_of

app = App(name="config", help="See the settings, and bring old ones into the new form.")


@app.command
def show(*, common: Common = COMMON) -> None:
    """Show each value and where it came from. Secrets are masked."""
    show_settings(common)


@app.command
def migrate(
    old: Annotated[Path, Parameter(help="The file of the old system, JSON or TOML.")],
    new: Annotated[Path, Parameter(help="The JSON file to write.")],
    /,
    *,
    force: Annotated[bool, Parameter(negative="", help="Replace a file that exists.")] = False,
    common: Common = COMMON,
) -> None:
    """Write the configuration that an old file stands for, in the new form, and show it.

    What the old file says in the new form wins over what follows from its old settings.
    """
    from ccos.operations.rollout import migrated, write_migrated

    screen = screen_of(common)
    config = migrated(old)
    warnings = config.validate()
    write_migrated(config, new, force=force)
    flags = config.feature_flags.model_dump()
    screen.document({"written": str(new), "config": config.as_dict(), "warnings": warnings})
    screen.table(("flag", "value"), ((name, json.dumps(value)) for name, value in flags.items()))
    for warning in warnings:
        screen.note(f"Warning: {warning}")
    screen.text(f"Wrote {new}.")


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
