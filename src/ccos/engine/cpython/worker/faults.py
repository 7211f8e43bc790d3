"""What went wrong in a script, in the words and places of its own text."""

from __future__ import annotations

import linecache
import traceback
from typing import Any

_TEXT_LIMIT = 20_000
_FRAMES_KEPT = 50


def rejected(error: Exception) -> dict[str, Any]:
    """A frame for a text that is not Python after all."""
    line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
    words = getattr(error, "msg", None) or f"{type(error).__name__} {error}"
    return {
        "kind": "rejected",
        "message": _sendable(words),
        "line": line or 0,
        "column": column or 0,
    }


def raised(error: BaseException, script: str, source: str) -> dict[str, Any]:
    """A frame for an exception that nothing in the script caught.

    The traceback names only places of the script, and those of what caused the exception.
    """
    linecache.cache[script] = (len(source), None, source.splitlines(keepends=True), script)
    told = traceback.TracebackException.from_exception(error, compact=True)
    _keep_script(told, script)
    place = _place(error, script)
    return {
        "kind": "raised",
        "type": _sendable(type(error).__name__),
        "message": _sendable(_words(error)),
        "line": place[0],
        "column": place[1],
        "traceback": _sendable("".join(told.format())),
    }


def _keep_script(told: traceback.TracebackException, script: str) -> None:
    waiting, seen = [told], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        own = [frame for frame in one.stack if frame.filename == script]
        one.stack[:] = own[-_FRAMES_KEPT:]
        related = (one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ()))
        waiting += [other for other in related if other is not None]


def _place(error: BaseException, script: str) -> tuple[int, int]:
    """Line and column of the innermost frame of the script; zeros if there is none."""
    found = None
    entry = error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == script:
            found = entry
        entry = entry.tb_next
    if found is None:
        return 0, 0
    positions = list(found.tb_frame.f_code.co_positions())
    column = positions[found.tb_lasti // 2][2] if found.tb_lasti >= 0 else None
    return found.tb_lineno or 0, 0 if column is None else column + 1


def _words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the script ended itself with status {error.code!r}"
    try:
        return str(error)
    except Exception:  # it may be of a class of the script, which can do anything
        return "(it has no text)"


def _sendable(text: str) -> str:
    """``text``, its middle left out if it is long, without halves of surrogate pairs."""
    if len(text) > _TEXT_LIMIT:
        half = _TEXT_LIMIT // 2
        text = f"{text[:half]}\n  …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()
