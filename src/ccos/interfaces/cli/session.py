"""What a command works with: settings, an open CCOS, and a screen."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ccos.errors import FeatureDisabledError
from ccos.interfaces.cli.options import LongCommon
from ccos.interfaces.cli.safe_text import printable
from ccos.interfaces.cli.screen import Screen

if TYPE_CHECKING:
    from ccos.assembly import Ccos
    from ccos.config import LoadedSettings, Settings


@dataclass(frozen=True, slots=True)
class Session:
    """An open CCOS and where to write."""

    ccos: Ccos
    screen: Screen
    common: LongCommon

    @property
    def settings(self) -> Settings:
        """What it was opened with."""
        return self.ccos.settings

    def by(self, name: str | None) -> str:
        """Who decides, if the command line names nobody."""
        return name or self.settings.approver

    def command(self, *words: object) -> str:
        """A command for people to type, which reaches the same CCOS as this one."""
        options: list[object] = []
        if self.common.config is not None:
            options += ["--config", self.common.config]
        if self.common.home is not None:
            options += ["--home", self.common.home]
        return shlex.join(str(word) for word in ("ccos", *words, *options))


def screen_of(common: LongCommon) -> Screen:
    """The screen that the options ask for."""
    return Screen(json=common.json, verbose=common.verbose)


def load(common: LongCommon) -> LoadedSettings:
    """The settings, with what the command line says about them.

    Raises:
        ConfigurationError: if they cannot be used.
    """
    from ccos.config import load_settings

    overrides: dict[str, Any] = {} if common.home is None else {"home": str(common.home)}
    return load_settings(config_file=common.config, overrides=overrides)


@contextlib.asynccontextmanager
async def opened(
    common: LongCommon, *, work: bool = False, tooling: bool = False
) -> AsyncIterator[Session]:
    """An open CCOS.

    Args:
        common: The options of the command.
        work: Whether this process works on missing capabilities.
        tooling: Whether the command needs the flag ``cli_tooling_enabled``.

    Raises:
        FeatureDisabledError: if that flag is off.
        ConfigurationError, StorageError: if CCOS cannot be opened.
    """
    settings = load(common).settings
    if tooling and not settings.missing.feature_flags.cli_tooling_enabled:
        raise FeatureDisabledError(
            "The commands that steer resolution are switched off.",
            next_step="Set CCOS_CLI_TOOLING_ENABLED=true to switch them on.",
        )
    from ccos import assembly

    with _logging(common.verbose):
        async with assembly.open(settings, work=work) as ccos:
            yield Session(ccos, screen_of(common), common)


@contextlib.contextmanager
def _logging(verbose: bool) -> Iterator[None]:
    """Log to standard error while the block runs."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(verbose))
    root, ours = logging.getLogger(), logging.getLogger("ccos")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        yield
    finally:
        ours.setLevel(before)
        root.removeHandler(handler)


class _Formatter(logging.Formatter):
    """One line a record; where an error arose is shown only if asked for."""

    def __init__(self, verbose: bool) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        if not self._verbose:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        return printable(super().format(record), lines=self._verbose)
