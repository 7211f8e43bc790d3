"""One row of the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LibraryFunction:
    """One function.

    Attributes:
        group: Where the documentation lists it.
        names: Its name, then synonyms.
        python: What the prelude calls it.
        least: Fewest arguments.
        most: Most arguments; None if there is no limit.
        kind: What is known of its result; see :mod:`ccos.rtfs.kinds`.
        summary: What it does.
        examples: ``code → code of the same value``, or ``code ✗ kind of error``.
    """

    group: str
    names: tuple[str, ...]
    python: str
    least: int
    most: int | None
    kind: str
    summary: str
    examples: tuple[str, ...]

    def accepts(self, count: int) -> bool:
        """Whether it can be called with so many arguments."""
        return self.least <= count and (self.most is None or count <= self.most)

    @property
    def arity(self) -> str:
        """How many arguments it takes, for people."""
        if self.most is None:
            return f"{self.least} or more"
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
