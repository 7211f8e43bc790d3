"""The compile cache: what was compiled lately, in memory, and behind that in the database.

Losing any of it costs a recompilation and nothing else: what is registered is in the store.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ccos.engine.languages import Compiled
from ccos.engine.policy import MIB
from ccos.engine.scripts import CacheStatistics
from ccos.engine.units import StoredUnit, compiled_size
from ccos.errors import ConfigurationError


class UnitStore(Protocol):
    """Where compiled scripts outlive the process, such as ``CompiledUnits``."""

    async def load(self, script_id: str, unit_format: str, *, now: float) -> StoredUnit | None:
        """What is kept of a script for an interpreter; None if nothing is."""
        ...

    async def keep(
        self, script_id: str, unit_format: str, compiled: Compiled, *, now: float
    ) -> bool:
        """Keep a compiled script, and return whether it is kept."""
        ...

    async def drop(self, script_id: str) -> None:
        """Forget every unit of a script."""
        ...

    async def clear(self) -> dict[tuple[str, str], int]:
        """Forget all units, and return the size of each by its script and format."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """How one script is cached, within what holds for all.

    Attributes:
        enabled: False compiles it anew each time.
        size_limit: Most bytes of its text and unit; a larger one is not kept in memory.
        ttl: Seconds after which it is compiled anew.

    Raises:
        ConfigurationError: if a limit is not above 0.
    """

    enabled: bool = True
    size_limit: int | None = None
    ttl: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("size_limit", self.size_limit), ("ttl", self.ttl)):
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"{name} of a cached script has to be above 0.")


_AS_ALL: Final = CacheConfig()


@dataclass(frozen=True, slots=True)
class _Held:
    compiled: Compiled
    size: int
    stored_at: float


class CompileCache:
    """Compiled scripts by script and interpreter, the least recently used given up first.

    Used on one event loop. Its limits are those of the memory; the units have their own.

    Args:
        units: Where compiled scripts outlive the process.
        max_entries: Most compiled scripts in memory.
        max_bytes: Most bytes of their texts and units.
        ttl: Seconds after which a compiled script is not used any more; None for no limit.
        enabled: False for a cache that keeps nothing and finds nothing.
        clock: The time, in seconds since the Unix epoch.
        on_altered: Called with the script and the format of a stored unit that is not what this
            installation stored. It is not used; the script is simply compiled again.

    Raises:
        ConfigurationError: if a limit is not above 0.
    """

    def __init__(
        self,
        units: UnitStore,
        *,
        max_entries: int = 1000,
        max_bytes: int = 64 * MIB,
        ttl: float | None = None,
        enabled: bool = True,
        clock: Callable[[], float] = time.time,
        on_altered: Callable[[str, str], None] | None = None,
    ) -> None:
        for name, limit in (("max_entries", max_entries), ("max_bytes", max_bytes), ("ttl", ttl)):
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"{name} of the compile cache has to be above 0.")
        self._units = units
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._enabled = enabled
        self._clock = clock
        self._on_altered = on_altered
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0
        self._configured: dict[str, CacheConfig] = {}
        self._cleared = 0
        """How often something was forgotten on purpose."""

    @property
    def statistics(self) -> CacheStatistics:
        """What is in memory now, and what was asked for since the cache was made."""
        return self._counted(len(self._held), self._bytes)

    async def get(self, script_id: str, unit_format: str) -> Compiled | None:
        """What was compiled of a script for an interpreter; None if it has to be compiled.

        Args:
            script_id: The script.
            unit_format: Name and version of the interpreter.
        """
        if not self._is_enabled(script_id):
            self._misses += 1
            return None
        held = self.held(script_id, unit_format)
        if held is not None:
            return held
        compiled = await self._load(script_id, unit_format)
        if compiled is None:
            self._misses += 1
        else:
            self._hits += 1
        return compiled

    def held(self, script_id: str, unit_format: str) -> Compiled | None:
        """As :meth:`get`, of what is in memory; nothing else is looked at, and no miss counted."""
        key = (script_id, unit_format)
        held = self._held.get(key)
        if held is None or not self._is_enabled(script_id):
            return None
        if not self._is_fresh(script_id, held.stored_at):
            self._take_out(key)
            return None
        self._held.move_to_end(key)
        self._hits += 1
        return held.compiled

    async def put(self, script_id: str, unit_format: str, compiled: Compiled) -> None:
        """Keep what was compiled of a script for an interpreter.

        It outlives the process only if the store has the script with that very text.
        """
        if self._is_enabled(script_id):
            now = self._clock()
            self._take_in((script_id, unit_format), compiled, now)
            await self._units.keep(script_id, unit_format, compiled, now=now)

    def configure(self, script_id: str, config: CacheConfig) -> None:
        """Cache a script otherwise than all others; holds for as long as this cache exists."""
        self._configured[script_id] = config
        for key in [key for key in self._held if key[0] == script_id]:
            if config.size_limit is not None and self._held[key].size > config.size_limit:
                self._take_out(key)

    def empty(self) -> CacheStatistics:
        """Give up what is in memory, which the database still has; returns what that was."""
        removed = self._counted(len(self._held), self._bytes)
        self._held.clear()
        self._bytes = 0
        return removed

    async def forget(self, script_id: str) -> None:
        """Forget what was compiled of a script, for every interpreter."""
        self._cleared += 1
        for key in [key for key in self._held if key[0] == script_id]:
            self._take_out(key)
        await self._units.drop(script_id)

    async def clear(self) -> CacheStatistics:
        """Forget everything, in memory and in the database.

        Returns:
            The number and size of what was removed; its counters go on.
        """
        self._cleared += 1
        removed = {key: held.size for key, held in self._held.items()}
        self._held.clear()
        self._bytes = 0
        removed |= await self._units.clear()
        return self._counted(len(removed), sum(removed.values()))

    async def _load(self, script_id: str, unit_format: str) -> Compiled | None:
        cleared = self._cleared
        stored = await self._units.load(script_id, unit_format, now=self._clock())
        if stored is None:
            return None
        if stored.altered and self._on_altered is not None:
            self._on_altered(script_id, unit_format)
        if stored.compiled is None or not self._is_fresh(script_id, stored.stored_at):
            return None
        # What was forgotten while it was being loaded stays forgotten.
        if cleared == self._cleared:
            self._take_in((script_id, unit_format), stored.compiled, stored.stored_at)
        return stored.compiled

    def _is_enabled(self, script_id: str) -> bool:
        return self._enabled and self._configured.get(script_id, _AS_ALL).enabled

    def _is_fresh(self, script_id: str, stored_at: float) -> bool:
        own = self._configured.get(script_id, _AS_ALL).ttl
        limits = [limit for limit in (own, self._ttl) if limit is not None]
        return not limits or self._clock() - stored_at < min(limits)

    def _take_in(self, key: tuple[str, str], compiled: Compiled, stored_at: float) -> None:
        if key in self._held:
            self._take_out(key)
        size = compiled_size(compiled)
        own = self._configured.get(key[0], _AS_ALL).size_limit
        if size > self._max_bytes or (own is not None and size > own):
            return
        self._held[key] = _Held(compiled, size, stored_at)
        self._bytes += size
        while len(self._held) > self._max_entries or self._bytes > self._max_bytes:
            self._take_out(next(iter(self._held)))
            self._evictions += 1

    def _take_out(self, key: tuple[str, str]) -> None:
        self._bytes -= self._held.pop(key).size

    def _counted(self, entries: int, size: int) -> CacheStatistics:
        return CacheStatistics(
            entries=entries,
            bytes=size,
            hits=self._hits,
            misses=self._misses,
            evictions=self._evictions,
        )
