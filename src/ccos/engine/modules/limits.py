"""How large anything may be that a host function takes or gives."""

from __future__ import annotations

from typing import Final

from ccos.engine.hosts import HostFunctionError

MAX_TEXT_BYTES: Final = 10 * 1024 * 1024
"""Of one text in UTF-8: a file, a body, a stream of output, a result."""

MAX_ITEMS: Final = 500_000
"""Elements of one array, entries of one folder, values in one JSON text."""

MAX_LOG_CHARACTERS: Final = 16 * 1024
"""Of one message; what is longer is cut, and says so."""

MAX_FORMAT_CHARACTERS: Final = 1000
MAX_URL_CHARACTERS: Final = 8192
MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_PATH_BYTES: Final = 4096
MAX_FOLDER_DEPTH: Final = 128
MAX_SYMBOLIC_LINKS: Final = 40
MAX_COMMAND_BYTES: Final = 128 * 1024


def sized(text: str, what: str) -> bytes:
    """``text`` in UTF-8.

    Args:
        text: The text.
        what: What it is, for the message, such as ``The body``.

    Raises:
        HostFunctionError: if it is too long, or holds half of a surrogate pair.
    """
    if len(text) <= MAX_TEXT_BYTES:
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise HostFunctionError(f"{what} holds half of a surrogate pair.") from None
        if len(data) <= MAX_TEXT_BYTES:
            return data
    raise HostFunctionError(f"{what} is longer than {MAX_TEXT_BYTES} bytes.")


def counted(number: int, what: str) -> None:
    """Refuse more than :data:`MAX_ITEMS`.

    Raises:
        HostFunctionError: if ``number`` is above that; ``what`` begins the message.
    """
    if number > MAX_ITEMS:
        raise HostFunctionError(f"{what} has more than {MAX_ITEMS} elements.")
