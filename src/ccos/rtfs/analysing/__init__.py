"""Forms become nodes; one module for each part of the work."""

from ccos.rtfs.analysing.analysis import analyse
from ccos.rtfs.analysing.naming import python_name
from ccos.rtfs.analysing.scopes import HostTarget, ModuleSource, Program
from ccos.rtfs.analysing.words import CORE, DERIVED

__all__ = [
    "CORE",
    "DERIVED",
    "HostTarget",
    "ModuleSource",
    "Program",
    "analyse",
    "python_name",
]
