"""Other documents, from one folder and never from beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccos.errors import ImportDocumentError
from ccos.importers.openapi.document import MAXIMUM_BYTES, read_document
from ccos.importers.openapi.references import Loader


def documents_under(folder: Path) -> Loader:
    """A loader for the files in a folder and the folders in it, links resolved.

    Args:
        folder: What is outside it is not read, whichever way a reference leads there.
    """
    root = folder.resolve()

    def load(location: str) -> Mapping[str, Any] | None:
        if "://" in location:
            return None
        try:
            path = Path(location).resolve()
            if not path.is_relative_to(root) or not path.is_file():
                return None
            with path.open("rb") as file:
                content = file.read(MAXIMUM_BYTES + 1)
        except (OSError, ValueError, RuntimeError) as error:
            raise ImportDocumentError(f"{location} cannot be read: {error}.") from None
        return read_document(content, location=location)

    return load
