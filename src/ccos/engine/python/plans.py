"""Plans in Python: they call capabilities, and no host function."""

from __future__ import annotations

import ast
from functools import lru_cache

from ccos.engine.plan_languages import RunnablePlan
from ccos.engine.plans import read_plan
from ccos.engine.python.session import Program
from ccos.engine.python.workers import PythonWorkers


class PythonPlans:
    """Plans in Python, in the interpreters of a pool."""

    suffixes = (".py",)

    def __init__(self, workers: PythonWorkers) -> None:
        self._workers = workers

    async def read(self, source: str, *, name: str) -> RunnablePlan:
        """Read a plan; see :class:`ccos.engine.plan_languages.PlanLanguage`."""
        plan = read_plan(source, name=name)
        program = Program(
            plan.source,
            plan.name,
            plan.hash,
            namespaces=plan.namespaces,
            asynchronous=_asynchronous(source),
        )
        return RunnablePlan(
            plan, {}, lambda request: self._workers.session(program, request, modules={})
        )


@lru_cache(maxsize=128)
def _asynchronous(source: str) -> frozenset[str]:
    """The functions of a plan that have to be awaited."""
    return frozenset(
        node.name for node in ast.parse(source).body if isinstance(node, ast.AsyncFunctionDef)
    )
