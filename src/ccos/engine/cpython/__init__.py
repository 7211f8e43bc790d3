"""Full CPython in processes of their own, for Development."""

from ccos.engine.cpython.language import CPythonLanguage
from ccos.engine.cpython.workers import CPythonWorkers

__all__ = ["CPythonLanguage", "CPythonWorkers"]
