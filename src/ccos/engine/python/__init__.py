"""Python on Monty, an allow-list interpreter in worker processes."""

from ccos.engine.python.language import PythonLanguage
from ccos.engine.python.session import SLEEP, Program, PythonSession
from ccos.engine.python.workers import PythonWorkers

__all__ = ["SLEEP", "Program", "PythonLanguage", "PythonSession", "PythonWorkers"]
