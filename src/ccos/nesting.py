"""How deeply JSON nests, known before it is read.

Python's own reader goes as deep as the interpreter's recursion limit lets it. That limit belongs to
the whole process, and whatever runs in it may set it, so it is no limit of ours.
"""

from __future__ import annotations

import json
from array import array
from itertools import accumulate
from typing import Final

_OPENING: Final = (b"[", b"{")
_ALL_BUT_MARKS: Final = bytes(set(range(256)) - set(b'"[]{}'))
_STEPS: Final = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")


def nests_deeper(text: str | bytes, limit: int) -> bool:
    """Whether the arrays and objects of JSON text nest deeper than ``limit``.

    The text need not be valid: what a reader would reach before it finds a fault counts. A text
    with few brackets costs next to nothing, a larger one a fraction of reading it.

    Args:
        text: The document, as text or in UTF-8, UTF-16 or UTF-32.
        limit: How many levels are allowed; a value that is no array or object has none.

    Raises:
        ValueError: Its bytes are not in the encoding that they seem to be in.
    """
    if isinstance(text, bytes) and (encoding := json.detect_encoding(text)) != "utf-8":
        text = text.decode(encoding, "surrogatepass")
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    return sum(map(data.count, _OPENING)) > limit and _depth(data) > limit


def _depth(data: bytes) -> int:
    # A backslash means something within strings alone, where an even number of them ends in itself.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A bracket is in a string if the quotes before it are odd in number; taking two keeps them so.
    marks = plain.translate(None, _ALL_BUT_MARKS).replace(b'""', b"")
    outside = b"".join(marks.split(b'"')[::2])
    return max(accumulate(array("b", outside.translate(_STEPS))), default=0)
