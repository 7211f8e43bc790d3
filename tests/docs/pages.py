"""The pages of the documentation, and what of them can be carried out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_EXAMPLE: Final = re.compile(
    r"<!-- run -->\n```python\n(?P<source>.*?)```"
    r"(?:\n+<!-- prints -->\n```text\n(?P<prints>.*?)```)?",
    re.DOTALL,
)
_SHELL: Final = re.compile(r"```(?:sh|console)\n(.*?)```", re.DOTALL)
_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]+)")


@dataclass(frozen=True)
class Example:
    """A Python program in a page, and what it says that the program prints."""

    place: str
    source: str
    prints: str | None


def pages() -> list[Path]:
    """Every page of the project, front page first."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def examples() -> Iterator[Example]:
    """Every program that is marked to be run."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for found in _EXAMPLE.finditer(text):
            line = text.count("\n", 0, found.start()) + 3
            place = f"{page.relative_to(ROOT)}:{line}"
            yield Example(place, found["source"], found["prints"])


def commands(text: str) -> Iterator[list[str]]:
    """The words of every ``ccos`` command in the shell blocks of a page."""
    for block in _SHELL.findall(text):
        for line in block.splitlines():
            words = shlex.split(line, comments=True) if "ccos " in line[:7] else []
            if words[:1] == ["$"]:
                del words[0]
            if words[:1] == ["ccos"]:
                yield words[1:]


def links(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        yield page.parent / target
