"""Reading one configuration file: JSON or TOML, within limits."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from ccos.config.fields import shown
from ccos.errors import ConfigurationError
from ccos.nesting import nests_deeper

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16
_READABLE_DEPTH = 200
"""Of what is deeper, not even the place is told."""
FILE_NAMES = ("missing-capability-config.json", "ccos.toml", "ccos.json")

_JSON_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]')


def find_config_file(home: Path) -> Path | None:
    """The configuration file in `home`, if there is one.

    Raises:
        ConfigurationError: There are several, so that it is unclear which one counts, or the
            folder cannot be read.
    """
    try:
        found = [path for name in FILE_NAMES if (path := home / name).is_file()]
    except OSError as error:
        raise ConfigurationError(f"{home}: {error.strerror or error}") from None
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ConfigurationError(
            f"{home} holds more than one configuration file: {names}",
            next_step="Keep one of them, or name one with CCOS_CONFIG.",
        )
    return found[0] if found else None


def read_document(path: Path) -> dict[str, Any]:
    """The content of the file at `path`: TOML if it is called ``.toml``, otherwise JSON.

    Raises:
        ConfigurationError: The file cannot be opened, exceeds `MAX_BYTES` bytes or `MAX_DEPTH`
            levels, is malformed, repeats a key, or is no table.
    """
    text = _read_text(path)
    try:
        document = tomllib.loads(text) if path.suffix.lower() == ".toml" else _parse_json(text)
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deeply") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: expected a table of settings, got {shown(document)}")
    return document


def _read_text(path: Path) -> str:
    try:
        # Opening a pipe or a device could wait for ever.
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path}: not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{path}: larger than {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: no UTF-8 text at byte {error.start}") from None


def _parse_json(text: str) -> object:
    if nests_deeper(text, _READABLE_DEPTH):
        raise ValueError("nested too deeply")
    document = json.loads(text, parse_constant=_refuse_constant)
    _refuse_depth_and_repetition(text)
    return document


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON (RFC 8259, section 6)")


def _refuse_depth_and_repetition(text: str) -> None:
    """Raise ValueError with the place of a repeated key or of too deep a level.

    `text` is JSON already, so that strings and punctuation are all there is to look at.
    """
    keys_of_levels: list[set[str] | None] = []
    previous = ""
    for match in _JSON_LEXEME.finditer(text):
        lexeme = match.group()
        if lexeme in "{[":
            keys_of_levels.append(set() if lexeme == "{" else None)
            if len(keys_of_levels) > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH} levels: {_place(text, match)}")
        elif lexeme in "}]":
            keys_of_levels.pop()
        elif lexeme.startswith('"') and previous in "{,":
            keys = keys_of_levels[-1] if keys_of_levels else None
            if keys is not None:
                key = json.loads(lexeme)
                if key in keys:
                    raise ValueError(f"{shown(key)} appears twice: {_place(text, match)}")
                keys.add(key)
        previous = lexeme


def _place(text: str, match: re.Match[str]) -> str:
    line = text.count("\n", 0, match.start()) + 1
    column = match.start() - text.rfind("\n", 0, match.start())
    return f"line {line} column {column}"
