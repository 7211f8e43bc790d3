"""What goes between the host and a Rune worker: frames, and the messages in them.

A worker runs the text of strangers, so what it says is taken for what it claims only after its
size, its depth and its shape were checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ccos.egress import read_json
from ccos.errors import ResourceExceededError

PROTOCOL: Final = 1
MAXIMUM_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of a frame, in either direction."""

_LENGTH_BYTES: Final = 4
_DEPTH: Final = 110
"""Of a message around a value of the greatest depth, which is 100."""
_COUNTS: Final = range(2**63)
_Kind = type[Any]


class WorkerProtocolError(ResourceExceededError):
    """A worker said something that no worker says; ``details['limit']`` is ``worker``."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The Rune worker sent {what}.", details={"limit": "worker"})


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker said; fields are read with a check of their type."""

    type: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """The field ``name``, which is text."""
        return self._field(name, str)  # type: ignore[no-any-return]

    def count(self, name: str) -> int:
        """The field ``name``, an integer of at least 0."""
        value: int = self._field(name, int)
        if value not in _COUNTS:
            raise WorkerProtocolError(f"{name!r} of {value} in {self.type!r}")
        return value

    def flag(self, name: str) -> bool:
        """The field ``name``, a truth value."""
        return self._field(name, bool)  # type: ignore[no-any-return]

    def object(self, name: str) -> dict[str, Any]:
        """The field ``name``, an object."""
        return self._field(name, dict)  # type: ignore[no-any-return]

    def optional_object(self, name: str) -> Message | None:
        """The field ``name``, an object or null, as fields to read."""
        return None if self.fields.get(name) is None else Message(name, self.object(name))

    def objects(self, name: str) -> list[Message]:
        """The field ``name``, a list of objects, each as fields to read."""
        items = self._field(name, list)
        if not all(isinstance(item, dict) for item in items):
            raise WorkerProtocolError(f"{name!r} with something else than objects")
        return [Message(name, item) for item in items]

    def texts(self, name: str) -> tuple[str, ...]:
        """The field ``name``, a list of text."""
        return tuple(self._items(name, str))

    def counts(self, name: str) -> list[int]:
        """The field ``name``, a list of integers of at least 0."""
        items = self._items(name, int)
        if not all(item in _COUNTS for item in items):
            raise WorkerProtocolError(f"{name!r} with a negative number")
        return items

    def optional_text(self, name: str) -> str | None:
        """The field ``name``, text or null, which may be left out."""
        return None if self.fields.get(name) is None else self.text(name)

    def optional_count(self, name: str) -> int | None:
        """The field ``name``, an integer of at least 0 or null, which may be left out."""
        return None if self.fields.get(name) is None else self.count(name)

    def value(self, name: str) -> Any:
        """The field ``name``, any JSON data."""
        if name not in self.fields:
            raise WorkerProtocolError(f"{self.type!r} without {name!r}")
        return self.fields[name]

    def _items(self, name: str, kind: _Kind) -> list[Any]:
        items: list[Any] = self._field(name, list)
        if not all(_is(item, kind) for item in items):
            raise WorkerProtocolError(f"{name!r} with items of another type")
        return items

    def _field(self, name: str, kind: _Kind) -> Any:
        value = self.fields.get(name)
        if not _is(value, kind):
            raise WorkerProtocolError(f"{self.type!r} with {name!r} missing or of another type")
        return value


def _is(value: Any, kind: _Kind) -> bool:
    if kind is int and isinstance(value, bool):
        return False
    return isinstance(value, kind)


def framed(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the pipe.

    Raises:
        ValueError: if it is longer than a frame can be, or no JSON data.
    """
    return frame(ENCODER.encode(message).encode())


def frame(data: bytes) -> bytes:
    """A message that is JSON already, as it goes over the pipe.

    Raises:
        ValueError: as :func:`framed`.
    """
    if len(data) > MAXIMUM_BYTES:
        raise ValueError(f"it takes {len(data)} bytes as JSON; {MAXIMUM_BYTES} are the most")
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class FrameReader:
    """Puts bytes together to messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        self._buffer += data

    def next(self) -> Message | None:
        """The next message; None as long as it is not there whole.

        Raises:
            WorkerProtocolError: for a frame that is too long or no message.
        """
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if length > MAXIMUM_BYTES:
            raise WorkerProtocolError(f"a frame of {length} bytes")
        end = _LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        data = bytes(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return _message(data)


def _message(data: bytes) -> Message:
    try:
        fields = _DECODER.decode(data.decode()) if _is_plain(data) else _read_strictly(data)
    except ValueError as error:
        raise WorkerProtocolError("a frame that is not usable JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise WorkerProtocolError("a frame that is no message")
    return Message(fields["type"], fields)


def _is_plain(data: bytes) -> bool:
    """Whether nothing in it could be nested too deeply, or be half of a surrogate pair."""
    return data.count(b"[") + data.count(b"{") <= _DEPTH and b"\\u" not in data


def _read_strictly(data: bytes) -> Any:
    return read_json(data, max_depth=_DEPTH)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object repeats a key")
    return fields


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
)
