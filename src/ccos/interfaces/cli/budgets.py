"""Budgets of scripts on the command line: the option, and how questions about them are worded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ccos.interfaces.cli.exits import UsageError
from ccos.interfaces.cli.screen import moment

if TYPE_CHECKING:
    from ccos.engine.budget import Allowance, Budget, Dimension
    from ccos.events import Event
    from ccos.interfaces.cli.session import Session

_ACTIONS: Final = {"stop": "hard_stop", "approve": "approval", "warn": "soft_warn"}
_FORM: Final = "Say --budget DIMENSION=LIMIT, and :stop, :approve or :warn after it if you like."


def read_allowances(texts: Sequence[str]) -> dict[Dimension, Allowance]:
    """What ``--budget`` gives, of ``DIMENSION=LIMIT`` or ``DIMENSION=LIMIT:ACTION`` each.

    Raises:
        UsageError: for an unknown dimension or action, one dimension twice, or a limit that is
            not a number above 0.
    """
    from ccos.engine.budget import Allowance, Dimension, WhenExhausted

    allowances: dict[Dimension, Allowance] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        limit, colon, action = rest.partition(":")
        if name not in set(Dimension):
            known = ", ".join(Dimension)
            raise UsageError(f"--budget {text}: there is no such dimension; there are {known}.")
        if Dimension(name) in allowances:
            raise UsageError(f"--budget gives {name} twice.")
        if colon and action not in _ACTIONS:
            raise UsageError(
                f"--budget {text}: what happens at the end is stop, approve or warn.",
                next_step=_FORM,
            )
        allowances[Dimension(name)] = Allowance(
            _limit(text, limit), WhenExhausted(_ACTIONS[action or "stop"])
        )
    return allowances


def _limit(text: str, limit: str) -> float:
    try:
        number = float(limit)
    except ValueError:
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        raise UsageError(f"--budget {text}: the limit is not a number above 0.", next_step=_FORM)
    return number


def with_allowances(budget: Budget, given: Mapping[Dimension, Allowance]) -> Budget:
    """A budget with some of its dimensions given anew."""
    from ccos.engine.budget import Budget

    return Budget({**budget.allowances, **given})


def amount(number: float) -> str:
    """A count in full, a fraction to four places."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,.4f}".rstrip("0")


def wish(asked: Mapping[str, Any]) -> str:
    """What a question about a budget asks for, from its parts as data."""
    return f"{amount(asked['more'])} more {asked['dimension']} than {amount(asked['limit'])}"


def told(event: Event, session: Session) -> str:
    """How whoever runs a script is told that it waits for a person, and what to type."""
    data = event.data
    words = ("approvals", "approve", data["approval_id"])
    return (
        f"{event.execution_id}: its budget of {amount(data['limit'])} {data['dimension']} is not "
        f"enough. It waits for an approval of {amount(data['more'])} more until "
        f"{moment(data['expires_at'])}. "
        f"Type: {session.command(*words)}"
    )
