"""``ccos rollout``: switch missing capability resolution on phase by phase, and off again."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from ccos.interfaces.cli.options import COMMON, Common
from ccos.interfaces.cli.session import load, screen_of

app = App(name="rollout", help="Roll missing capability resolution out in phases.")


@app.command
def phase(
    number: Annotated[
        Literal["0", "1", "2", "3", "4", "5"],
        Parameter(
            help="1 detects, 2 resolves with approval, 3 resolves low risk alone, 4 goes on by "
            "itself, 5 adds synthesis and web search; 0 switches everything off."
        ),
    ],
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Show the change and write nothing.")] = (
        False
    ),
    common: Common = COMMON,
) -> None:
    """Set the flags of a phase in the configuration file, and show what changes.

    Flags that environment variables state are not changed by the file; they are named.
    """
    from ccos.config import MissingCapabilityFeatureFlags
    from ccos.config.description import is_acted_on
    from ccos.operations.rollout import PHASES, changed, write_flags

    screen, loaded = screen_of(common), load(common)
    settings = loaded.settings
    flags = PHASES[int(number)]
    path = settings.config_file or settings.home / "ccos.toml"
    found: MissingCapabilityFeatureFlags = settings.missing.feature_flags
    changes = changed(found.model_dump(), flags)
    stated = [
        name
        for name, _, _ in changes
        if loaded.origins[f"feature_flags.{name}"].kind == "environment"
    ]
    idle = [name for name, _, on in changes if on and not is_acted_on(f"feature_flags.{name}")]
    if not dry_run:
        write_flags(path, flags)
    screen.document(
        {
            "phase": int(number),
            "file": str(path),
            "written": not dry_run,
            "changes": [
                {"flag": name, "before": before, "after": after} for name, before, after in changes
            ],
            "stated_by_environment": stated,
            "not_acted_on": idle,
        }
    )
    screen.table(
        ("flag", "before", "after"),
        ((name, str(before).lower(), str(after).lower()) for name, before, after in changes),
        empty="Nothing changes.",
    )
    for name in stated:
        screen.note(f"Warning: an environment variable states {name}, and it wins over the file.")
    for name in idle:
        screen.note(f"Warning: no stage of this version acts on {name}.")
    screen.text(f"{'Would write' if dry_run else 'Wrote'} {path}.")
