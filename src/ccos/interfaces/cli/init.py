"""``ccos init``: make what a CCOS needs, and say what was made."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import COMMON, Common
from ccos.interfaces.cli.session import Session, load, opened

if TYPE_CHECKING:
    from ccos.config import SettingRow

CONFIG_NAME: Final = "ccos.toml"
_HEADING: Final = """\
# Settings of CCOS. Each line that begins with "# " and a name shows a default; take the "# " away
# to change it. `ccos config show` tells what is in force and where it comes from.
"""


async def init(*, common: Common = COMMON) -> ExitCode:
    """Make the home folder, its key, database and configuration file; what exists is kept.

    An installation that joins a Postgres database with an audit trail signs that trail's newest
    entry as its own head, if the trail is intact. Exit code 1 if the trail is not intact.
    """
    from ccos.config import load_settings

    settings = load(common).settings
    home = settings.home
    made = [] if home.is_dir() else [str(home)]
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.config_file is None:
        defaults = load_settings(environ={}, overrides={"home": str(home)})
        path = home / CONFIG_NAME
        if _create(path, template(_rows(defaults))):
            made.append(str(path))
    key, head = home / "keys" / "ccos.key", home / "audit" / "head.json"
    fresh = {path: not path.exists() for path in (key, head)}
    async with opened(common) as session:
        made += [str(path) for path, is_fresh in fresh.items() if is_fresh and path.exists()]
        joins = not settings.database_url.startswith("sqlite") and fresh[key] and fresh[head]
        return await _report(session, made, joins=joins)


async def _report(session: Session, made: list[str], *, joins: bool) -> ExitCode:
    from ccos.config.settings import masked_url

    audit, screen = session.ccos.audit, session.screen
    found = await audit.verify()
    adopted = joins and found.head_seq is None and found.entries > 0
    if adopted:
        found = await audit.adopt()
    database = masked_url(session.settings.database_url)
    screen.document(
        {
            "home": str(session.settings.home),
            "database": database,
            "made": made,
            "audit": {
                "entries": found.entries,
                "intact": found.intact,
                "adopted": adopted and found.intact,
                "problem": found.problem,
            },
        }
    )
    screen.fields([("home", session.settings.home), ("database", f"{database} (up to date)")])
    for path in made:
        screen.text(f"made {path}")
    if not made:
        screen.text("Everything was there already.")
    if not found.intact:
        screen.note(f"The audit trail is not intact. {found.problem}")
        return ExitCode.FAILED
    if adopted:
        screen.text(f"Joined an audit trail of {found.entries} entries; its head is signed.")
    return ExitCode.DONE


def template(rows: list[SettingRow]) -> str:
    """A configuration file in TOML with every setting at its default, commented out.

    The tables stand uncommented, so that a setting can be switched on by itself.
    """
    lines = [_HEADING]
    table = ""
    for row in sorted(rows, key=lambda one: one.key.rpartition(".")[0]):
        group, _, name = row.key.rpartition(".")
        if group != table:
            table = group
            lines.append(f"\n[{group}]\n")
        lines.append(f"# {row.description}\n# {name} = {_toml(row.value)}\n")
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def _rows(defaults: Any) -> list[SettingRow]:
    """The settings that a file may set and that have a default to show."""
    from ccos.config import describe
    from ccos.config.sources import BY_KEY

    return [
        row
        for row in describe(defaults)
        if not BY_KEY[row.key].setting.environment_only and row.value is not None
    ]


def _toml(value: Any) -> str:
    # A JSON text of booleans, numbers, basic strings and arrays of them is TOML as well.
    return json.dumps(value)


def _create(path: Path, text: str) -> bool:
    """Write a new file for its owner alone; False if there is one already."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return True
    return False
