"""Every real document of the shared corpus, where that is at hand."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccos.errors import ImportDocumentError
from ccos.importers.openapi import import_openapi, read_document

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "openapi" / "corpus.tar.zst"


def documents() -> Iterator[tuple[str, bytes]]:
    if not CORPUS.exists():
        pytest.skip(f"the corpus is not at {CORPUS.parent}")
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("the zstd program is not installed")
    unpacked = subprocess.run([program, "-dc", str(CORPUS)], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(unpacked.stdout)) as archive:
        for member in archive:
            stored = archive.extractfile(member)
            if stored is not None:
                yield member.name, stored.read()


@pytest.mark.timeout(400)
def test_real_documents() -> None:
    usable, lost, slowest = 0, 0, 0.0
    unreadable = []
    for name, content in documents():
        location = f"https://{Path(name).parts[-4]}/openapi.json"
        started = time.process_time()
        try:
            document = read_document(content, location=location)
            found = import_openapi(document, location=location, allow_unknown_server=True)
        except ImportDocumentError:
            unreadable.append(name)
            continue
        slowest = max(slowest, time.process_time() - started)
        usable += len(found.capabilities)
        lost += len(found.quarantined)
        assert len({one.id for one in found.capabilities}) == len(found.capabilities), name
        assert len(set(found.tool_names.values())) == len(found.capabilities), name
        assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", one) for one in found.tool_names.values())
        assert all(one.place and one.reason for one in found.quarantined), name
    assert len(unreadable) <= 1, unreadable
    assert usable / (usable + lost) >= 0.995
    assert slowest < 5
