"""What a check is, and how checks are run so that none of them holds up or breaks the others."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ccos.errors import CcosError

SECONDS: Final = 15.0
"""How long all examinations together may take."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, or nothing is there yet; somebody should look."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one thing.

    Args:
        name: Of the thing, such as ``database``.
        status: How it is.
        message: What was found, in a sentence.
        next_step: What to do about it; empty if nothing has to be done.
        details: The parts of the message as JSON-ready data.
    """

    name: str
    status: Status
    message: str
    next_step: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The check as JSON-ready data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Examination:
    """Looks at one thing. It may raise, and it may take for ever; both are found out."""

    name: str
    look: Callable[[], Iterable[Check]]


def examine(examinations: Sequence[Examination], *, seconds: float = SECONDS) -> list[Check]:
    """Run examinations side by side and return what they found, in their order.

    An examination that raises is a failed check. One that is not done after ``seconds`` is a
    failed check too, and is left behind: its thread does not keep the process from ending.
    """
    deadline = time.monotonic() + seconds
    runs = [_Run(examination) for examination in examinations]
    for run in runs:
        run.start()
    return [check for run in runs for check in run.result(deadline, seconds)]


class _Run(threading.Thread):
    """One examination under way."""

    def __init__(self, examination: Examination) -> None:
        super().__init__(name=f"ccos-doctor-{examination.name}", daemon=True)
        self._examination = examination
        self._found: list[Check] = []

    def run(self) -> None:
        name = self._examination.name
        try:
            for check in self._examination.look():
                self._found.append(check)
        except CcosError as error:
            self._found.append(Check(name, Status.FAILED, error.message, error.next_step))
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            self._found.append(
                Check(
                    name,
                    Status.FAILED,
                    f"{place}{error.strerror or error}",
                    "Let the user that CCOS runs as reach what is named.",
                )
            )
        except Exception as error:
            self._found.append(
                Check(
                    name,
                    Status.FAILED,
                    f"It could not be examined: {type(error).__name__}: {error}",
                    "This is a fault of CCOS; report it.",
                )
            )

    def result(self, deadline: float, seconds: float) -> list[Check]:
        """What was found up to ``deadline``."""
        self.join(max(0.0, deadline - time.monotonic()))
        found = list(self._found)
        if self.is_alive():
            found.append(
                Check(
                    self._examination.name,
                    Status.FAILED,
                    f"There was no answer within {seconds:g} seconds.",
                    "See whether the disk, the network or the server behind it hangs.",
                )
            )
        return found
