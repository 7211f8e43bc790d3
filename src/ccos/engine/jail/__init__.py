"""The operating system's part in holding workers: what it can do here, and a jail made of it."""

from ccos.engine.jail.isolation import Isolation, Mechanism, probe
from ccos.engine.jail.jail import Jail, JailSpec
from ccos.engine.jail.promises import check_promise

__all__ = ["Isolation", "Jail", "JailSpec", "Mechanism", "check_promise", "probe"]
