"""What a worker says, read as the words of somebody who may lie.

The script can reach the descriptors of its worker and write there what it likes. So a frame is
taken for what it claims only after its size, its shape and its turn were checked; what a forged
one can bring about is a call or a result, which the script could have had openly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ccos.egress import parse_json
from ccos.errors import EgressError, ResourceExceededError

T = TypeVar("T")

MAXIMUM_BYTES: Final = 10 * 1024 * 1024
"""Most bytes of a frame, in either direction."""

_LENGTH_BYTES: Final = 4
_COUNTS: Final = range(2**53)
_DEPTH: Final = 102
"""Of a value of the greatest depth in its frame."""


class WorkerProtocolError(ResourceExceededError):
    """A worker said something that no worker says; ``details['limit']`` is ``protocol``."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The script interfered with its worker: {what}.", details={"limit": "protocol"}
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker waits for its script."""

    process: int


@dataclass(frozen=True, slots=True)
class Called:
    """The script calls the host."""

    number: int
    target: str
    arguments: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Every task of the script waits, and ``seen`` answers were read before that."""

    seen: int


@dataclass(frozen=True, slots=True)
class Result:
    """The script ended with a value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """The text does not compile. Line and column count from 1; 0 is unknown."""

    message: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Threw:
    """The script raised. Line and column count from 1; 0 is unknown."""

    type: str
    message: str
    line: int
    column: int
    traceback: str


Frame = Ready | Called | Idle | Result | Rejected | Threw


class FrameReader:
    """Puts bytes together to frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take some bytes; the frames that are complete with them.

        Raises:
            WorkerProtocolError: for a frame that is too large or malformed.
        """
        self._buffer += data
        frames = []
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if length > MAXIMUM_BYTES:
                raise WorkerProtocolError(f"a frame of {length} bytes")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            frames.append(_frame(bytes(self._buffer[_LENGTH_BYTES:end])))
            del self._buffer[:end]
        return frames


def framed(data: bytes) -> bytes:
    """A frame as it goes over the pipe."""
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _frame(data: bytes) -> Frame:
    try:
        fields = parse_json(data, max_depth=_DEPTH)
    except EgressError as error:
        raise WorkerProtocolError("a frame that is not usable JSON") from error
    if not isinstance(fields, dict):
        raise WorkerProtocolError("a frame that is no object")
    match _field(fields, "kind", str):
        case "ready":
            return _read(fields, Ready, process=int)
        case "call":
            return _read(fields, Called, number=int, target=str, arguments=dict, line=int)
        case "waiting":
            return _read(fields, Idle, seen=int)
        case "result":
            return _read(fields, Result, value=object)
        case "rejected":
            return _read(fields, Rejected, message=str, line=int, column=int)
        case "raised":
            return _read(fields, Threw, type=str, message=str, line=int, column=int, traceback=str)
    raise WorkerProtocolError("a frame of an unknown kind")


def _read(fields: dict[str, Any], kind: type[T], **types: type) -> T:
    """A frame of ``kind`` from exactly these fields."""
    if fields.keys() != {"kind", *types}:
        raise WorkerProtocolError("a frame with other fields than its kind has")
    return kind(**{name: _field(fields, name, type_) for name, type_ in types.items()})


def _field(fields: dict[str, Any], name: str, type_: type) -> Any:
    """The field of this name and type; a number has to be one that can count something."""
    value = fields.get(name)
    right = isinstance(value, type_)
    if type_ is int:
        right = right and not isinstance(value, bool) and value in _COUNTS
    if not right:
        raise WorkerProtocolError("a frame with a field of another type than its kind has")
    return value
