"""The standard library: one table of every function, its arity, its meaning and its examples.

Checks, the documentation and tests all read this table; the functions are in
:mod:`ccos.rtfs.prelude`.
"""

from __future__ import annotations

from typing import Final

from ccos.rtfs.library.function import LibraryFunction
from ccos.rtfs.library.maps import COLLECTIONS
from ccos.rtfs.library.numbers import COMPARISONS, NUMBERS
from ccos.rtfs.library.parts import PARTS
from ccos.rtfs.library.questions import ERRORS, KINDS, RUN
from ccos.rtfs.library.sequences import SEQUENCES
from ccos.rtfs.library.texts import JSON, TEXT

__all__ = ["BY_NAME", "FUNCTIONS", "HOST_FUNCTIONS", "IMPURE", "LibraryFunction"]

FUNCTIONS: Final[tuple[LibraryFunction, ...]] = (
    *NUMBERS,
    *COMPARISONS,
    *TEXT,
    *SEQUENCES,
    *PARTS,
    *COLLECTIONS,
    *KINDS,
    *JSON,
    *ERRORS,
    *RUN,
)

BY_NAME: Final = {name: function for function in FUNCTIONS for name in function.names}

HOST_FUNCTIONS: Final = {
    "println": "ccos.io.println",
    "log": "ccos.io.log",
    "tool/log": "ccos.io.log",
    "tool.log": "ccos.io.log",
    "tool.time-ms": "ccos.system.current-timestamp-ms",
    "tool/time-ms": "ccos.system.current-timestamp-ms",
    "current-time-millis": "ccos.system.current-timestamp-ms",
    "thread/sleep": "ccos.system.sleep-ms",
    "get-env": "ccos.system.get-env",
    "file-exists?": "ccos.io.file-exists",
    "read-file": "ccos.io.read-file",
    "write-file": "ccos.io.write-file",
    "http-fetch": "ccos.network.http-fetch",
}
"""Names that stand for a call of a capability."""

IMPURE: Final = frozenset({"context/get", "context/set"})
"""What the compiler does not evaluate before the run."""
