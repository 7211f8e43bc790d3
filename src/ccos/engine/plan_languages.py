"""What the runtime asks of a language of plans: read a text, and run it so that it can wait.

The ending of a plan's name decides its language. A session that can be written down is parked by
that; any other is brought to the same place again from its journal, since between two stops a
plan computes the same from the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Session, SessionRequest, Waiting
from ccos.engine.plans import Plan
from ccos.engine.snapshots import SnapshotSeal


class PlanSession(Session, Protocol):
    """A session that a plan runs in."""

    def dump(self, seal: SnapshotSeal, *, printed: str) -> bytes | None:
        """The stopped session as a sealed blob; None if its language has none.

        Args:
            seal: Of this installation.
            printed: What the plan printed so far.
        """
        ...

    def restore(self, blob: bytes, seal: SnapshotSeal) -> Waiting:
        """Become the session that was dumped. Only a fresh session can.

        Raises:
            UnusableSnapshotError: if the blob is of no use here.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RunnablePlan:
    """A plan that was read.

    Attributes:
        plan: What its text says.
        functions: The host functions that exist for it, by full name.
        session: Opens a session for it.
        packs_calls: Whether the arguments of its calls are packed; see
            :class:`ccos.engine.asked.Asked`.
    """

    plan: Plan
    functions: Mapping[str, HostFunction]
    session: Callable[[SessionRequest], AbstractAsyncContextManager[PlanSession]]
    packs_calls: bool = False


class PlanLanguage(Protocol):
    """A language that plans are written in."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File endings that mean it, such as ``.py``."""
        ...

    async def read(self, source: str, *, name: str) -> RunnablePlan:
        """Read a text without running it.

        Raises:
            PlanError: if it is no plan of this language, with line and column.
            SecurityViolationError: if it uses what does not exist for plans.
            ConfigurationError: if what runs the language is not installed.
        """
        ...


class PlanLanguages:
    """The languages of plans; a name that ends like none of them means the first."""

    def __init__(self, first: PlanLanguage, *others: PlanLanguage) -> None:
        self._first = first
        self._by_suffix = {
            suffix: language for language in (*others, first) for suffix in language.suffixes
        }

    async def read(self, source: str, *, name: str) -> RunnablePlan:
        """Read a plan in the language of its name; see :meth:`PlanLanguage.read`."""
        suffix = PurePath(name).suffix.lower()
        return await self._by_suffix.get(suffix, self._first).read(source, name=name)
