"""Which examinations there are, and what each of them is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ccos.config import LoadedSettings, Settings
from ccos.errors import ConfigurationError
from ccos.operations.doctor import database, home, machine, sandbox, stored
from ccos.operations.doctor.checks import SECONDS, Check, Examination, Status, examine
from ccos.operations.doctor.machine import Machine
from ccos.operations.doctor.reading import sqlite_path


def diagnose(
    loaded: LoadedSettings | ConfigurationError,
    around: Machine | None = None,
    *,
    seconds: float = SECONDS,
) -> list[Check]:
    """Examine an installation and its machine. Nothing is changed, and nothing is made.

    Args:
        loaded: The settings, or why they cannot be read; what depends on them is left out then.
        around: Where to ask about the machine; this one by default.
        seconds: How long all of it may take.
    """
    return examine(examinations(loaded, around or Machine()), seconds=seconds)


def examinations(
    loaded: LoadedSettings | ConfigurationError, around: Machine
) -> Sequence[Examination]:
    """What `diagnose` looks at, in the order of its result."""
    settings = loaded.settings if isinstance(loaded, LoadedSettings) else None
    engine = settings.services.script_engine if settings else None
    latest = partial(stored.newest, settings.database_url) if settings else _nothing_known
    return [
        Examination("python", machine.interpreter),
        Examination("configuration", partial(configuration, loaded)),
        *(_of_installation(settings, around) if settings else ()),
        Examination("interpreter", sandbox.worker),
        Examination("isolation", lambda: sandbox.isolation(engine, around.isolation)),
        Examination("clock", lambda: machine.clock(around, latest)),
        Examination("launchers", machine.launchers),
    ]


def _of_installation(settings: Settings, around: Machine) -> Iterator[Examination]:
    url, flags = settings.database_url, settings.missing.feature_flags
    path = sqlite_path(url)
    folders = [settings.home] if path is None else [settings.home, path.parent]
    yield Examination("home", lambda: home.folder(settings.home))
    yield Examination("key", lambda: home.key(settings.home))
    yield Examination("disk", lambda: machine.disk(folders, around))
    yield Examination("database", lambda: database.reachable(url))
    yield Examination("files", lambda: database.whole(url))
    wanted = flags.enabled and (flags.auto_resolution or flags.auto_resume_enabled)
    looks = {
        "audit": stored.audit(settings.home, enabled=flags.audit_logging_enabled),
        "waiting": stored.waiting(around.now()),
        "workers": stored.at_work(around.now(), wanted=wanted),
    }
    for name, look in looks.items():
        yield Examination(name, partial(stored.reading, name, url, look))


def _nothing_known() -> float | None:
    return None


def configuration(loaded: LoadedSettings | ConfigurationError) -> Iterator[Check]:
    """Whether the settings can be read, and what is doubtful about them."""
    if isinstance(loaded, ConfigurationError):
        yield Check(
            "configuration",
            Status.FAILED,
            f"{loaded.message} What depends on the settings was not examined.",
            loaded.next_step,
            loaded.details,
        )
        return
    origins = loaded.origins.values()
    files = sorted({origin.name for origin in origins if origin.kind == "file"})
    variables = sorted({origin.name for origin in origins if origin.kind == "environment"})
    details = {"files": files, "variables": variables, "warnings": list(loaded.warnings)}
    sources = [*files, *(["the environment"] if variables else [])]
    message = f"It can be read: {', '.join(['defaults', *sources])}."
    if loaded.warnings:
        message += f" {'. '.join(loaded.warnings)}."
        step = "`ccos config show` tells where each value comes from."
        yield Check("configuration", Status.WARNING, message, step, details)
    else:
        yield Check("configuration", Status.OK, message, details=details)
