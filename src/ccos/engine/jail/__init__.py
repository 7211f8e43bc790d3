"""The operating system's part in holding workers: what it can do here, and a jail made of it."""

from ccos.engine.jail.isolation import Isolation, Mechanism, probe
from ccos.engine.jail.jail import Jail, JailSpec

__all__ = ["Isolation", "Jail", "JailSpec", "Mechanism", "probe"]
