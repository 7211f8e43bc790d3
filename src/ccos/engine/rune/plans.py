"""Plans in Rune: they call capabilities with ``ccos::call(id, args)``, and host functions.

A tool is a plan as well: its ``call(args)`` gets the arguments. Nothing of a virtual machine can be
written down, so a plan that waited is brought to its place again from its journal. That is exact:
a script has no clock and no chance of its own, the order of its hash maps follows from the seed of
its execution, and its host functions are journaled where they do more than compute.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ccos.capabilities import canonical_id
from ccos.engine.hosts import HostModules
from ccos.engine.plan_languages import RunnablePlan
from ccos.engine.plans import Plan, StaticCall, check_size
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.rune.client import NamedCall
from ccos.engine.rune.language import RuneLanguage
from ccos.engine.rune.naming import CALL, full_name
from ccos.errors import CompilationError, InvalidIdentifierError, PlanError

_PLANS_KEPT: Final = 128


class RunePlans:
    """Plans in Rune, in the workers of a language.

    Args:
        language: How they are compiled and run.
        modules: All host modules; a plan has those of the production level.
    """

    suffixes = RuneLanguage.suffixes

    def __init__(self, language: RuneLanguage, modules: HostModules) -> None:
        self._language = language
        self._functions = modules.granted(level_policy(SecurityLevel.PRODUCTION))
        self._known: OrderedDict[tuple[str, str], RunnablePlan] = OrderedDict()

    async def read(self, source: str, *, name: str) -> RunnablePlan:
        """Read a plan; see :class:`ccos.engine.plan_languages.PlanLanguage`."""
        known = self._known.get((source, name))
        if known is None:
            known = self._known[source, name] = await self._compiled(source, name)
            while len(self._known) > _PLANS_KEPT:
                self._known.popitem(last=False)
        return known

    async def _compiled(self, source: str, name: str) -> RunnablePlan:
        check_size(source, name)
        try:
            compiled, named = await self._language.compile_naming_calls(
                source, name=name, functions=self._functions, level=SecurityLevel.PRODUCTION.value
            )
        except CompilationError as error:
            raise PlanError(
                error.message, next_step=error.next_step, details=error.details
            ) from error
        digest = "sha256:" + hashlib.sha256(source.encode()).hexdigest()
        plan = Plan(source, name, digest, frozenset(), tuple(_static_calls(named)))
        return RunnablePlan(
            plan,
            self._functions,
            lambda request: self._language.plan_session(compiled, request),
        )


def _static_calls(named: tuple[NamedCall, ...]) -> Iterator[StaticCall]:
    for one in named:
        if full_name(one.function) != CALL:
            continue
        try:
            capability = None if one.literal is None else canonical_id(one.literal)
        except InvalidIdentifierError as error:
            raise PlanError(
                f"Line {one.line}: {error.message}", details={"line": one.line}
            ) from error
        yield StaticCall(capability, one.line, one.column)
