"""Secrets from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping


class EnvironmentSecrets:
    """Reads secrets from environment variables at the moment they are needed."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def find(self, names: tuple[str, ...]) -> str | None:
        """The value of the first variable of ``names`` that is set and not empty, or None."""
        return next((value for name in names if (value := self._environ.get(name))), None)
