"""The host modules: ``crucible.basic``, ``json``, ``http``, ``file`` and ``process``."""

from ccos.engine.hosts import HostModules
from ccos.engine.modules import basic, file, http, json_text, process
from ccos.engine.modules.requests import EgressRequests

__all__ = ["EgressRequests", "host_modules"]


def host_modules() -> HostModules:
    """All functions of all modules."""
    return HostModules(
        basic.FUNCTIONS + json_text.FUNCTIONS + http.FUNCTIONS + file.FUNCTIONS + process.FUNCTIONS
    )
